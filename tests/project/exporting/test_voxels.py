from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mlbseg.formats.streamed.stream import file_slabs
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting import voxels
from napari_mlbseg.project.exporting.voxels import Banded, WorkingLabels
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume


class Counted:
    """An array that remembers which part of it was read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read: list[Any] = []

    def __getitem__(self, window: Any) -> NDArray[Any]:
        self.read.append(window)
        found: NDArray[Any] = self.array[window]
        return found


@pytest.mark.parametrize(
    ("axis", "signs", "thick"), list(product(range(3), ([1, 1, 1], [-1, -1, -1]), (1, 2, 5)))
)
def test_bands_give_what_the_array_holds(
    monkeypatch: pytest.MonkeyPatch, axis: int, signs: Sequence[int], thick: int
) -> None:
    """Forwards and backwards; and little more than once."""
    shape = (11, 12, 13)
    array = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    monkeypatch.setattr(voxels, "BAND_BYTES", 4 * array.nbytes // shape[axis])
    geometry = Geometry.from_affine(shape[::-1], np.diag([*signs, 1.0]))
    counted = Counted(array)
    banded: Any = Banded(counted, axis)
    volume = Volume(banded, geometry)
    found = np.empty(geometry.file_shape, np.int16)
    file_axis = geometry.file_axes[axis]
    for start, slab in file_slabs(volume, array.dtype, axis=file_axis, thick=thick):
        window = [slice(None)] * 3
        window[file_axis] = slice(start, start + slab.shape[file_axis])
        found[tuple(window)] = slab
    np.testing.assert_array_equal(geometry.to_display(found), array)
    read = sum(len(range(*w[axis].indices(shape[axis]))) for w in counted.read)
    assert read <= shape[axis] + 4 * len(counted.read)
    assert len(counted.read) <= -(-shape[axis] // 4) + shape[axis] // 4


@pytest.mark.parametrize("machine", [None, ArrayName.INITIAL_LABELS, ArrayName.PREDICTION])
def test_working_labels_by_windows_are_those_in_memory(
    study: Study, make_case: Callable[..., NewCase], machine: ArrayName | None
) -> None:
    case = study.add_case(make_case("b", labels=machine is not None))
    rng = np.random.default_rng(0)
    if machine is ArrayName.PREDICTION:
        study.create_array(case.id, machine)[:] = rng.integers(0, 3, case.geometry.shape)
    for axis, index, state in (
        (0, 2, SliceState.CLEAN),
        (1, 3, SliceState.DRAFT),
        (2, 7, SliceState.CLEAN),
        (0, 4, SliceState.DRAFT),
        (0, 2, SliceState.DRAFT),
    ):
        mask = rng.integers(0, 3, case.slice_shape(axis)).astype(np.uint8)
        study.save_slice(SliceKey(case.id, axis, index), mask, state)
    study.set_state(SliceKey(case.id, 0, 4), SliceState.SKIPPED)
    expected = study.working_labels(case.id)
    found = WorkingLabels(study, case.id)
    for axis in range(3):
        np.testing.assert_array_equal(np.concatenate(list(found.slabs(axis)), axis), expected)
    window = (slice(1, 4), slice(3, 5), slice(6, 8))
    np.testing.assert_array_equal(found[window], expected[window])
