import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from at_work import heard
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.predictions.suggestions import Suggestion
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.project.records.pace import pace_of
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.volume import Geometry
from napari_mlbseg.widgets.panels.cases import CasesPanel, strip_of
from napari_mlbseg.widgets.panels.classes_dialog import ClassesDialog
from napari_mlbseg.widgets.panels.export import ExportPanel
from napari_mlbseg.widgets.panels.reading import ReadingPanel
from napari_mlbseg.widgets.panels.review import ReviewPanel
from napari_mlbseg.widgets.panels.slice_strip import SliceStrip
from napari_mlbseg.widgets.panels.slices import SlicesPanel
from napari_mlbseg.widgets.panels.study import NewStudyDialog, StudyPanel
from napari_mlbseg.widgets.panels.style import duration
from napari_mlbseg.widgets.panels.suggestions import UNSEEN, SuggestionsPanel, why
from napari_mlbseg.widgets.panels.tools import ToolsPanel
from napari_mlbseg.widgets.panels.training import TrainingPanel
from napari_mlbseg.widgets.requests import CaseRow, Export, ModelExport, NewStudy, cohort_in_words
from napari_mlbseg.widgets.shortcuts import EVERY, MOVES, OF_A_SLICE, VIEWS, sheet

LEFT = Qt.MouseButton.LeftButton

pytestmark = pytest.mark.every_binding


@pytest.mark.parametrize(
    "panel",
    [
        StudyPanel,
        CasesPanel,
        SlicesPanel,
        partial(TrainingPanel, target_dice=0.9),
        ExportPanel,
        SuggestionsPanel,
        ToolsPanel,
        ReadingPanel,
        ReviewPanel,
        NewStudyDialog,
        partial(ClassesDialog, [LabelClass(1, "liver", (1, 2, 3))]),
    ],
)
def test_every_control_says_what_it_does(qtbot: QtBot, panel: Callable[[], QWidget]) -> None:
    widget = panel()
    qtbot.addWidget(widget)
    for kind in (QAbstractButton, QComboBox, QAbstractSpinBox):
        for control in widget.findChildren(kind):
            inner = ("QDialogButtonBox", "QTableView", "QTableWidget", "Hinted")
            parent: Any = control.parent()
            if parent.metaObject().className() not in inner:
                assert control.toolTip(), control
    for edit in widget.findChildren(QLineEdit):
        assert edit.toolTip() or isinstance(edit.parent(), QAbstractSpinBox)


# --- cases ----------------------------------------------------------------------------------------


def test_the_state_of_a_case_follows_from_its_slices() -> None:
    assert CaseRow("a", 10, 0, 0, 0, "a").state == "untouched"
    assert CaseRow("a", 10, 0, 1, 0, "a").state == "in progress"
    assert CaseRow("a", 10, 9, 1, 0, "a").state == "in progress"
    assert CaseRow("a", 10, 9, 0, 1, "a").state == "done"


def test_clicking_a_case_asks_for_it_and_setting_it_does_not(qtbot: QtBot) -> None:
    panel = CasesPanel()
    qtbot.addWidget(panel)
    panel.resize(360, 200)
    panel.show()
    panel.set_rows([CaseRow("one", 10, 0, 0, 0, "one"), CaseRow("two", 10, 3, 1, 1, "two")])
    told = heard(panel.case_chosen)
    panel.set_current("two")
    assert told == []
    place = panel.table.visualRect(panel.shown.index(1, 0)).center()
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=place)
    assert told == ["two"]
    panel.set_row(CaseRow("one", 10, 4, 0, 0, "one"))
    texts = [panel.model.data(panel.model.index(0, column)) for column in range(5)]
    assert texts == ["one", "in progress", "4", "0", "40 %"]


def shown_cases(panel: CasesPanel) -> list[str]:
    return [panel.shown.case_id(place) for place in range(panel.shown.rowCount())]


@pytest.fixture
def many(qtbot: QtBot) -> CasesPanel:
    panel = CasesPanel()
    qtbot.addWidget(panel)
    panel.resize(360, 300)
    panel.show()
    rows = [
        CaseRow("liver_2", 10, 3, 0, 0, "liver_2"),
        CaseRow("Liver_1", 10, 10, 0, 0, "Liver_1"),
        CaseRow("spleen", 10, 0, 0, 0, "spleen"),
        CaseRow("liver_10", 10, 5, 2, 0, "liver_10"),
    ]
    panel.set_rows(rows)
    return panel


