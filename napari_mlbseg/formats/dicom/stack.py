"""Puts slices in order: one stack of equal, evenly spaced slices, or an error that says why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.phases import levels_of, phases_of
from napari_mlbseg.formats.dicom.planes import Header, Plane, planes_of
from napari_mlbseg.formats.scan import frame_notes, frame_of
from napari_mlbseg.formats.source import Choice

_SAME_DIRECTION: Final = 1e-3
UNEVEN_SHARE: Final = 0.05
"""Scanners round positions to 0.1 mm; an offset above this share of the spacing is real."""
_WORTH_A_NOTE: Final = 1e-3
_TILT_DEGREES: Final = 0.05


@dataclass(frozen=True)
class Series:
    """Slices of one series, size and orientation.

    Attributes
    ----------
    name
        ``series_N`` with the series number, unique in its folder; says nothing about the patient.
    """

    name: str
    modality: str
    headers: tuple[Header, ...]
    planes: tuple[Plane, ...]

    def __str__(self) -> str:
        first = self.planes[0]
        spacing = " x ".join(f"{mm:.3g}" for mm in (*first.spacing[::-1], first.thickness) if mm)
        return (
            f"{self.name} ({self.modality or 'unknown modality'}, {len(self.planes)} slices of "
            f"{first.columns} x {first.rows}, {spacing} mm"
            + (f", {self.headers[0].description}" if self.headers[0].description else "")
            + ")"
        )


@dataclass(frozen=True)
class Stack:
    """Slices from the first to the last along their normal, and their affine (RAS, mm)."""

    planes: tuple[Plane, ...]
    affine: NDArray[np.float64]
    notes: tuple[str, ...]
    frame: int | None


@dataclass(frozen=True)
class Sorted:
    """The series in a set of files, and the files that are none of their slices.

    Attributes
    ----------
    strangers
        Reports, screenshots and the like beside the series, each with what it is.
    """

    series: list[Series]
    strangers: tuple[tuple[Header, str], ...] = ()


def series_of(headers: Sequence[Header]) -> list[Series]:
    """The series in a set of files, in order of their numbers; see `sorted_into_series`."""
    return sorted_into_series(headers).series


def sorted_into_series(headers: Sequence[Header]) -> Sorted:
    """The series in a set of files, in order of their numbers.

    Slices of another size or orientation, such as localizers, form a series of their own. Files
    without a place in the patient are strangers if no other file of their series has one.

    Raises
    ------
    UserError
        If a slice of a series lacks its place, or if no file has one.
    """
    groups: list[tuple[list[Header], list[Plane]]] = []
    strangers: list[tuple[Header, str]] = []
    failed: list[tuple[Header, UserError]] = []
    for header in headers:
        if not header.is_image:
            strangers.append((header, header.kind))
            continue
        try:
            planes = planes_of(header)
        except UserError as error:
            failed.append((header, error))
            continue
        for plane in planes:
            group = next((g for g in groups if _belongs(header, plane, g[0][0], g[1][0])), None)
            if group is None:
                group = ([], [])
                groups.append(group)
            if not group[0] or group[0][-1] is not header:
                group[0].append(header)
            group[1].append(plane)
    for header, problem in failed:
        if not groups or any(_same_series(header, found[0]) for found, _ in groups):
            raise problem
        strangers.append((header, "an image without a place in the patient"))
    return Sorted(_named(groups), tuple(strangers))


def _same_series(one: Header, other: Header) -> bool:
    return (one.series, one.sop_class) == (other.series, other.sop_class)


def _named(groups: Sequence[tuple[list[Header], list[Plane]]]) -> list[Series]:
    numbers = [_series_number(found[0]) for found, _ in groups]
    ordered = sorted(range(len(groups)), key=lambda k: (numbers[k], k))
    names: list[str] = []
    for place, k in enumerate(ordered):
        name = f"series_{numbers[k] if numbers[k] >= 0 else place + 1}"
        again = sum(other == name or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{again + 1}" if again else name)
    return [
        Series(name, found[0].modality, tuple(found), tuple(planes))
        for name, (found, planes) in zip(names, (groups[k] for k in ordered), strict=True)
    ]


def stack_of(path: Path, series: Series, choice: Choice) -> Stack:
    """The slices of a series in order.

    Raises
    ------
    UserError
        If slices are missing or unevenly spaced, or share a position without forming frames.
    """
    planes, notes = _without_copies(series.planes)
    phases = phases_of(planes)
    frame, number = None, 0
    if len(phases.whole) > 1:
        described = "; ".join(f"{k}: {name}" for k, (name, _) in enumerate(phases.whole))
        size = planes[0].columns, planes[0].rows, len(phases.whole[0][1]), len(phases.whole)
        frame = number = frame_of(path, choice, len(phases.whole), size, described=described)
        notes += frame_notes(path, frame, len(phases.whole))
    elif not phases.whole:
        double = next(level for level in levels_of(planes) if len(level) > 1)
        raise UserError(
            f"{path} has several different slices at one position: {double[0].path.name} and "
            f"{double[1].path.name}, but single slices elsewhere. Remove those that do not "
            "belong to the series."
        )
    if phases.partial:
        left = ", ".join(f"{name} ({len(found)} slices)" for name, found in phases.partial)
        notes.append(f"{path}: phases that lack slices are left out: {left}.")
    chosen = phases.whole[number][1]
    step, more = _step(path, chosen)
    return Stack(tuple(chosen), chosen[0].affine(step), (*notes, *more), frame)


def _step(path: Path, planes: Sequence[Plane]) -> tuple[NDArray[Any], list[str]]:
    """The step from one slice to the next in LPS mm, and notes about it."""
    first = planes[0]
    if len(planes) == 1:
        return first.normal * (first.thickness if first.thickness > 0 else 1.0), (
            []
            if first.thickness > 0
            else [f"{path} is one slice of unknown thickness; 1 mm is assumed."]
        )
    positions = np.array([plane.position for plane in planes])
    depths = positions @ first.normal
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    _require_complete(path, planes, gaps, usual)
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    off = np.abs(positions - positions[0] - np.arange(len(planes))[:, None] * step).max()
    if off > UNEVEN_SHARE * usual:
        raise UserError(
            f"{path} has unevenly spaced slices: distances run from {gaps.min():.4g} to "
            f"{gaps.max():.4g} mm, and slices lie up to {off:.4g} mm off an even grid. Resample "
            "the series to an even spacing first."
        )
    notes = []
    if off > _WORTH_A_NOTE * usual:
        notes.append(f"{path}: slices lie up to {off:.3g} mm off an even grid, as if rounded.")
    cosine = min(1.0, abs(float(step @ first.normal)) / float(np.linalg.norm(step)))
    tilt = float(np.degrees(np.arccos(cosine)))
    if tilt > _TILT_DEGREES:
        notes.append(
            f"{path} was taken with the gantry tilted by {tilt:.1f} degrees: each slice is shifted "
            "against the previous one. Voxels and affine are kept as they are."
        )
    return step, notes


def _require_complete(
    path: Path, planes: Sequence[Plane], gaps: NDArray[Any], usual: float
) -> None:
    wide = np.flatnonzero(gaps > 1.5 * usual)
    if not wide.size:
        return
    missing = int(np.rint(gaps[wide] / usual - 1).sum())
    where = int(wide[0])
    raise UserError(
        f"{path} lacks about {missing} of its slices: between {planes[where].path.name} and "
        f"{planes[where + 1].path.name} there are {gaps[where]:.4g} mm instead of {usual:.4g}. "
        "Copy the whole series."
    )


def _without_copies(planes: Sequence[Plane]) -> tuple[list[Plane], list[str]]:
    """The slices without duplicates of the same file, and notes about duplicates."""
    seen: dict[tuple[Any, ...], Plane] = {}
    for plane in planes:
        key = (plane.instance, plane.frame) if plane.instance else (plane.path, plane.frame)
        seen.setdefault((*key, plane.position), plane)
    copies = len(planes) - len(seen)
    notes = [f"{planes[0].path.parent}: {copies} slices occur twice; one of each is used."]
    return list(seen.values()), notes if copies else []


def _belongs(header: Header, plane: Plane, other: Header, theirs: Plane) -> bool:
    return (
        header.series == other.series
        and header.sop_class == other.sop_class
        and (plane.rows, plane.columns) == (theirs.rows, theirs.columns)
        and bool(np.allclose(plane.orientation, theirs.orientation, rtol=0, atol=_SAME_DIRECTION))
        and bool(np.allclose(plane.spacing, theirs.spacing, rtol=1e-5, atol=0))
    )


def _series_number(header: Header) -> int:
    try:
        return int(header.dataset.get("SeriesNumber"))
    except (TypeError, ValueError, NotImplementedError):
        return -1
