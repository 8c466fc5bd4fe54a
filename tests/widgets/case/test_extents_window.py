"""Where a class begins and ends, marked in the real window by keys, buttons and undo."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from at_work import heard
from bench import WindowAtWork
from canvas import LEFT, SHIFT
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_mlbseg.engine.events import ExtentMarked
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import UNMARKED, Extent
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

pytestmark = pytest.mark.one_binding

Key = Qt.Key


class Bench(WindowAtWork):
    """A window at work, and what it asks of the engine."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock) -> None:
        super().__init__(viewer, dock)
        self.requests = heard(dock.workbench.view.request)

    def begins(self, index: int) -> None:
        self.annotation.go_to(index)
        self.hand.press(Key.Key_B, SHIFT)

    def ends(self, index: int) -> None:
        self.annotation.go_to(index)
        self.hand.press(Key.Key_E, SHIFT)

    def marked(self, value: int = 1, axis: int = 0) -> Extent:
        return self.study.extents.marked(self.annotation.case.id, axis, value)

    def heights(self, value: int = 1) -> list[int]:
        """The slices along z on which the layer shows a class."""
        return np.flatnonzero((self.labels == value).any(axis=(1, 2))).tolist()

    def marks_sent(self) -> list[ExtentMarked]:
        return [one for one in self.requests if isinstance(one, ExtentMarked)]


@pytest.fixture
def bench(make_napari_viewer: Callable[..., napari.Viewer], study_path: Path) -> Iterator[Bench]:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    yield Bench(viewer, dock)
    dock.workbench.shut_down()


def test_a_key_marks_an_end_and_the_class_is_gone_outside_at_once(bench: Bench) -> None:
    before, other = bench.heights(), bench.heights(2)
    low, high = before[2], before[-3]
    bench.begins(low)
    assert bench.message.startswith(f"'class 1' begins at slice {low}: no slice before it shows it")
    bench.ends(high)
    assert bench.marked() == Extent(low, high)
    assert bench.heights() == list(range(low, high + 1))
    assert bench.heights(2) == other  # another class stays
    np.testing.assert_array_equal(
        bench.labels, bench.study.labels.working(bench.annotation.case.id)
    )
    assert bench.marks_sent() == [ExtentMarked(bench.annotation.case.id)] * 2
    shown = bench.annotation.layers.working._slice.image.raw
    assert (shown == 1).any()
    bench.annotation.go_to(high + 1)
    assert not (bench.annotation.layers.working._slice.image.raw == 1).any()