def test_cases_are_searched_filtered_and_sorted(qtbot: QtBot, many: CasesPanel) -> None:
    assert shown_cases(many) == ["liver_2", "Liver_1", "spleen", "liver_10"]
    qtbot.keyClicks(many.search, "LIVER")
    assert shown_cases(many) == ["liver_2", "Liver_1", "liver_10"]
    many.state.setCurrentText("in progress")
    assert shown_cases(many) == ["liver_2", "liver_10"]
    many.state.setCurrentIndex(0)
    header = many.table.horizontalHeader()
    assert header is not None
    place = QPoint(header.sectionViewportPosition(2) + 5, 5)
    qtbot.mouseClick(header.viewport(), LEFT, pos=place)
    clean = shown_cases(many)
    assert clean in (["liver_2", "liver_10", "Liver_1"], ["Liver_1", "liver_10", "liver_2"])
    qtbot.mouseClick(header.viewport(), LEFT, pos=place)
    assert shown_cases(many) == clean[::-1]
    many.set_rows([CaseRow("other", 3, 0, 0, 0, "other")])
    assert shown_cases(many) == ["other"]  # another study is not searched for the same


def test_a_click_chooses_the_case_that_is_shown_there(qtbot: QtBot, many: CasesPanel) -> None:
    told = heard(many.case_chosen)
    many.search.setText("liver_1")
    place = many.table.visualRect(many.shown.index(1, 0)).center()
    qtbot.mouseClick(many.table.viewport(), LEFT, pos=place)
    assert told == ["liver_10"]


def test_next_and_previous_go_through_the_cases_as_they_are_shown(many: CasesPanel) -> None:
    told = heard(many.case_chosen)
    many.search.setText("liver")
    many.set_current("Liver_1")
    many.step(1)
    many.step(-1)
    many.set_current("liver_10")
    many.step(1)  # the last one
    many.set_current("spleen")  # not among those shown
    many.step(1)
    many.step(-1)
    assert told == ["liver_10", "liver_2", "liver_2", "liver_10"]


def test_the_case_on_view_stays_marked_when_its_row_moves(many: CasesPanel) -> None:
    many.state.setCurrentText("in progress")
    many.set_current("liver_10")
    many.set_row(CaseRow("liver_2", 10, 10, 0, 0, "liver_2"))
    assert shown_cases(many) == ["liver_10"]
    assert [i.row() for i in many.table.selectionModel().selectedRows()] == [0]  # type: ignore[union-attr]


def test_a_case_that_comes_back_into_the_list_is_marked_again(many: CasesPanel) -> None:
    many.set_current("spleen")
    many.search.setText("liver")
    assert many.table.selectionModel().selectedRows() == []  # type: ignore[union-attr]
    many.search.setText("")
    assert [i.row() for i in many.table.selectionModel().selectedRows()] == [2]  # type: ignore[union-attr]


def test_whoever_goes_through_the_list_by_keys_is_not_sent_back(
    qtbot: QtBot, many: CasesPanel
) -> None:
    told = heard(many.case_chosen)
    many.set_current("liver_2")
    many.table.setFocus()
    qtbot.keyClick(many.table, Qt.Key.Key_Down)
    many.set_row(CaseRow("liver_2", 10, 4, 0, 0, "liver_2"))  # saved meanwhile
    qtbot.keyClick(many.table, Qt.Key.Key_Return)
    assert told == ["Liver_1"]


def test_a_thousand_cases_are_filtered_without_delay(many: CasesPanel) -> None:
    many.set_rows([CaseRow(f"case {n:04d}", 10, 0, 0, 0, f"case {n:04d}") for n in range(1000)])
    many.search.setText("case 0999")
    assert shown_cases(many) == ["case 0999"]


def test_a_long_name_of_a_case_is_cut_in_the_middle_and_whole_in_the_tooltip(
    qtbot: QtBot,
) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    panel.resize(360, 100)
    panel.show()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=2)
    name = "1.3.6.1.4.1.14519.5.2.1.6279.6001.298806137288633453246975630178"
    panel.set_case(name)
    shown = panel.case.text()
    assert "…" in shown
    assert (shown[:4], shown[-4:]) == (name[:4], name[-4:])
    assert panel.case.whole() == name
    assert panel.case.toolTip().startswith(name)


