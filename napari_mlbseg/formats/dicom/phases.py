"""Slices that share their positions: time points, echoes or b-values of one series."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from napari_mlbseg.formats.dicom.planes import PHASES, Plane

_SAME_DEPTH_MM: Final = 1e-3


@dataclass(frozen=True)
class Phases:
    """The phases of a series, each with a name and its slices along their normal.

    Attributes
    ----------
    whole, partial
        Those with a slice at each position, and the others. Both are empty if the slices cannot
        be told apart.
    """

    whole: tuple[tuple[str, list[Plane]], ...]
    partial: tuple[tuple[str, list[Plane]], ...] = ()


def phases_of(planes: Sequence[Plane]) -> Phases:
    """The phases of a series, told apart by whatever its headers say about them.

    One element, or two together, must give every phase at most one slice at each position, and
    at least one phase a slice at all of them: slices of different phases are never mixed. Where
    no element does, equally many slices at each position are counted in the order of the series.
    """
    levels = levels_of(planes)
    if all(len(level) == 1 for level in levels):
        return Phases((("", [level[0] for level in levels]),))
    level_of = {id(plane): k for k, level in enumerate(levels) for plane in level}
    names = [name for name in PHASES if all(name in plane.phase for plane in planes)]
    best: Phases | None = None
    for keys in (*combinations(names, 1), *combinations(names, 2)):
        found = _told_apart(planes, keys, level_of, len(levels))
        if found is not None and not found.partial:
            return found
        best = best or found
    counts = {len(level) for level in levels}
    if best is None and len(counts) == 1:
        return Phases(
            tuple(
                (f"number {k} in the order of the series", [level[k] for level in levels])
                for k in range(counts.pop())
            )
        )
    return best or Phases(())


def _told_apart(
    planes: Sequence[Plane], keys: Sequence[str], level_of: dict[int, int], count: int
) -> Phases | None:
    """The phases by these elements; None if they mix slices or make no phase whole."""
    groups: dict[tuple[float, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        groups[tuple(plane.phase[key] for key in keys)].append(plane)
    named = []
    for values in sorted(groups):
        group = sorted(groups[values], key=lambda plane: level_of[id(plane)])
        if len({level_of[id(plane)] for plane in group}) < len(group):
            return None
        words = (f"{PHASES[key]} {value:.10g}" for key, value in zip(keys, values, strict=True))
        named.append((", ".join(words), group))
    whole = tuple(one for one in named if len(one[1]) == count)
    partial = tuple(one for one in named if len(one[1]) < count)
    return Phases(whole, partial) if whole else None


def levels_of(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Slices grouped by position along the normal, sorted within each position."""
    normal = planes[0].normal
    depths = np.array([normal @ np.asarray(plane.position) for plane in planes])
    levels: list[list[Plane]] = []
    last = -np.inf
    for k in np.argsort(depths, kind="stable"):
        if depths[k] - last > _SAME_DEPTH_MM:
            levels.append([])
            last = depths[k]
        levels[-1].append(planes[k])
    return [sorted(level, key=lambda plane: plane.order) for level in levels]
