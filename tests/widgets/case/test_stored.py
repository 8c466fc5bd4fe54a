import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume
from napari_mlbseg.widgets.case import stored
from napari_mlbseg.widgets.case.stored import CaseArrays

pytestmark = pytest.mark.one_binding

SHAPE = (70, 20, 24)
IMAGE, PREDICTION, TRUST = ArrayName.IMAGE, ArrayName.PREDICTION, ArrayName.TRUST


class Shelf:
    """A case on disk, its arrays, and how often something came late."""

    def __init__(self, study: Study) -> None:
        voxels = np.random.default_rng(0).integers(-999, 999, SHAPE).astype(np.int16)
        geometry = Geometry.from_affine(SHAPE[::-1], np.diag([-1.0, -1.0, 3.0, 1.0]))
        new = NewCase("a", study.path / "a.nii", Volume(voxels, geometry), SourceInfo("nifti", b""))
        self.study, self.voxels, self.case = study, voxels, study.add_cases([new])[0]
        self.late = 0
        self.arrays = CaseArrays(study, self.case, list(ArrayName), self._late)

    def _late(self) -> None:
        self.late += 1

    def publish(self, name: ArrayName, start: int, block: NDArray[Any]) -> None:
        if not self.study.arrays.has("a", name):
            self.study.arrays.create("a", name)
        self.study.arrays.write("a", name, 0, start, block)
        self.arrays.reload([name], 0, start, start + len(block))


@pytest.fixture
def shelf(study: Study) -> Iterator[Shelf]:
    made = Shelf(study)
    yield made
    made.arrays.close()


