"""Voxels in the order of their file."""

from typing import Any

from numpy.typing import NDArray

from napari_mlbseg.volume import Volume


def as_stored(volume: Volume) -> NDArray[Any]:
    """The voxels along the axes of the file that the volume was read from."""
    return volume.geometry.to_file(volume.voxels)