def test_the_slice_on_view_is_drawn_anew_when_an_end_moves(bench: Bench) -> None:
    """A slice that lies outside because of a mark along another axis."""
    middle = bench.heights()[len(bench.heights()) // 2]
    bench.annotation.go_to(middle)
    assert (bench.annotation.layers.working._slice.image.raw == 1).any()
    case = bench.annotation.case
    bench.annotation.extents.keep(1, 1, Extent(first=case.geometry.shape[1] - 1))
    assert not (bench.annotation.layers.working._slice.image.raw == 1).any()


def test_the_same_key_on_the_same_slice_takes_the_mark_away(bench: Bench) -> None:
    before = bench.heights()
    bench.begins(before[3])
    bench.begins(before[4])  # on another slice it moves
    assert bench.marked() == Extent(first=before[4])
    bench.begins(before[4])
    assert bench.marked() == UNMARKED
    assert bench.heights() == before
    assert bench.message == "Where 'class 1' begins is no longer marked."


def test_undo_and_redo_go_through_the_one_history(bench: Bench) -> None:
    before = bench.heights()
    low, high = before[2], before[-2]
    bench.annotation.go_to(low)
    bench.hand.drag((20, 20), (22, 26), (25, 30))
    painted = bench.labels[low].copy()
    bench.begins(low)
    bench.ends(high)
    name = f"mark where 'class 1' ends (slice {high})"
    assert bench.dock.slices_panel.buttons["undo"].toolTip() == f"Undo {name} (Ctrl+Z)"
    bench.annotation.go_to(0)
    bench.hand.undo()
    assert (bench.annotation.key.index, bench.marked()) == (high, Extent(first=low))
    assert bench.message == f"Undone: {name}."
    bench.hand.undo()
    assert bench.marked() == UNMARKED
    assert np.array_equal(bench.labels[low], painted)
    bench.hand.undo()  # and then the stroke
    assert not np.array_equal(bench.labels[low], painted)
    assert bench.heights() == before
    for _ in range(3):
        bench.hand.redo()
    assert bench.marked() == Extent(low, high)
    assert np.array_equal(bench.labels[low], painted)
    assert bench.heights() == list(range(low, high + 1))
    assert len(bench.study._database.rows("SELECT 1 FROM extents")) == 6  # nothing is overwritten


def test_an_end_before_the_beginning_is_refused_in_words(bench: Bench) -> None:
    bench.begins(20)
    bench.ends(12)
    assert bench.marked() == Extent(first=20)
    assert "'class 1' cannot end at slice 12, because it is marked to begin at slice 20." in (
        bench.message
    )
    assert "Shift+B on slice 20" in bench.message
    bench.begins(20)
    bench.ends(12)
    bench.begins(13)
    assert bench.marked() == Extent(last=12)
    assert "cannot begin at slice 13" in bench.message
    assert "Shift+E on slice 12" in bench.message


def test_the_class_is_the_one_to_paint_with(qtbot: QtBot, bench: Bench) -> None:
    buttons = bench.dock.slices_panel.buttons
    bench.annotation.paint_with(2)
    bench.annotation.go_to(15)
    qtbot.mouseClick(buttons["begins_here"], LEFT)
    assert (bench.marked(1), bench.marked(2)) == (UNMARKED, Extent(first=15))
    bench.annotation.paint_with(0)
    qtbot.mouseClick(buttons["ends_here"], LEFT)
    assert bench.marked(2) == Extent(first=15)
    assert "the background is no class" in bench.message
    bench.study.set_classes(bench.study.classes[1:2])  # the only one is meant whatever is chosen
    bench.annotation.go_to(18)
    bench.hand.press(Key.Key_E, SHIFT)
    assert bench.marked(2) == Extent(15, 18)


def test_along_another_axis_the_ends_are_those_of_that_axis(qtbot: QtBot, bench: Bench) -> None:
    bench.dock.workbench.view.turn(1)
    qtbot.waitUntil(lambda: bench.annotation.key.axis == 1)
    rows = np.flatnonzero((bench.labels == 1).any(axis=(0, 2)))
    bench.begins(int(rows[3]))
    assert bench.marked(axis=1) == Extent(first=int(rows[3]))
    assert bench.marked(axis=0) == UNMARKED
    assert np.flatnonzero((bench.labels == 1).any(axis=(0, 2)))[0] == rows[3]


def test_an_accepted_slice_outside_widens_and_says_so(bench: Bench) -> None:
    before = bench.heights()
    high, further = before[-6], before[-3]
    bench.ends(high)
    bench.annotation.go_to(further)
    bench.hand.drag((40, 40), (42, 44))
    bench.hand.press(Key.Key_A, SHIFT)
    assert f"Slice {further} shows 'class 1' beyond the marked end" in bench.message
    assert bench.heights()[-1] == further
    assert high + 1 in bench.heights()
    assert bench.marked() == Extent(last=high)  # as marked
    bench.annotation.go_to(further)
    bench.hand.press(Key.Key_O, SHIFT)
    assert bench.heights() == [*before[: before.index(high) + 1], further]  # the draft stays
    bench.hand.undo()  # clean again
    bench.ends(high)
    bench.ends(high)
    assert f"you accepted slice {further} with it" in bench.message


def test_the_prediction_and_what_is_proposed_end_there_too(bench: Bench) -> None:
    case = bench.annotation.case
    for name in (ArrayName.PREDICTION, ArrayName.PROPOSED_LABELS):
        bench.study.arrays.create(case.id, name)[:] = 1
    bench.study.arrays.create(case.id, ArrayName.TRUST)[:] = 0
    bench.dock.workbench.view.show_anew(SliceKey(case.id, 0, 10))
    bench.ends(12)
    layer = bench.viewer.layers["prediction"]
    assert np.flatnonzero(np.asarray(layer.data).any(axis=(1, 2))).tolist() == list(range(13))
    bench.annotation.go_to(13)
    assert not layer._slice.image.raw.any()
    bench.hand.press(Key.Key_T, SHIFT)
    assert not bench.labels[13].any()


def test_the_strip_shows_what_is_outside_and_what_is_certified_empty(bench: Bench) -> None:
    strip = bench.dock.slices_panel.strip
    bench.begins(10)
    assert strip.said_of(9).endswith("outside of 'class 1'")
    assert "outside" not in strip.said_of(10)
    bench.annotation.paint_with(2)
    assert "outside" not in strip.said_of(9)
    bench.begins(12)
    assert "outside of 'class 2'" in strip.said_of(11)
    bench.begins(9)
    assert "certified empty" in strip.said_of(8)
    bench.annotation.go_to(11)
    assert "certified empty" not in strip.said_of(9)


def test_what_is_certified_empty_counts_as_looked_at(bench: Bench) -> None:
    strip = bench.dock.slices_panel.strip
    assert "never looked at" in strip.said_of(22)
    for value in (1, 2):
        bench.annotation.paint_with(value)
        bench.ends(18)
    assert "never looked at" not in strip.said_of(22)
    assert "never looked at" in strip.said_of(18)


def test_a_new_class_may_show_where_nothing_did(qtbot: QtBot, bench: Bench) -> None:
    strip, workbench = bench.dock.slices_panel.strip, bench.dock.workbench
    for value in (1, 2):
        bench.annotation.paint_with(value)
        bench.ends(18)
    assert "certified empty" in strip.said_of(22)
    workbench.set_classes([*bench.study.classes, LabelClass(3, "vein", (1, 2, 3))])
    qtbot.waitUntil(lambda: "certified empty" not in strip.said_of(22))
    assert "never looked at" in strip.said_of(22)
    assert "outside of 'class 2'" in strip.said_of(22)


def test_a_suggested_end_is_gone_to_and_marked(qtbot: QtBot, bench: Bench) -> None:
    panel, case = bench.dock.suggestions_panel, bench.annotation.case
    qtbot.waitUntil(lambda: bool(bench.dock.suggester.best))
    item = panel.table.item(0, 0)
    assert item is not None
    assert (
        item.text() == f"{case.id} {bench.heights()[0]}: mark where 'class 1' and 'class 2' begin"
    )
    assert "Shift+B" in item.toolTip()
    assert "mark where classes begin" in panel.note.text()
    bench.annotation.go_to(20)
    bench.hand.press(Key.Key_G, SHIFT)
    assert bench.annotation.key == SliceKey(case.id, 0, bench.heights()[0])
    bench.hand.press(Key.Key_B, SHIFT)
    item = panel.table.item(0, 0)
    assert item is not None
    assert item.text().endswith(": mark where 'class 2' begins")


def test_a_read_only_study_refuses_marks(
    make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> None:
    with Study.open(study_path) as writer:
        writer.extents.mark(writer.cases[0].id, 0, 1, Extent(12, 20))
        dock = open_dock(make_napari_viewer())
        dock.workbench.open_study(study_path, writable=False)
        annotation = dock.workbench.annotation
        assert annotation is not None
        assert (
            np.flatnonzero((np.asarray(annotation.layers.working.data) == 1).any((1, 2)))[0] >= 12
        )
        assert not dock.slices_panel.buttons["begins_here"].isEnabled()
        dock.run("begins_here")
        assert "read-only" in dock.message.text()
        dock.workbench.shut_down()
