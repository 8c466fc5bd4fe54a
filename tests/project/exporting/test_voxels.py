from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mlbseg.formats.streamed.stream import file_slabs
from napari_mlbseg.project.exporting import voxels
from napari_mlbseg.project.exporting.voxels import Banded
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
