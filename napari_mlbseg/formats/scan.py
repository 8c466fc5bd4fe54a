"""A file whose header was read but whose voxels were not, and checks that all formats share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import require_memory, require_slices, times
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import Geometry, Placed, Volume

Slabs = Iterator[tuple[int, NDArray[Any]]]
"""Index of the first slice and slices, in ascending order without gaps, in the file's frame."""

SLAB_BYTES: Final = 1 << 24
"""About how many bytes a slab holds; it holds at least one slice."""

_WHOLE: Final = 1e-4
"""How far a label may be from a whole number: scaled files store 2 as 1.9999999."""
_ROUNDED: Final = 0.02
"""How far a label may be from a whole number if that is told: tools resample and rescale."""

_MOST_BYTES_PER_BYTE: Final = 20_000
_SMALL: Final = 1 << 26


@dataclass(frozen=True)
class Forms:
    """What a header says about the place of its voxels besides the geometry that is used.

    Attributes
    ----------
    others
        Other affines that the header offers (4 x 4, to RAS mm).
    calibrated
        Whether it says how large the voxels are.
    """

    others: tuple[NDArray[np.float64], ...] = ()
    calibrated: bool = True


class FrameNeededError(UserError):
    """A file has several frames and none was chosen; `frames` says how many."""

    def __init__(self, message: str, frames: int) -> None:
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True)
class Scan:
    """An image or labels in a file: the geometry is known, the voxels are read when asked for.

    Attributes
    ----------
    geometry, dtype
        Of the voxels.
    source
        What an export needs to know about the file.
    axis
        Axis of the file's array along which slabs come.
    stored
        Starts reading from the beginning; raises `UserError` that names the file, at the latest
        after the last slab.
    notes
        Anything unusual about the file, in sentences for a person.
    names, colors
        Names and colours of labels by their values, where the file has any.
    onto
        For labels that may cover only a part of an image: the same on the whole grid of a
        geometry, or `UserError`.
    partial
        For labels: whether their format crops them to what is labelled.
    found_later
        Further notes, which turn up while the voxels are read: complete after the last slab.
    """

    geometry: Geometry
    dtype: np.dtype[Any]
    source: SourceInfo
    axis: int
    stored: Callable[[], Slabs]
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    onto: "Callable[[Geometry], Scan] | None" = None
    partial: bool = False
    found_later: Callable[[], tuple[str, ...]] = tuple

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """The voxels in the display frame, see `VoxelSource`."""
        geometry = self.geometry
        axis = geometry.display_axis(self.axis)
        size = geometry.file_shape[self.axis]
        flips = tuple(slice(None, None, -1) if f else slice(None) for f in geometry.flipped)
        for start, slab in self.stored():
            count = slab.shape[self.axis]
            first = size - start - count if geometry.flipped[axis] else start
            yield axis, first, slab.transpose(geometry.file_axes)[flips]

    def volume(self) -> Volume:
        """Everything in memory, in one array that is contiguous in the file's order."""
        shape = self.geometry.file_shape
        try:
            require_memory(prod(shape) * self.dtype.itemsize)
            voxels = np.empty(shape, self.dtype, order="F")
        except MemoryError as error:
            raise UserError(f"{shape} voxels do not fit into memory.") from error
        for start, slab in self.stored():
            window = [slice(None)] * 3
            window[self.axis] = slice(start, start + slab.shape[self.axis])
            voxels[tuple(window)] = slab
        return Volume(self.geometry.to_display(voxels), self.geometry)


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into a `UserError` that names it."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0] if str(error) else error
        raise UserError(f"{path} cannot be read as {what}: {reason}.") from error
    except MemoryError as error:
        raise UserError(f"{path} is damaged or too large: it asks for too much memory.") from error
    # A library may raise anything on damaged data; decoders written in Rust raise a
    # `PanicException`, which is not an `Exception`.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, (NotImplementedError, ImportError)):
            raise UserError(
                f"{path} stores its voxels in a way of {what} that is not supported. Save it again "
                "without compression."
            ) from error
        # What the library says is for programmers; `mlbseg --debug` shows it.
        raise UserError(
            f"{path} is not a valid {what} file: what it holds is damaged or incomplete. Copy it "
            "again."
        ) from error


