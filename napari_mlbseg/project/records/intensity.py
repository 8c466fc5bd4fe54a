"""Statistics of the intensities of an image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.percentiles import distribution_of

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class Intensity:
    """Statistics of the intensities of an image, over its finite voxels.

    Attributes
    ----------
    low, high
        The 0.5 and 99.5 percentiles; the extremes if both percentiles are the same.
    mean, std
        Mean and standard deviation of the voxels clipped to [low, high]; `std` is 1 for a constant
        image, so always positive.
    """

    low: float
    high: float
    mean: float
    std: float

    @classmethod
    def of(
        cls,
        voxels: "NDArray[Any] | zarr.Array[Any]",
        padding: tuple[float, float] | None = None,
    ) -> "Intensity":
        """Measure an image, in memory or in zarr; raises UserError if no voxel is finite.

        `padding` are the least and the largest number that stand for no tissue, as around a round
        field of view; they are left out unless nothing else is there.
        """
        found = distribution_of(voxels, padding)
        if padding is not None and found.count == 0:
            found = distribution_of(voxels)
        if found.count == 0:
            raise UserError("The image has no finite voxel. Check how it was made.")
        low, high = found.percentiles((0.5, 99.5))
        if low == high:  # almost everything is background: percentiles would clip the rest away
            low, high = found.percentiles((0, 100))
        mean, std = found.clipped_moments(low, high)
        return cls(low, high, mean, std if std > 0 else 1.0)
