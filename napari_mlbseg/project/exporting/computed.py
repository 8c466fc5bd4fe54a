"""Maps that are computed during an export: kept on the disk for a while, never in memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import workplace
from napari_mlbseg.project.exporting.provenance import Maker
from napari_mlbseg.project.exporting.voxels import Windowed, require_finite
from napari_mlbseg.project.records.cases import Case

Block = tuple[int, NDArray[np.float32]]
"""The first of some slices along a case's axis, and their maps (slices maps rows columns)."""


@dataclass(frozen=True)
class Computed:
    """Probabilities of all classes in order of their values, and the model that computes them."""

    blocks: Callable[[Case], Iterator[Block]]
    maker: Maker


@contextmanager
def kept_meanwhile(
    blocks: Iterator[Block], case: Case, values: list[int], folder: Path
) -> Iterator[Mapping[int, Windowed]]:
    """The maps of a case by value, in a hidden folder inside `folder` that is deleted afterwards.

    The system's folder for temporary files may be in memory, so it is not used.
    """
    import zarr

    axis, shape = case.axis, case.geometry.shape
    # A chunk is one slice, as in a study: writing one never reads another.
    chunks = tuple(1 if k == axis else n for k, n in enumerate(shape))
    with _room_in(folder), workplace(folder) as work:
        maps = {
            value: zarr.create_array(
                work.folder / f"{value}.zarr", shape=shape, dtype=np.float32, chunks=chunks
            )
            for value in values
        }
        for start, block in blocks:
            require_finite(block, f"probabilities of {case.name}")
            for number, array in enumerate(maps.values()):
                window = [slice(None)] * 3
                window[axis] = slice(start, start + len(block))
                array[tuple(window)] = np.moveaxis(block[:, number], 0, axis)
        yield maps


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The probabilities cannot be kept in {folder} while they are computed: "
            f"{error.strerror or error}. Choose a folder with more space."
        ) from error