def test_arrows_and_name_ask_for_cases(qtbot: QtBot) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    panel.show()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=2)
    steps, lists = heard(panel.case_asked), heard(panel.list_asked)
    qtbot.mouseClick(panel.next, LEFT)
    qtbot.mouseClick(panel.previous, LEFT)
    qtbot.mouseClick(panel.case, LEFT)
    assert (steps, len(lists)) == ([1, -1], 1)


def test_without_a_study_there_are_three_ways_to_begin(qtbot: QtBot) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    panel.show()
    ways = (panel.new, panel.open, panel.sample)
    assert all(each.isVisible() for each in ways)
    assert not panel.case.isVisible()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=2)
    assert not any(each.isVisible() for each in ways)
    assert panel.case.isVisible()
    names = [action.text() for action in panel.menu.actions() if action.text()]
    expected = [
        "New study…",
        "Open study…",
        "Add cases…",
        "Report…",
        "Accepted differently…",
        "Agreement…",
        "Only approved slices teach",
        "Close study",
        "Tour",
    ]
    assert names == expected
    assert panel.add_cases.isEnabled()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=2, writable=False)
    assert not panel.add_cases.isEnabled()
    asked = heard(panel.tour_asked)
    panel.tour.trigger()
    assert asked == [()]


# --- slices ---------------------------------------------------------------------------------------


def test_a_click_on_the_strip_asks_for_the_slice_under_it(qtbot: QtBot) -> None:
    strip = SliceStrip()
    qtbot.addWidget(strip)
    strip.resize(200, 26)
    strip.set_states([SliceState.UNTOUCHED] * 20)
    told = heard(strip.chosen)
    qtbot.mouseClick(strip, LEFT, pos=QPoint(105, 10))
    assert told == [10]
    assert [strip.index_at(x) for x in (-5, 0, 199, 500)] == [0, 0, 19, 19]
    strip.set_states([])
    assert strip.index_at(5) is None


def test_buttons_ask_for_their_command(qtbot: QtBot) -> None:
    panel = SlicesPanel()
    qtbot.addWidget(panel)
    states = [SliceState.CLEAN, SliceState.SKIPPED, SliceState.UNTOUCHED]
    panel.set_slice(0, 1, states)
    panel.set_history("accept slice 0", "paint on slice 1")
    told = heard(panel.command)
    for command in OF_A_SLICE:
        qtbot.mouseClick(panel.buttons[command.name], LEFT)
        assert command.key.replace("-", "+") in panel.buttons[command.name].toolTip()
    assert told == [command.name for command in OF_A_SLICE]


def test_what_cannot_be_done_cannot_be_asked_for(qtbot: QtBot) -> None:
    panel = SlicesPanel()
    qtbot.addWidget(panel)
    assert not any(b.isEnabled() for b in panel.buttons.values())
    panel.set_slice(0, 0, [SliceState.UNTOUCHED] * 2)
    off = {name for name, b in panel.buttons.items() if not b.isEnabled()}
    assert off == {"reopen", "copy_previous", "undo", "redo"}
    panel.set_slice(0, 1, [SliceState.CLEAN] * 2, writable=False)
    on = {name for name, b in panel.buttons.items() if b.isEnabled()}
    # who only reads may look at everything
    assert on == {command.name for command in (*MOVES, *VIEWS)}


def test_setters_of_the_slices_panel_do_not_emit(qtbot: QtBot) -> None:
    panel = SlicesPanel()
    qtbot.addWidget(panel)
    told = [heard(s) for s in (panel.axis_chosen, panel.label_chosen, panel.slice_chosen)]
    panel.set_classes([LabelClass(1, "liver", (1, 2, 3)), LabelClass(4, "tumour", (9, 9, 9))])
    panel.set_slice(2, 1, [SliceState.DRAFT] * 3)
    panel.set_label(4)
    assert panel.label.currentText() == "4  tumour"
    assert told == [[], [], []]


# --- classes --------------------------------------------------------------------------------------

CLASSES = (
    LabelClass(1, "liver", (1, 2, 3), most_pieces=150, no_holes=True),
    LabelClass(4, "tumour", (9, 9, 9)),
)


@pytest.fixture
def classes(qtbot: QtBot) -> ClassesDialog:
    dialog = ClassesDialog(CLASSES)
    qtbot.addWidget(dialog)
    return dialog


