"""What the window reads for one more accepted slice, however many there are: counted in rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import napari
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

pytestmark = pytest.mark.one_binding

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(
    make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> Iterator[MLBSegDock]:
    made = open_dock(make_napari_viewer(), study_path)
    yield made
    made.workbench.shut_down()


def test_accepting_reads_as_much_of_the_study_however_many_slices_are_clean(
    qtbot: QtBot, dock: MLBSegDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, annotation = dock.workbench.study, dock.workbench.annotation
    assert study is not None
    assert annotation is not None
    rows: list[int] = []
    unpacked: list[PackedMask] = []
    ask, unpack = Database.rows, PackedMask.unpack

    def asking(database: Database, sql: str, *values: Any) -> Any:
        found = ask(database, sql, *values)
        if database is study._database:  # suggestions are looked for in a study of their own
            rows.append(len(found))
        return found

    monkeypatch.setattr(Database, "rows", asking)

    def counted(mask: PackedMask, shape: tuple[int, int]) -> object:
        if current_thread() is main_thread():  # suggestions are looked for in another one
            unpacked.append(mask)
        return unpack(mask, shape)

    monkeypatch.setattr(PackedMask, "unpack", counted)
    found = []
    for count in range(1, 13):
        rows.clear()
        qtbot.mouseClick(dock.slices_panel.buttons["accept"], LEFT)
        assert annotation.states().count(SliceState.CLEAN) == count
        assert dock.cases_panel.model.rows[0].clean == count
        found.append(sum(rows))
    assert 0 < found[-1] <= found[1]
    assert unpacked == []
