from pathlib import Path

import nibabel
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QSpinBox

from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.importing.failures import Failure
from napari_mlbseg.project.importing.offers import Offer, offers_in
from napari_mlbseg.widgets.background.jobs import creation
from napari_mlbseg.widgets.panels.choices_dialog import ChoicesDialog, ProblemsDialog
from napari_mlbseg.widgets.panels.study import StudyPanel
from napari_mlbseg.widgets.requests import NewStudy

S, A = Path("/data/s"), Path("/data/a.nii.gz")
LOCALIZER = Offer(S, "series_1", "CT", (512, 512, 3), (1.0, 1.0, 100.0))
VOLUME = Offer(S, "series_3", "CT", (512, 512, 120), (0.7, 0.7, 2.5))
BROKEN = Offer(S, "series_4", "CT", (512, 512, 200), (0.7, 0.7, 2.5), problem="It lacks slices.")
FRAMES = Offer(A, None, "", (64, 64, 30), (3.0, 3.0, 4.0), frames=7)


@pytest.fixture
def dialog(qtbot: QtBot) -> ChoicesDialog:
    made = ChoicesDialog((LOCALIZER, VOLUME, BROKEN, FRAMES))
    qtbot.addWidget(made)
    return made


def text(dialog: ChoicesDialog | ProblemsDialog, row: int) -> list[str]:
    items = [dialog.table.item(row, column) for column in range(dialog.table.columnCount())]
    return [item.text() if item is not None else "" for item in items]


def test_the_longest_sound_series_of_each_path_is_proposed(dialog: ChoicesDialog) -> None:
    assert dialog.answer() == {S: [Choice(series="series_3")], A: [Choice(frame=0)]}


def test_rows_say_what_a_series_is(dialog: ChoicesDialog) -> None:
    assert text(dialog, 1) == ["s", "series_3", "CT", "512 × 512 × 120", "0.7 × 0.7 × 2.5", ""]


def test_any_number_of_rows_can_be_taken(dialog: ChoicesDialog) -> None:
    dialog.tick(0, True)
    dialog.tick(3, False)
    assert dialog.answer() == {S: [Choice(series="series_1"), Choice(series="series_3")], A: []}
    assert dialog.ok is not None
    dialog.tick(0, False)
    assert dialog.ok.isEnabled()
    dialog.tick(1, False)
    assert not dialog.ok.isEnabled()


def test_the_frame_is_chosen_beside_its_file(dialog: ChoicesDialog) -> None:
    box = dialog.table.cellWidget(3, 5)
    assert isinstance(box, QSpinBox)
    assert (box.minimum(), box.maximum()) == (0, 6)
    box.setValue(4)
    assert dialog.answer()[A] == [Choice(frame=4)]


def test_what_cannot_be_taken_says_why_and_cannot_be_ticked(dialog: ChoicesDialog) -> None:
    item = dialog.table.item(2, 0)
    assert item is not None
    assert not item.flags() & Qt.ItemFlag.ItemIsEnabled
    assert item.toolTip() == "It lacks slices."


def test_the_frames_of_a_single_series_need_no_name(qtbot: QtBot) -> None:
    dialog = ChoicesDialog([Offer(S, "series_3", "MR", (64, 64, 30), (1, 1, 1), frames=2)])
    qtbot.addWidget(dialog)
    assert dialog.answer() == {S: [Choice(frame=0)]}


def test_all_files_that_were_left_out_are_listed(qtbot: QtBot) -> None:
    failures = tuple(Failure(Path(f"/data/{k}.nii"), f"{k} is torn.") for k in range(9))
    dialog = ProblemsDialog(Imported((), failures, (Failure(A, "It is tilted."),)))
    qtbot.addWidget(dialog)
    assert [text(dialog, row) for row in range(dialog.table.rowCount())] == [
        *([f"{k}.nii", "left out", f"{k} is torn."] for k in range(9)),
        ["a.nii.gz", "note", "It is tilted."],
    ]


def test_all_frames_may_be_channels_of_one_image(qtbot: QtBot, tmp_path: Path) -> None:
    files = tmp_path / "images"
    files.mkdir()
    voxels = np.random.default_rng(0).integers(0, 9, (6, 5, 4, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), files / "a.nii.gz")
    panel = StudyPanel()
    qtbot.addWidget(panel)
    new = NewStudy(tmp_path / "new.mlbseg", files, None)
    dialog = panel.ask_choices(new, offers_in(files))
    assert dialog.as_channels.isVisible()
    dialog.tick(0, False)
    assert dialog.ok is not None
    assert not dialog.ok.isEnabled()
    qtbot.mouseClick(dialog.as_channels, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert dialog.as_channels.isChecked()
    assert not dialog.table.isEnabled()
    with qtbot.waitSignal(panel.create_requested) as asked:
        qtbot.mouseClick(dialog.ok, Qt.MouseButton.LeftButton)
    assert asked.args is not None
    study, _ = creation(asked.args[0], None)(lambda *_: None)
    with study:
        assert study.channels == ("frame 0", "frame 1")


def test_only_a_study_takes_frames_as_channels(dialog: ChoicesDialog) -> None:
    dialog.show()
    assert not dialog.as_channels.isVisible()