def rename(dialog: ClassesDialog, row: int, name: str) -> None:
    item = dialog.table.item(row, 1)
    assert item is not None
    item.setText(name)


def test_classes_that_nobody_changed_stay_as_they_are(classes: ClassesDialog) -> None:
    assert classes.answer() == CLASSES
    assert classes.ok is not None
    assert classes.ok.isEnabled()


def test_classes_are_renamed_and_recoloured(classes: ClassesDialog) -> None:
    rename(classes, 1, " lesion ")
    classes.set_color(0, QColor(200, 100, 50))
    classes.set_color(1, QColor())  # what a cancelled choice gives
    changed = (
        dataclasses.replace(CLASSES[0], color=(200, 100, 50)),
        dataclasses.replace(CLASSES[1], name="lesion"),
    )
    assert classes.answer() == changed


def test_keys_and_clicks_say_how_many_pieces_and_whether_there_are_holes(
    qtbot: QtBot, classes: ClassesDialog
) -> None:
    classes.show()
    qtbot.waitExposed(classes)
    liver, tumour = (classes.table.cellWidget(row, 3) for row in range(2))
    assert isinstance(liver, QSpinBox)
    assert isinstance(tumour, QSpinBox)
    assert (liver.text(), tumour.text()) == ("150", "any")
    for _ in range(2):
        qtbot.keyClick(tumour, Qt.Key.Key_Up)
    assert tumour.text() == "2"
    liver.selectAll()
    qtbot.keyClicks(liver, "0")
    qtbot.keyClick(liver, Qt.Key.Key_Return)
    for row in range(2):
        item = classes.table.item(row, 4)
        assert item is not None
        place = classes.table.visualItemRect(item)
        box = QPoint(place.left() + 12, place.center().y())
        qtbot.mouseClick(classes.table.viewport(), LEFT, pos=box)
    expected = dataclasses.replace(CLASSES[0], most_pieces=None, no_holes=False)
    assert classes.answer() == (
        expected,
        dataclasses.replace(CLASSES[1], most_pieces=2, no_holes=True),
    )


def test_an_added_class_gets_a_free_value_and_a_removed_one_goes(
    qtbot: QtBot, classes: ClassesDialog
) -> None:
    assert not classes.remove.isEnabled()
    qtbot.mouseClick(classes.add, LEFT)
    added = classes.answer()[2]
    assert (added.value, added.name) == (5, "class 5")
    classes.table.selectRow(0)
    qtbot.mouseClick(classes.remove, LEFT)
    assert [c.value for c in classes.answer()] == [4, 5]


def test_classes_are_put_in_another_order(qtbot: QtBot, classes: ClassesDialog) -> None:
    before = classes.answer()
    assert not classes.up.isEnabled()
    qtbot.mouseClick(classes.add, LEFT)
    added = classes.answer()[2]
    qtbot.mouseClick(classes.up, LEFT)
    assert classes.answer() == (before[0], added, before[1])
    qtbot.mouseClick(classes.up, LEFT)
    assert classes.answer() == (added, *before)
    assert not classes.up.isEnabled()
    qtbot.mouseClick(classes.down, LEFT)
    assert classes.answer() == (before[0], added, before[1])
    classes.table.selectRow(2)
    assert not classes.down.isEnabled()


def test_a_class_goes_into_another_and_both_into_the_background(
    qtbot: QtBot, classes: ClassesDialog
) -> None:
    classes.show()
    qtbot.waitExposed(classes)

    def become(row: int, name: str) -> None:
        classes.table.selectRow(row)
        menu = classes.merge.menu()
        assert menu is not None
        menu.popup(classes.mapToGlobal(QPoint(5, 5)))
        action = next(one for one in menu.actions() if one.text() == name)
        qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())

    assert not classes.merge.isEnabled()
    qtbot.mouseClick(classes.add, LEFT)
    become(1, "liver")
    assert classes.becoming == {4: 1}
    assert [c.value for c in classes.answer()] == [1, 5]
    classes.table.selectRow(0)
    assert not classes.remove.isEnabled()  # the pixels of another become this one
    become(0, "class 5")
    assert classes.becoming == {4: 5, 1: 5}
    become(0, "background")  # of a new class there are no pixels yet
    assert classes.becoming == {4: 0, 1: 0}
    qtbot.mouseClick(classes.add, LEFT)
    assert [c.value for c in classes.answer()] == [5]  # none of those that are gone


