"""The window for reviewing: real keys, no painting, no torch."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets import preferences
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.panels.cases import CasesPanel
from napari_mlbseg.widgets.panels.slice_strip import SliceStrip
from napari_mlbseg.widgets.requests import CaseRow
from napari_mlbseg.widgets.review_dock import ReviewDock, open_review

pytestmark = pytest.mark.one_binding

LEFT = Qt.MouseButton.LeftButton
SLICES = [("phantom_01", 5), ("phantom_01", 9), ("phantom_02", 7)]
_WITHOUT_TORCH = """
import sys
import napari
from qtpy.QtWidgets import QApplication
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.widgets.review_dock import open_review
viewer = napari.Viewer(show=False)
dock = open_review(viewer, sys.argv[1])
while dock.panel.title.text() != "Slice 5 of phantom_01":
    QApplication.processEvents()
dock.panel.give(Verdict.APPROVED)
dock.workbench.shut_down()
sys.exit(int("torch" in sys.modules or "monai" in sys.modules))
"""


@pytest.fixture
def accepted(study_path: Path) -> Path:
    """A study in which Ada accepted three slices."""
    with Study.open(study_path, author="ada") as study:
        for name, index in SLICES:
            mask = np.ones(study.case(name).slice_shape(0), np.uint8)
            study.save_slice(SliceKey(name, 0, index), mask, SliceState.CLEAN)
    return study_path


@pytest.fixture
def dock(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], accepted: Path
) -> Iterator[ReviewDock]:
    made = open_review(make_napari_viewer(), accepted)
    qtbot.waitUntil(lambda: made.panel.title.text() == "Slice 5 of phantom_01")
    yield made
    made.workbench.shut_down()


def reviews(path: Path) -> dict[tuple[str, int], tuple[str, str]]:
    with Study.open(path, writable=False) as study:
        return {
            (record.key.case_id, record.key.index): (record.review.verdict, record.review.note)
            for record in study.slices.records()
            if record.review is not None
        }


def test_slices_are_approved_and_sent_back_one_after_the_other(
    qtbot: QtBot, dock: ReviewDock, accepted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, viewer = dock.panel, napari.current_viewer()
    assert viewer is not None
    press = {str(key): action for key, action in viewer.keymap.items()}
    assert panel.said.text().startswith("ada accepted it")
    assert not viewer.layers["working labels"].editable
    press["A"](viewer)
    assert panel.title.text() == "Slice 9 of phantom_01"
    press["R"](viewer)
    assert "with a note" in dock.message.text()
    qtbot.keyClicks(panel.note, "the wall is too thin")
    qtbot.mouseClick(panel.send_back, LEFT)
    assert panel.title.text() == "Slice 7 of phantom_02"
    assert panel.note.text() == ""
    press["A"](viewer)
    assert dock.message.text() == "No slice awaits your review."
    assert reviews(accepted) == {
        ("phantom_01", 5): ("approved", ""),
        ("phantom_01", 9): ("returned", "the wall is too thin"),
        ("phantom_02", 7): ("approved", ""),
    }
    assert panel.table.rowCount() == 0
    panel.filter.setCurrentText("all")
    assert panel.table.rowCount() == 3
    assert panel.count.text() == "To review: 0, approved: 2"
    with Study.open(accepted, author="ada"):  # somebody works meanwhile
        panel.chosen.emit(SliceKey("phantom_01", 0, 9))
        assert "too thin" in panel.said.text()
        press["A"](viewer)
        assert "is open for writing by" in dock.message.text()


def test_a_whole_case_is_reviewed_as_it_was_seen(
    qtbot: QtBot, dock: ReviewDock, accepted: Path
) -> None:
    with Study.open(accepted, author="ada") as study:
        study.save_slice(
            SliceKey("phantom_01", 0, 9),
            study.slices.mask(SliceKey("phantom_01", 0, 5)) * 0,
            SliceState.CLEAN,
        )
    dock.panel.whole.setChecked(True)
    qtbot.mouseClick(dock.panel.approve, LEFT)
    assert "was changed since you opened the case" in dock.message.text()
    assert reviews(accepted) == {}
    assert dock.panel.title.text() == "Slice 9 of phantom_01"
    qtbot.mouseClick(dock.panel.approve, LEFT)
    assert reviews(accepted).keys() == {("phantom_01", 5), ("phantom_01", 9)}
    assert not dock.panel.whole.isChecked()


def test_reviewing_needs_no_torch(accepted: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _WITHOUT_TORCH, str(accepted)]
    assert subprocess.run(command).returncode == 0
    assert len(reviews(accepted)) == 1


def test_an_annotator_finds_what_was_sent_back(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], accepted: Path
) -> None:
    returned = SliceKey("phantom_01", 0, 9)
    with Study.open(accepted, author="ben") as study:
        study.reviews.give([returned], Verdict.RETURNED, "too thin")
        study.reviews.give([SliceKey("phantom_01", 0, 5)], Verdict.APPROVED)
    preferences._kept().work.annotator = "Ada"
    dock = open_dock(make_napari_viewer(), accepted)
    bench, slices, cases = dock.workbench, dock.slices_panel, dock.cases_panel
    assert dock.message.text() == "1 slice was sent back to you: Cases > returned to me"
    cases.state.setCurrentText("returned to me")
    assert [cases.shown.case_id(0), cases.shown.rowCount()] == ["phantom_01", 1]
    cases.case_chosen.emit("phantom_01")
    assert bench.annotation is not None
    assert bench.annotation.key == returned
    assert slices.state.text() == "draft"
    assert "sent it back" in slices.review.text()
    assert slices.review.text().endswith("too thin")
    assert "sent back" in slices.strip.said_of(9)
    dock.study_panel.only_approved.trigger()
    assert dock.training_panel.status.text().startswith("1 slice is accepted")
    qtbot.mouseClick(slices.buttons["accept"], LEFT)
    assert cases.model.rows[0].returned == ()
    assert bench.study is not None
    record = bench.study.slices.record(returned)
    assert record is not None
    assert record.to_review
    assert bench.study.reviews.only_approved
    bench.shut_down()


def test_the_list_of_cases_leads_to_slices_to_see_to(qtbot: QtBot) -> None:
    panel = CasesPanel()
    qtbot.addWidget(panel)
    panel.set_rows(
        [
            CaseRow("a", 9, 1, 1, 0, "a", returned=(4,), blind=(7, 8)),
            CaseRow("b", 9, 1, 0, 0, "b", to_review=1),
        ]
    )
    for wanted, cases, first in (
        ("any state", ["a", "b"], None),
        ("returned to me", ["a"], 4),
        ("to correct blindly", ["a"], 7),
        ("to review", ["b"], None),
    ):
        panel.state.setCurrentText(wanted)
        shown = [panel.shown.case_id(place) for place in range(panel.shown.rowCount())]
        assert (shown, panel.first_of("a")) == (cases, first)
    strip = SliceStrip()
    qtbot.addWidget(strip)
    strip.set_states([SliceState.DRAFT] * 9)
    strip.set_asked((4,), (7,))
    assert (strip.said_of(4), strip.said_of(7)) == (
        "Slice 4: draft, sent back",
        "Slice 7: draft, to be corrected blindly",
    )
