"""The line that says what the pointer is over."""

import re
from dataclasses import replace
from functools import partial
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
from bench import WindowAtWork
from hypothesis import given
from hypothesis import strategies as st
from orientations import Grid, grids
from pytestqt.qtbot import QtBot

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry
from napari_mlbseg.widgets.reading.pointer import in_words, patient_mm, voxel_at


@given(grids(), st.data())
def test_a_voxel_lies_where_the_file_says(grid: Grid, data: st.DataObject) -> None:
    shape, affine = grid
    geometry = Geometry.from_affine(shape, affine)
    voxel = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    point = tuple(np.add(geometry.origin_mm, np.multiply(voxel, geometry.spacing_mm)))
    in_file = [int(geometry.to_display(i)[voxel]) for i in np.indices(shape)]
    expected = nib.affines.apply_affine(affine, in_file)
    assert np.allclose(patient_mm(geometry, point), expected, atol=1e-6)
    assert voxel_at(geometry, point) == voxel


def test_beside_the_case_there_is_no_voxel() -> None:
    geometry = Geometry.from_affine((6, 5, 4), np.diag([-2.0, -2.0, 2.0, 1.0]))
    assert voxel_at(geometry, (-0.9, -0.9, -0.9)) == (0, 0, 0)
    assert voxel_at(geometry, (6.9, 8.9, 10.9)) == (3, 4, 5)
    for point in ((-1.1, 0, 0), (0, 9.1, 0), (0, 0, 11.1)):
        assert voxel_at(geometry, point) is None


def test_places_are_written_with_letters() -> None:
    assert in_words((1.26, -2.0, 0.0)) == "R 1.3  P 2.0  I 0.0 mm"
    assert in_words((-1.26, 2.0, 3.0)) == "L 1.3  A 2.0  S 3.0 mm"


def said(bench: WindowAtWork) -> str:
    return bench.dock.habits.panel.line.text().strip()


def says(bench: WindowAtWork, text: str) -> bool:
    return text in said(bench)


def test_the_line_follows_the_pointer(qtbot: QtBot, bench: WindowAtWork) -> None:
    study, case = bench.dock.workbench.study, bench.annotation.case
    assert study is not None
    image = np.asarray(study.arrays.open(case.id, ArrayName.IMAGE)[:])
    names = {0: "background", 1: "class 1", 2: "class 2"}
    for voxel in ((5, 15, 20), (5, 22, 12)):
        bench.annotation.go_to(voxel[0])
        bench.hand.point_at(*voxel[1:])
        expected = f" · {image[voxel]} HU · {names[study.labels.working(case.id)[voxel]]}"
        qtbot.waitUntil(partial(says, bench, expected))
        assert "trust" not in said(bench)
        written = re.findall(r"([LRAPIS]) ([\d.]+)", said(bench).split(" · ")[0])
        place = [float(mm) * (1 if side in "RAS" else -1) for side, mm in written]
        exact = nib.affines.apply_affine(case.geometry.display_affine, voxel)
        # Half a pixel of the screen, and what is rounded.
        assert np.allclose(place, exact, atol=0.6 / bench.viewer.scene.camera.zoom + 0.1)


@pytest.mark.one_binding
def test_the_line_follows_slices_and_strokes_and_shows_trust(
    qtbot: QtBot, bench: WindowAtWork
) -> None:
    study, case = bench.dock.workbench.study, bench.annotation.case
    assert study is not None
    trust = np.full(case.geometry.shape, 0.25, np.float16)
    trust[6] = np.nan
    study.arrays.create(case.id, ArrayName.TRUST, [(0, trust)], axis=0)
    bench.annotation._arrays.reload((ArrayName.TRUST,), 0, 0, len(trust))
    bench.annotation.go_to(5)
    bench.hand.point_at(8, 8)
    qtbot.waitUntil(lambda: said(bench).endswith("background · trust 0.25"))  # its layer is hidden
    before = said(bench)
    bench.hand.wheel(-1)
    qtbot.waitUntil(lambda: said(bench) != before and said(bench).endswith("background"))
    bench.annotation.paint_with(1)
    bench.hand.click(8, 8)
    qtbot.waitUntil(lambda: said(bench).endswith("class 1"))
    bench.hand.undo()
    qtbot.waitUntil(lambda: said(bench).endswith("background"))


@pytest.mark.one_binding
def test_a_class_is_called_by_its_name_of_now_and_read_once(
    qtbot: QtBot, bench: WindowAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [replace(one, name=f"organ {one.value}") for one in bench.study.classes]
    with qtbot.waitSignal(bench.dock.workbench.classes_changed):
        bench.dock.workbench.set_classes(named)
    bench.annotation.go_to(5)
    read = mock.PropertyMock(return_value=())
    monkeypatch.setattr(Study, "classes", read)
    shown = bench.labels[5]
    places = np.argwhere(shown > 0)
    y, x = places[len(places) // 2].tolist()
    bench.hand.point_at(y, x)
    qtbot.waitUntil(lambda: said(bench).endswith(f"organ {shown[y, x]}"))
    read.assert_not_called()


@pytest.mark.one_binding
def test_beside_the_image_and_without_a_study_nothing_is_said(
    qtbot: QtBot, bench: WindowAtWork
) -> None:
    bench.hand.point_at(8, 8)
    qtbot.waitUntil(lambda: said(bench) != "")
    bench.hand.point_at(-3, 8)
    qtbot.waitUntil(lambda: said(bench) == "")
    bench.hand.point_at(8, 8)
    qtbot.waitUntil(lambda: said(bench) != "")
    bench.dock.workbench.close_study()
    assert said(bench) == ""
    bench.viewer.cursor.position = (1.0, 2.0)
    qtbot.wait(100)
    assert said(bench) == ""