def test_the_largest_value_is_not_exceeded(qtbot: QtBot) -> None:
    dialog = ClassesDialog([LabelClass(1, "a", (0, 0, 0)), LabelClass(254, "b", (0, 0, 0))])
    qtbot.addWidget(dialog)
    qtbot.mouseClick(dialog.add, LEFT)
    assert [c.value for c in dialog.answer()] == [1, 254, 2]


def test_classes_need_names_of_their_own(qtbot: QtBot, classes: ClassesDialog) -> None:
    assert classes.ok is not None
    for name, right in ((" ", False), ("liver", False), ("spleen", True)):
        rename(classes, 1, name)
        assert classes.ok.isEnabled() is right
        assert bool(classes.problem.text()) is not right
    for _ in range(2):
        classes.table.selectRow(0)
        qtbot.mouseClick(classes.remove, LEFT)
    assert not classes.ok.isEnabled()


def test_the_slices_panel_asks_for_the_classes_of_its_dialog(qtbot: QtBot) -> None:
    panel = SlicesPanel()
    qtbot.addWidget(panel)
    panel.set_classes(CLASSES)
    told = heard(panel.classes_chosen)
    assert not panel.classes.isEnabled()  # without a case
    panel.ask_classes().reject()
    assert told == []
    dialog = panel.ask_classes()
    rename(dialog, 0, "spleen")
    dialog.accept()
    [(answer, becoming)] = told
    assert [c.name for c in answer] == ["spleen", "tumour"]
    assert becoming == {}


# --- study and export -----------------------------------------------------------------------------


def can(button: QAbstractButton | None) -> bool:
    assert button is not None
    return button.isEnabled()


def test_a_new_study_needs_images_a_place_and_a_name(qtbot: QtBot) -> None:
    dialog = NewStudyDialog()
    qtbot.addWidget(dialog)
    assert not can(dialog.ok)
    dialog.images.text.setText("/data/images")
    dialog.folder.text.setText("/data")
    dialog.name.setText("Livers")
    assert can(dialog.ok)
    assert dialog.answer() == NewStudy(Path("/data/Livers.mlbseg"), Path("/data/images"), None)
    dialog.labels.text.setText("/data/labels")
    assert dialog.answer().labels == Path("/data/labels")
    assert dialog.answer().classes is None
    dialog.classes.setText(" left atrium, scar ")
    assert dialog.answer().classes == "left atrium, scar"


def test_what_was_typed_for_a_new_study_is_there_again_after_an_error(qtbot: QtBot) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    wanted = heard(panel.create_requested)
    new = NewStudy(Path("/data/Livers.mlbseg"), Path("/data/ct"), Path("/data/rough"), "liver")

    def dialog() -> NewStudyDialog:
        qtbot.mouseClick(panel.new, LEFT)
        (found,) = (one for one in panel.findChildren(NewStudyDialog) if one.isVisible())
        return found

    first = dialog()
    first.fill_in(new)
    first.accept()
    assert wanted == [new]
    again = dialog()
    assert again.answer() == new
    again.name.setText("Livers 2")
    again.accept()
    assert wanted[1] == dataclasses.replace(new, path=Path("/data/Livers 2.mlbseg"))
    panel.set_study(Path("/data/Livers 2.mlbseg"), cases=3)
    assert dialog().images.text.text() == ""


def test_the_head_shows_what_is_open_and_what_goes_on(qtbot: QtBot) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    panel.show()
    assert not panel.close_study.isEnabled()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=1, writable=False)
    assert panel.name.text() == "Livers"
    assert panel.place.text() == "1 case, read-only"
    panel.show_busy("Importing a.nii.gz", 1, 4)
    assert panel.progress.isVisible()
    assert not panel.open.isEnabled()
    panel.show_busy("", 0, 0)
    assert panel.open.isEnabled()