@pytest.fixture
def reads(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Rows that are read from the disk."""
    rows: list[object] = []
    read = stored.StoredArray._read

    def spy(array: stored.StoredArray, row: stored.Row) -> NDArray[Any]:
        rows.append((array.name, row))
        return read(array, row)

    monkeypatch.setattr(stored.StoredArray, "_read", spy)
    return rows


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_slice_is_that_of_the_study(shelf: Shelf, axis: int) -> None:
    for index in (*range(SHAPE[axis]), *range(SHAPE[axis] - 1, 0, -3)):
        np.testing.assert_array_equal(
            shelf.arrays[IMAGE][plane(axis, index)], shelf.voxels[plane(axis, index)]
        )


def test_any_other_part_and_the_whole_are_read_too(shelf: Shelf) -> None:
    array = shelf.arrays[IMAGE]
    np.testing.assert_array_equal(array[3:9, :, 4], shelf.voxels[3:9, :, 4])
    np.testing.assert_array_equal(np.asarray(array), shelf.voxels)
    assert array[5, 6, 7] == shelf.voxels[5, 6, 7]


def test_what_is_not_there_yet_is_blank(shelf: Shelf) -> None:
    for name, dtype in ((PREDICTION, np.uint8), (TRUST, np.float16)):
        array = shelf.arrays[name]
        assert array.dtype == dtype
        for part in (array[plane(1, 3)], np.asarray(array), array.slice(0, 2)):
            assert part.dtype == dtype
            assert (part == 0 if name is PREDICTION else np.isnan(part)).all()
        assert array[plane(1, 3)].shape == (SHAPE[0], SHAPE[2])


def test_neighbours_come_from_one_reading_and_the_next_row_is_fetched_ahead(
    shelf: Shelf, reads: list[object]
) -> None:
    array = shelf.arrays[IMAGE]
    for index in (20, 21):
        array[plane(0, index)]
    array.slice(0, 32)  # of the next row, which is there
    assert reads == [(IMAGE, (0, 0, 32)), (IMAGE, (0, 32, 64))]


def test_what_is_expected_is_read_ahead_once_and_in_the_same_room(
    shelf: Shelf, reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(PREDICTION, 0, np.ones(SHAPE, np.uint8))
    for _ in range(2):
        shelf.arrays.expect((TRUST,), 0, 40)  # there is no trust yet
    np.testing.assert_array_equal(shelf.arrays[IMAGE].slice(0, 40), shelf.voxels[40])
    assert (shelf.arrays.machine_slice(0, 40) == 1).all()
    assert sorted(reads, key=str) == [(IMAGE, (0, 32, 64)), (PREDICTION, (0, 40, 41))]
    shelf.publish(PREDICTION, 0, np.full(SHAPE, 2, np.uint8))
    assert (shelf.arrays.machine_slice(0, 40) == 2).all()
    monkeypatch.setattr(stored, "_KEPT_BYTES", 1)
    for index in (0, 33, 65):
        shelf.arrays.expect((), 0, index)
        assert len(shelf.arrays[IMAGE]._rows) <= 2


def test_a_part_is_a_copy(shelf: Shelf) -> None:
    array = shelf.arrays[IMAGE]
    for _ in range(2):
        for part in (array[plane(0, 3)], array.slice(0, 3)):
            np.testing.assert_array_equal(part, shelf.voxels[3])
            part[:] = 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_stays_what_it_is_until_it_is_published(shelf: Shelf, axis: int) -> None:
    ones = np.ones(SHAPE, np.uint8)
    shelf.publish(PREDICTION, 0, ones)
    array = shelf.arrays[PREDICTION]
    array[plane(axis, 5)]
    shelf.study.arrays.write("a", PREDICTION, 0, 4, 2 * ones[:3])
    assert array[plane(axis, 5)].max() == 1
    shelf.arrays.reload([PREDICTION], 0, 4, 7)
    expected = ones.copy()
    expected[4:7] = 2
    np.testing.assert_array_equal(array[plane(axis, 5)], expected[plane(axis, 5)])


def test_the_machine_s_labels_are_the_prediction_once_there_is_one(shelf: Shelf) -> None:
    assert shelf.arrays.machine.name is ArrayName.INITIAL_LABELS
    shelf.publish(PREDICTION, 0, np.ones(SHAPE, np.uint8))
    assert shelf.arrays.machine.name is PREDICTION
    assert (shelf.arrays.machine_slice(2, 4) == 1).all()


def test_a_slow_disk_shows_nothing_for_now_but_never_a_wrong_label(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(PREDICTION, 0, np.ones(SHAPE, np.uint8))
    gate, read = threading.Event(), stored.StoredArray._read

    def slow(array: stored.StoredArray, row: stored.Row) -> NDArray[Any]:
        gate.wait()
        return read(array, row)

    monkeypatch.setattr(stored.StoredArray, "_read", slow)
    monkeypatch.setattr(stored, "_PATIENCE_S", 0.01)
    array = shelf.arrays[PREDICTION]
    assert not array.ready(1, 3)
    assert array[plane(1, 3)].max() == 0
    assert shelf.late == 1
    assert shelf.arrays.awaited
    assert shelf.arrays.arrived() == []
    opening = threading.Timer(0.2, gate.set)
    opening.start()
    assert (shelf.arrays.machine_slice(1, 3) == 1).all()  # this one waits
    opening.join()
    assert shelf.arrays.arrived() == [PREDICTION]
    assert not shelf.arrays.awaited
    assert (array[plane(1, 3)] == 1).all()


def test_a_voxel_is_known_without_waiting_once_its_slice_has_been_read(
    shelf: Shelf, reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    array, asked, voxel = shelf.arrays[IMAGE], threading.Event(), (33, 7, 9)
    monkeypatch.setattr(stored, "wait", None)  # nobody waits
    for axis in range(3):
        asked.clear()
        assert array.at(voxel, axis, asked.set) is None
        assert asked.is_set()
        for future in array._rows.values():
            future.result()
        asked.clear()
        assert array.at(voxel, axis, asked.set) == shelf.voxels[voxel]
        assert not asked.is_set()
    assert len(reads) == 3
    assert shelf.arrays[TRUST].at(voxel, 0, asked.set) is None  # there is none
    assert not asked.is_set()


def test_a_voxel_that_cannot_be_read_is_not_asked_for_again_and_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(array: stored.StoredArray, row: stored.Row) -> NDArray[Any]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(stored.StoredArray, "_read", broken)
    array, asked = shelf.arrays[IMAGE], threading.Event()
    array.at((3, 4, 5), 0, asked.set)
    assert asked.is_set()
    for future in array._rows.values():
        assert isinstance(future.exception(), OSError)
    asked.clear()
    assert array.at((3, 4, 5), 0, asked.set) is None
    assert not asked.is_set()


def test_memory_is_bounded_however_much_is_looked_at(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = 32 * SHAPE[1] * SHAPE[2] * 2
    monkeypatch.setattr(stored, "_KEPT_BYTES", row)
    array = shelf.arrays[IMAGE]
    for index in range(SHAPE[0]):
        array[plane(0, index)]
    assert len(array._rows) <= 2


def test_an_error_of_the_disk_is_told_and_can_be_mended(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(stored.StoredArray, "_read", broken)
        with pytest.raises(OSError, match="no disk"):
            shelf.arrays[IMAGE].slice(0, 3)
    np.testing.assert_array_equal(shelf.arrays[IMAGE].slice(0, 3), shelf.voxels[3])
