"""Slices that two people accepted differently: told at opening, seen side by side, settled."""

from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.sharing.splitting import split
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import open_dock

pytestmark = pytest.mark.one_binding

PLACES = ((0, 5), (1, 7))
"""Axis and index of slices that both accepted."""


def mask(study: Study, axis: int, size: int) -> NDArray[np.uint8]:
    made = np.zeros(study.cases[1].slice_shape(axis), np.uint8)
    made[:size, :size] = 1
    return made


@pytest.fixture
def merged(study_path: Path, tmp_path: Path) -> Path:
    """A study into which the work of Ada and Ben on the second case was taken."""
    with Study.open(study_path) as study:
        case = study.cases[1]
        paths = split(study, tmp_path, {"Ada": [case.name], "Ben": [case.name]})
        for size, (name, path) in zip((4, 9), paths.items(), strict=True):
            with Study.open(path, author=name) as copy:
                for axis, index in PLACES:
                    labels = mask(study, axis, size)
                    copy.save_slice(SliceKey(case.id, axis, index), labels, SliceState.CLEAN)
                study.merge(copy)
    return study_path


def test_conflicts_are_told_shown_and_settled(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], merged: Path
) -> None:
    dock = open_dock(make_napari_viewer(), merged)
    bench, panel, dialog = dock.workbench, dock.study_panel, dock.conflicts.dialog
    assert bench.study is not None
    assert dock.message.text().startswith("2 slices were accepted differently by several people")
    panel.conflicts.trigger()
    assert dialog.isVisible()
    assert dialog.title.text() == "Slice 5 of phantom_02 (2 left)"

    def buttons() -> list[QPushButton]:
        return [one for one in dialog.findChildren(QPushButton) if one.isVisible()]

    assert [one.text() for one in buttons()] == ["Accept Ada's", "Accept Ben's"]
    pictures = [one.pixmap().toImage() for one in dialog.findChildren(QLabel) if one.pixmap()]
    assert len([one for one in pictures if not one.isNull()]) == 2
    for (axis, index), place, size in zip(PLACES, (0, 1), (4, 9), strict=True):
        key = SliceKey("phantom_02", axis, index)
        qtbot.waitUntil(lambda: len(buttons()) == 2)
        qtbot.mouseClick(buttons()[place], Qt.MouseButton.LeftButton)
        assert bench.annotation is not None
        assert bench.annotation.key == key
        assert bench.annotation.states()[index] is SliceState.CLEAN
        np.testing.assert_array_equal(bench.study.slices.mask(key), mask(bench.study, axis, size))
    panel.agreement.trigger()
    table = dock.agreeing.dialog.table
    qtbot.waitUntil(dock.agreeing.dialog.isVisible)
    cells = [table.item(0, column) for column in (0, 2, 3)]
    shown = [cell.text() for cell in cells if cell is not None]
    assert shown == ["Ada and Ben", "2", f"{2 * 16 / (16 + 81):.3f}"]
    assert not dialog.isVisible()
    assert not panel.conflicts.isVisible()
    assert bench.study.unions.conflicts() == ()
    bench.view.act(lambda commands: commands.undo())
    assert [one.key.axis for one in bench.study.unions.conflicts()] == []
    bench.shut_down()