def test_the_menu_asks_where_a_report_goes(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    told, answers = heard(panel.report_requested), iter(["", "/out/page.html"])
    proposed: list[str] = []

    def asked(parent: object, title: str, name: str, filters: str) -> tuple[str, str]:
        proposed.append(name)
        return next(answers), filters

    monkeypatch.setattr(QFileDialog, "getSaveFileName", asked)
    assert not panel.report.isEnabled()
    panel.set_study(Path("/data/Livers.mlbseg"), cases=2)
    panel.report.trigger()
    panel.report.trigger()
    assert proposed == ["Livers.html", "Livers.html"]
    assert told == [Path("/out/page.html")]


def test_a_locked_study_can_be_opened_for_reading(qtbot: QtBot) -> None:
    panel = StudyPanel()
    qtbot.addWidget(panel)
    panel.show()
    told = heard(panel.open_requested)
    box = panel.ask_read_only(Path("/data/a.mlbseg"), "Somebody works on it.")
    read = next(b for b in box.buttons() if "read-only" in b.text())
    qtbot.mouseClick(read, LEFT)
    assert told == [(Path("/data/a.mlbseg"), False)]


def series_case(*, tilted: bool = False) -> Case:
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    affine[0, 1] = 0.2 * tilted
    return Case(
        "one",
        Path("/scans/one"),
        None,
        SourceInfo("dicom", b""),
        Geometry.from_affine((4, 5, 6), affine),
        Intensity(0, 1, 0.5, 1),
        0,
        "one",
    )


def offered(panel: ExportPanel, kind: ExportKind) -> set[OutFormat]:
    panel.kind.setCurrentIndex(panel.kind.findData(kind))
    return {panel.form.itemData(k) for k in range(panel.form.count())}


def test_export_offers_the_formats_that_can_hold_the_images(qtbot: QtBot) -> None:
    panel = ExportPanel()
    qtbot.addWidget(panel)
    every = set(OutFormat)
    dicom = {OutFormat.DICOM_SEG, OutFormat.DICOM_LABELMAP, OutFormat.RTSTRUCT}
    maps = {OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA, OutFormat.OME_ZARR}
    panel.set_available((series_case(),), "one")
    assert offered(panel, ExportKind.LABELS) == every
    assert offered(panel, ExportKind.ACCEPTED) == every
    assert offered(panel, ExportKind.TRUST) == {OutFormat.AUTO, *maps, OutFormat.DICOM_SEG}
    assert offered(panel, ExportKind.VOLUMES) == {OutFormat.AUTO}
    panel.set_available((series_case(), series_case(tilted=True)), "one")
    assert offered(panel, ExportKind.LABELS) == every - {OutFormat.OME_ZARR}
    nifti = dataclasses.replace(series_case(), source=SourceInfo("nifti", b""))
    panel.set_available((series_case(), nifti), "one")
    assert offered(panel, ExportKind.LABELS) == every - dicom


def test_export_asks_in_the_chosen_format_and_keeps_it(qtbot: QtBot) -> None:
    panel = ExportPanel()
    qtbot.addWidget(panel)
    told = heard(panel.export_requested)
    panel.set_available((series_case(),), "one")
    panel.folder.setText("/out")
    panel.form.setCurrentIndex(panel.form.findData(OutFormat.NRRD))
    panel.kind.setCurrentIndex(panel.kind.findData(ExportKind.TRUST))
    panel.set_available((series_case(),), "one")
    qtbot.mouseClick(panel.study, LEFT)
    assert told == [Export(ExportKind.TRUST, Path("/out"), None, OutFormat.NRRD)]


def test_export_asks_for_a_case_or_for_all(qtbot: QtBot) -> None:
    panel = ExportPanel()
    qtbot.addWidget(panel)
    told = heard(panel.export_requested)
    case = series_case()
    panel.set_available((case,), "one")
    assert not panel.case.isEnabled()
    panel.folder.setText("/out")
    panel.kind.setCurrentIndex(panel.kind.findData(ExportKind.PREDICTION))
    qtbot.mouseClick(panel.case, LEFT)
    qtbot.mouseClick(panel.study, LEFT)
    assert told == [
        Export(ExportKind.PREDICTION, Path("/out"), "one"),
        Export(ExportKind.PREDICTION, Path("/out"), None),
    ]
    panel.set_available((case,), None)
    assert not panel.case.isEnabled()


def test_export_asks_for_the_model_in_the_chosen_format(qtbot: QtBot) -> None:
    panel = ExportPanel()
    qtbot.addWidget(panel)
    told = heard(panel.model_requested)
    panel.set_available((series_case(),), None)
    assert not panel.model.isEnabled()
    panel.folder.setText("/out")
    assert {panel.model_form.itemData(k) for k in range(panel.model_form.count())} == set(
        ModelFormat
    )
    panel.model_form.setCurrentIndex(panel.model_form.findData(ModelFormat.ONNX))
    qtbot.mouseClick(panel.model, LEFT)
    assert told == [ModelExport(ModelFormat.ONNX, Path("/out"))]


# --- suggestions ----------------------------------------------------------------------------------


@pytest.fixture
def suggestions(qtbot: QtBot) -> SuggestionsPanel:
    panel = SuggestionsPanel()
    qtbot.addWidget(panel)
    panel.resize(360, 300)
    panel.show()
    return panel


def test_a_click_on_a_suggestion_asks_for_its_slice(
    suggestions: SuggestionsPanel, qtbot: QtBot
) -> None:
    panel = suggestions
    told = heard(panel.chosen)
    best = [Suggestion(SliceKey("a", 0, 7), 0.1, 34.4), Suggestion(SliceKey("b", 2, 3), 0.05, None)]
    panel.set_suggestions(best)
    texts = [[panel.table.item(row, k).text() for k in range(3)] for row in range(2)]  # type: ignore[union-attr]
    assert texts == [["a", "7", "34"], ["b", "3", "\N{EN DASH}"]]
    place = panel.table.visualRect(panel.table.model().index(1, 0)).center()  # type: ignore[union-attr]
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=place)
    assert told == [SliceKey("b", 2, 3)]
    panel.set_current(SliceKey("a", 0, 7))
    assert [i.row() for i in panel.table.selectedItems()] == [0, 0, 0]
    panel.set_current(SliceKey("a", 0, 8))
    assert panel.table.selectedItems() == []
    assert len(told) == 1


