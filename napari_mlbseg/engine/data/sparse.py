"""Labelled slices as voxels of a volume that is sampled at any position and angle."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from napari_mlbseg.engine.data.volumes import Frame
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.sampling import Matrices
from napari_mlbseg.project.records.slices import SliceKey


def lay_slices(
    labels: Int[Tensor, "z y x"],
    to_file: Matrices,
    frame: Frame,
    slices: Mapping[SliceKey, Int[Tensor, "_rows _columns"] | None],
) -> Int[Tensor, "z y x"]:
    """Write slices over the labels that they cross, in the given order, later ones on top.

    A voxel belongs to a slice if its centre is within half a voxel of the slice's plane: half a
    voxel of `labels` or of the file, whichever is larger, so that coarse voxels do not miss a
    slice and fine ones do not make it thinner. The voxel takes the nearest pixel of the slice.

    Parameters
    ----------
    to_file
        Matrix from voxels of `labels` to voxels of the file (on the CPU, not on the device).
    slices
        Class indices of each slice; None for a slice whose voxels are to be ignored.
    """
    positions: Tensor | None = None
    for key, mask in slices.items():
        normal = frame.axes.index(key.axis)
        row = to_file[0, 2 - normal]
        thickness = max(1.0, float(row[:3].norm()))
        plane = key.index - (frame.shape[normal] - 1) / 2
        half = (torch.tensor(labels.shape[::-1]) - 1) / 2
        if abs(plane - float(row[3])) > float(row[:3].abs() @ half) + thickness / 2:
            continue
        if positions is None:
            positions = _positions(to_file.to(labels.device), tuple(labels.shape))
        distance = positions[normal] - plane
        crossed = (distance >= -thickness / 2) & (distance < thickness / 2)
        found = IGNORE if mask is None else _nearest(mask, positions, frame, key.axis)
        labels = torch.where(crossed, found, labels)
    return labels


def fill_slices(
    labels: Int[Tensor, "z y x"],
    to_file: Matrices,
    frame: Frame,
    which: Bool[Tensor, " slices"],
    value: int,
) -> Int[Tensor, "z y x"]:
    """Give all voxels of some slices the same label; the others stay as they are.

    A voxel belongs to the nearest slice along the annotated axis; voxels beyond the first and the
    last slice belong to none.

    Parameters
    ----------
    to_file
        As in `lay_slices`.
    which
        Which slices along the annotated axis are filled.
    """
    if not which.any():
        return labels
    depth = _positions(to_file.to(labels.device), tuple(labels.shape))[0]
    index = (depth + (len(which) - 1) / 2).round().long()
    inside = (index >= 0) & (index < len(which))
    found = which.to(labels.device)[index.clamp(0, len(which) - 1)]
    return labels.masked_fill(inside & found, value)


def _nearest(
    mask: Int[Tensor, "rows columns"], positions: Float[Tensor, "3 z y x"], frame: Frame, axis: int
) -> Int[Tensor, "z y x"]:
    """The pixel of a slice nearest to every voxel; `IGNORE` beyond its edge."""
    rows, columns = (
        (positions[frame.axes.index(other)] + (size - 1) / 2).round().long()
        for other, size in zip(
            [other for other in range(3) if other != axis], mask.shape, strict=True
        )
    )
    height, width = mask.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    found = mask[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    return torch.where(inside, found, IGNORE)


def _positions(to_file: Matrices, size: tuple[int, ...]) -> Float[Tensor, "3 z y x"]:
    """The position of each voxel in the file, in voxels from its centre, in frame order."""
    axes = [torch.arange(n, dtype=torch.float32, device=to_file.device) - (n - 1) / 2 for n in size]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    at = torch.stack([x, y, z]).flatten(1)
    moved = to_file[0, :, :3] @ at + to_file[0, :, 3:]
    return moved.reshape(3, *size).flip(0)