def require_size(path: Path, shape: tuple[int, ...], itemsize: int, held: int) -> None:
    """Refuse sizes below 1, or more voxels than `held` stored bytes can unpack to.

    Called before memory is allocated, so that an absurd header costs nothing.
    """
    if not shape or min(shape) < 1:
        raise UserError(f"{path} has a damaged header: dimensions {times(shape)}.")
    needed = prod(shape) * itemsize
    if needed > _SMALL + held * _MOST_BYTES_PER_BYTE:
        raise UserError(
            f"{path} is truncated or its header is damaged: it announces {times(shape)} voxels "
            f"({needed:,} bytes), but stores {held:,} bytes. Copy the file again."
        )
    require_slices(path, shape, needed // min(shape))


def frame_of(
    path: Path, choice: Choice, frames: int, shape: tuple[int, ...], *, described: str = ""
) -> int:
    """The chosen frame of a file with several, which may be described; 0 if there is only one."""
    if frames == 1:
        return 0
    if choice.frame is None:
        raise FrameNeededError(
            f"{path} has {len(shape)} dimensions with {frames} frames ({times(shape)}); a study "
            f"takes one frame per file. Choose one from 0 to {frames - 1} (on the command line "
            f"with --frame){f': {described}' if described else ''}.",
            frames,
        )
    if not 0 <= choice.frame < frames:
        raise UserError(
            f"{path} has the frames 0 to {frames - 1}, but frame {choice.frame} was chosen."
        )
    return choice.frame


def frame_notes(path: Path, frame: int, frames: int) -> tuple[str, ...]:
    """What is left out of a file with several frames."""
    if frames == 1:
        return ()
    return (f"{path} holds {frames} frames; frame {frame} is taken, the others are left out.",)


def usable_geometry(path: Path, shape: tuple[int, int, int], affine: NDArray[Any]) -> Geometry:
    """A geometry, refused unless voxels have a size and three independent directions."""
    if np.isfinite(affine).all():
        norms = np.linalg.norm(affine[:3, :3], axis=0)
        if norms.min() > 0 and abs(np.linalg.det(affine[:3, :3] / norms)) > 1e-6:
            return Geometry.from_affine(shape, affine)
    raise UserError(
        f"{path} has no usable geometry: its affine is {np.asarray(affine).tolist()}. Voxels need "
        "a size and three independent directions."
    )


def finite_only(path: Path, scan: Scan) -> Scan:
    """The same image; reading it ends with a `UserError` if a voxel is not finite."""
    if scan.dtype.kind != "f":
        return scan
    largest = np.finfo(np.float32).max

    def stored() -> Slabs:
        bad = 0
        for start, slab in scan.stored():
            bad += sum(int(np.count_nonzero(~(np.abs(part) <= largest))) for part in slab)
            yield start, slab
        if bad:
            total = prod(scan.geometry.file_shape)
            raise UserError(
                f"{path} holds {bad:,} voxels that are NaN or infinite (of {total:,}). Replace "
                "them with a finite value, such as that of the background, and import again."
            )

    return replace(scan, stored=stored)


def scaled(scan: Scan, slope: float, inter: float) -> Scan:
    """The image ``slope * stored + inter`` as float32; the same scan where that changes nothing.

    Computed in float64, so that large integers keep what float32 can hold.
    """
    if (slope, inter) == (1.0, 0.0):
        return scan

    def stored() -> Slabs:
        for start, slab in scan.stored():
            out = np.empty_like(slab, dtype=np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                for source, target in zip(slab, out, strict=True):
                    target[...] = source.astype(np.float64) * slope + inter
            yield start, out

    return replace(scan, dtype=np.dtype(np.float32), stored=stored)


def whole_numbers(path: Path, scan: Scan, slope: float = 1.0, inter: float = 0.0) -> Scan:
    """Labels as uint8; reading them ends with a `UserError` if some are not integers 0 to 255.

    Numbers within 0.02 of an integer are rounded, which a later note tells.
    """
    rounded = _Rounded()

    def stored() -> Slabs:
        rounded.begin()
        bad, examples = 0, set[float]()
        for start, slab in scan.stored():
            labels, wrong = _as_labels(slab, slope, inter, rounded)
            if wrong.size:
                bad += wrong.size
                examples.update(np.unique(wrong)[:5].tolist())
            yield start, labels
        if bad:
            found = ", ".join(f"{value:.6g}" for value in sorted(examples)[:5])
            total = prod(scan.geometry.file_shape)
            raise UserError(
                f"{path} is not a label file: {bad:,} of its {total:,} voxels are not whole "
                f"numbers from 0 to 255 (for example {found})."
            )

    def later() -> tuple[str, ...]:
        return (*scan.found_later(), *rounded.notes(path))

    return replace(scan, dtype=np.dtype(np.uint8), stored=stored, found_later=later)


@dataclass
class _Rounded:
    """How many labels were rounded while a file was read, and by how much at most."""

    count: int = 0
    most: float = 0.0

    def begin(self) -> None:
        self.count, self.most = 0, 0.0

    def add(self, apart: NDArray[np.float64]) -> None:
        """Count the distances from whole numbers that are worth telling."""
        if apart.size:
            self.count += apart.size
            self.most = max(self.most, float(apart.max()))

    def notes(self, path: Path) -> tuple[str, ...]:
        if not self.count:
            return ()
        return (
            f"{path}: {self.count:,} labels were up to {self.most:.2g} off a whole number and were "
            "rounded.",
        )


def _as_labels(
    slab: NDArray[Any], slope: float, inter: float, rounded: _Rounded
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels, and the values that are not valid labels."""
    if slab.dtype == np.uint8 and (slope, inter) == (1.0, 0.0):
        return slab, np.empty(0)
    labels = np.empty_like(slab, dtype=np.uint8)
    wrong = []
    for source, target in zip(slab, labels, strict=True):
        values = source.astype(np.float64) * slope + inter
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            nearest = np.rint(values)
            apart = np.abs(values - nearest)
            off = ~((apart <= _ROUNDED) & (nearest >= 0) & (nearest <= 255))
        if off.any():
            wrong.append(values[off])
        rounded.add(apart[~off & (apart > _WHOLE)])
        target[...] = np.where(off, 0, nearest)
    return labels, np.concatenate(wrong) if wrong else np.empty(0)


def filled(labels: Scan, placed: Placed, image: Geometry) -> Scan:
    """Labels that lie in a part of an image, on its whole grid; the rest is background."""

    def stored() -> Slabs:
        whole = np.zeros(image.shape, np.uint8)
        window = tuple(
            slice(a, a + n) for a, n in zip(placed.first, placed.geometry.shape, strict=True)
        )
        part = replace(labels, geometry=placed.geometry)
        whole[window] = part.volume().voxels
        yield 0, image.to_file(whole)

    return replace(labels, geometry=image, stored=stored, axis=2, onto=None)


def slices_per_slab(slice_bytes: int) -> int:
    """How many slices of this size a slab holds."""
    return max(1, SLAB_BYTES // max(1, slice_bytes))