def test_an_end_to_mark_is_a_sentence_in_the_list(
    suggestions: SuggestionsPanel, qtbot: QtBot
) -> None:
    panel = suggestions
    told = heard(panel.chosen)
    end = Suggestion(SliceKey("a", 0, 7), None, None, asks_for=End.LAST, classes=(3,))
    slice_ = Suggestion(SliceKey("b", 0, 4), 0.1, 34.4)
    panel.set_suggestions([end, slice_], names={3: "atrium"})
    item = panel.table.item(0, 0)
    assert item is not None
    assert item.text() == "a 7: mark where 'atrium' ends"
    assert "Shift+E" in item.toolTip()
    assert "First mark where classes begin and end" in panel.note.text()
    place = panel.table.visualRect(panel.table.model().index(0, 0))  # type: ignore[union-attr]
    assert place.width() > 250  # of the whole row
    qtbot.mouseClick(panel.table.viewport(), LEFT, pos=place.center())
    assert told == [SliceKey("a", 0, 7)]
    panel.set_suggestions([slice_])
    texts = [panel.table.item(0, k).text() for k in range(3)]  # type: ignore[union-attr]
    assert texts == ["b", "4", "34"]
    assert panel.table.columnSpan(0, 0) == 1


def test_what_is_outside_is_hatched_and_darker_where_nothing_is_shown(qtbot: QtBot) -> None:
    strip = SliceStrip()
    qtbot.addWidget(strip)
    strip.resize(400, 26)
    strip.set_states([SliceState.UNTOUCHED] * 40)
    strip.set_current(20)

    def colors(index: int) -> set[str]:
        image = strip.grab().toImage()
        left = 10 * index + 3  # beside the line that an end is drawn as
        return {image.pixelColor(x, y).name() for x in range(left, left + 5) for y in range(5, 20)}

    plain = colors(30)
    strip.set_outside("atrium", range(10), range(5))
    hatched, empty = colors(7), colors(2)
    assert colors(30) == plain
    assert len(hatched) > 1
    assert plain < hatched
    assert len(empty) > 1
    assert not plain & empty
    assert strip.said_of(7) == "Slice 7: untouched, outside of 'atrium'"
    assert strip.said_of(2) == "Slice 2: untouched, outside of 'atrium', certified empty"
    assert strip.said_of(10) == "Slice 10: untouched"
    strip.set_outside("atrium", (), ())
    assert colors(7) == plain


def test_a_suggestion_says_why() -> None:
    key = SliceKey("a", 0, 7)
    assert "34 mm²" in why(Suggestion(key, 0.1, 34.4))
    assert "10.0%" in why(Suggestion(key, 0.1, 34.4))
    assert "mm²" not in why(Suggestion(key, 0.1, None))
    assert "spread evenly" in why(Suggestion(key, None, None))


