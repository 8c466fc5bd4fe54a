"""An array that was built in part: every chunk of it is there, and what nobody wrote is zero."""

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_mlbseg.project.arrays.building import Unfinished
from napari_mlbseg.project.arrays.chunks import missing_chunks
from napari_mlbseg.project.folder.place import Place

SHAPE, CHUNKS = (7, 8, 9), (2, 3, 4)


def begun(folder: Path) -> Unfinished:
    path = folder / "arrays" / "a" / "image.zarr"
    return Unfinished.begin(
        path, folder, Place(folder), shape=SHAPE, dtype=np.dtype("i2"), chunks=CHUNKS, axis=0
    )


@pytest.mark.parametrize("seed", range(6))
def test_what_nobody_wrote_is_zero_and_there(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    unfinished, expected = begun(tmp_path), np.zeros(SHAPE, "i2")
    every = list(product(*(range(0, n, side) for n, side in zip(SHAPE, CHUNKS, strict=True))))
    for place in rng.permutation(every)[: rng.integers(0, len(every))]:
        window = tuple(slice(k, k + side) for k, side in zip(place, CHUNKS, strict=True))
        unfinished.array[window] = expected[window] = rng.integers(1, 99)
    unfinished.finish()
    assert list(missing_chunks(unfinished.path, tmp_path, SHAPE)) == []
    np.testing.assert_array_equal(zarr.open_array(unfinished.path, mode="r")[:], expected)


def test_an_array_that_is_built_is_flushed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, waits = os.fsync, [0]

    def counted(descriptor: int) -> None:
        waits[0] += 1
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    unfinished = begun(tmp_path)
    unfinished.write(0, np.ones(SHAPE, "i2"))
    while_written = waits[0]
    unfinished.finish()
    chunks = sum(path.is_file() for path in unfinished.path.rglob("c/*/*/*"))
    assert chunks == 4 * 3 * 3
    assert while_written < chunks  # no chunk waited for the disk
    assert waits[0] - while_written >= chunks  # all of them are on it now
