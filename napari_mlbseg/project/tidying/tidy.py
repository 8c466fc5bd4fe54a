"""Makes labels as tidy as their classes are said to be: few pieces, no holes.

First the pieces that are too many become background, then holes are filled. A person's slices stay
exactly as they are, and so does every piece and every hole that a clean slice shows.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.tidying import told
from napari_mlbseg.project.tidying.components import Components
from napari_mlbseg.project.tidying.holes import FoundHoles, fill_holes
from napari_mlbseg.project.tidying.looking import Looking
from napari_mlbseg.project.tidying.pieces import remove_pieces, stays
from napari_mlbseg.project.tidying.slabs import InMemory, Packed, Slabs, Windows
from napari_mlbseg.project.tidying.told import ClassTidied, Tidied


def tidied_array(
    labels: NDArray[Any],
    classes: Mapping[int, LabelClass],
    *,
    persons: Windows | None = None,
    voxel_mm3: float = 1.0,
    axis: int = 0,
) -> tuple[NDArray[Any], Tidied]:
    """Tidy an array; returns another one, and what was done.

    Parameters
    ----------
    labels
        Integers from 0 to 254 (z y x); 0 is the background.
    classes
        The class of each label that may have to be tidied.
    persons
        Whose each voxel is, see `PersonsSlices`; None where all are the machine's.
    voxel_mm3
        Volume of a voxel.
    axis
        Axis along which the slices follow each other. Of pieces of one size, those that begin
        first along it stay.

    Examples
    --------
    >>> import numpy as np
    >>> atrium = LabelClass(1, "left atrium", (230, 159, 0), most_pieces=1)
    >>> labels = np.array([[[1, 1, 0, 1]]], np.uint8)
    >>> found, told = tidied_array(labels, {1: atrium})
    >>> found.tolist(), told.classes[0].pieces.removed_voxels
    ([[[1, 1, 0, 0]]], 1)
    """
    kept = labels.copy()
    return kept, _tidy(InMemory(kept, axis), classes, persons, voxel_mm3)


def tidied_windows(
    labels: Windows,
    classes: Mapping[int, LabelClass],
    *,
    persons: Windows | None = None,
    voxel_mm3: float = 1.0,
    axis: int = 0,
) -> tuple[Packed, Tidied]:
    """Tidy labels (uint8, z y x) of which one window after the other is read, each voxel once.

    As `tidied_array`, but what is returned is read window by window, too. Never in memory as a
    whole: what is kept is compressed, and one slab of it at a time is looked at.
    """
    packed = Packed(labels, axis)
    return packed, _tidy(packed, classes, persons, voxel_mm3)


def _tidy(
    labels: Slabs,
    classes: Mapping[int, LabelClass],
    persons: Windows | None,
    voxel_mm3: float,
) -> Tidied:
    wanted = {value: one for value, one in classes.items() if one.is_tidied}
    looking = Looking(labels, persons)
    pieces = holes = None
    if looking.slabs and any(one.most_pieces is not None for one in wanted.values()):
        pieces = remove_pieces(looking, wanted)
    if looking.slabs and any(one.no_holes for one in wanted.values()):
        holes = fill_holes(looking, wanted)
    done = (
        ClassTidied(
            one,
            None if one.most_pieces is None else _pieces_told(pieces, value, wanted, voxel_mm3),
            _holes_told(holes, value, voxel_mm3) if one.no_holes else None,
        )
        for value, one in wanted.items()
    )
    return Tidied(tuple(done), looking.changed)


def _pieces_told(
    found: Components | None, value: int, classes: Mapping[int, LabelClass], voxel_mm3: float
) -> told.Pieces:
    if found is None:
        return told.Pieces(0, 0, 0, 0, 0.0, 0)
    own = found.value == value
    goes = own & ~stays(found, classes)
    voxels = int(found.free[goes].sum())
    return told.Pieces(
        found=int(own.sum()),
        kept=int((own & ~goes).sum() + (found.edited[goes] > 0).sum()),
        removed=int((found.free[goes] > 0).sum()),
        removed_voxels=voxels,
        removed_mm3=round(voxels * voxel_mm3, 6),
        on_drafts=int(found.edited[goes].sum()),
    )


def _holes_told(found: FoundHoles | None, value: int, voxel_mm3: float) -> told.Holes:
    if found is None:
        return told.Holes(0, 0, 0, 0.0, 0)
    parts, own = found.components, found.of_class == value
    filled = own & (parts.seen == 0) & (parts.free > 0)
    voxels = int(parts.free[filled].sum())
    return told.Holes(
        filled=int(filled.sum()),
        kept=int((own & (parts.seen > 0)).sum()),
        filled_voxels=voxels,
        filled_mm3=round(voxels * voxel_mm3, 6),
        on_drafts=int(parts.edited[filled].sum()),
    )