def test_the_list_says_what_it_is_waiting_for(qtbot: QtBot) -> None:
    panel = SuggestionsPanel()
    qtbot.addWidget(panel)
    panel.set_suggestions([], looking=True)
    assert "Looking" in panel.note.text()
    panel.set_suggestions([])
    assert "Nothing to suggest" in panel.note.text()
    panel.set_suggestions([], problem="The image of a is gone.")
    assert "The image of a is gone." in panel.note.text()
    panel.set_suggestions([Suggestion(SliceKey("a", 0, 7), None, None)])
    assert "Spread evenly" in panel.note.text()


def test_suggested_slices_are_marked_in_the_strip(qtbot: QtBot) -> None:
    strip = SliceStrip()
    qtbot.addWidget(strip)
    strip.resize(200, 26)
    strip.set_states([SliceState.UNTOUCHED] * 20)
    strip.set_current(0)
    plain = strip.grab().toImage()
    strip.set_suggested([10, 99])  # of the last case with more slices, until there are others
    marked = strip.grab().toImage()
    changed = {x for x in range(200) for y in range(26) if plain.pixel(x, y) != marked.pixel(x, y)}
    assert changed
    assert min(changed) >= 98
    assert max(changed) <= 112


def test_slices_that_nobody_looked_at_are_marked_unless_somebody_touched_them(
    qtbot: QtBot,
) -> None:
    strip = SliceStrip()
    qtbot.addWidget(strip)
    strip.resize(200, 26)
    states = [SliceState.UNTOUCHED] * 20
    states[12] = SliceState.SKIPPED
    strip.set_states(states)
    strip.set_current(0)
    plain = strip.grab().toImage()
    strip.set_never_looked_at([10, 12, 99])
    marked = strip.grab().toImage()
    changed = {x for x in range(200) for y in range(26) if plain.pixel(x, y) != marked.pixel(x, y)}
    assert changed
    assert min(changed) >= 99
    assert max(changed) <= 110
    assert strip.said_of(10) == "Slice 10: untouched, never looked at"
    assert strip.said_of(11) == "Slice 11: untouched"
    assert strip.said_of(12) == "Slice 12: skipped"
    assert "never looked at" in strip.toolTip()


def test_a_suggestion_names_what_nobody_looked_at(qtbot: QtBot) -> None:
    panel = SuggestionsPanel()
    qtbot.addWidget(panel)
    seen = Suggestion(SliceKey("a", 0, 7), 0.1, 34.4)
    unseen = dataclasses.replace(seen, never_looked_at=True)
    assert why(unseen).startswith("Never looked at")
    assert "ever looked at" not in why(seen)
    panel.set_suggestions([unseen, seen])
    texts = [panel.table.item(row, 2).text() for row in range(2)]  # type: ignore[union-attr]
    assert texts == [f"{UNSEEN} 34", "34"]
    assert f"{UNSEEN} never looked at" in panel.note.text()
    panel.set_suggestions([seen])
    assert UNSEEN not in panel.note.text()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_sheet_lists_every_key() -> None:
    assert all(command.key.replace("-", "+") in sheet() for command in EVERY)


@pytest.mark.parametrize("width", [3, 52, 400])
def test_the_strip_of_a_case_shows_each_slice_where_it_lies(width: int) -> None:
    touched = ((0, SliceState.CLEAN), (5, SliceState.DRAFT), (9, SliceState.SKIPPED))
    row = CaseRow("a", 10, 1, 1, 1, "a", touched)
    strip = strip_of(row, width)
    assert [state for _, _, state in strip] == [state for _, state in touched]
    for (left, part, _), (index, _) in zip(strip, touched, strict=True):
        assert part >= 1
        assert abs(left - width * index / 10) <= 0.5
    assert width < 10 or strip[-1][0] + strip[-1][1] == width


def test_how_far_a_study_has_come_is_told_with_what_it_is_known_from() -> None:
    rows = [CaseRow("a", 10, 1, 2, 0, "a"), CaseRow("b", 20, 3, 0, 1, "b")]
    start = datetime(2026, 1, 1)
    times = [start + timedelta(seconds=40 * k) for k in range(6)]
    times.append(times[-1] + timedelta(hours=20))  # a night
    assert cohort_in_words(rows, pace_of(times)) == (
        "4 of 30 clean, 2 drafts, 1 skipped; 40 s a slice (mean of 5)"
    )
    assert "too few to tell" in cohort_in_words(rows, pace_of(times[2:]))
    assert cohort_in_words([], None) == ""
