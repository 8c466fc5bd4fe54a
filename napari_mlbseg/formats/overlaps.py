"""Masks put on top of each other, one value for each, and what is lost by that."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Overlaps:
    """Counts voxels that belong to several masks: of two values the larger one stays.

    Attributes
    ----------
    lost
        How many voxels of the first value went to the second.
    """

    lost: Counter[tuple[int, int]] = field(default_factory=Counter)

    def put(self, labels: NDArray[np.uint8], inside: NDArray[Any], value: int) -> None:
        """Give the voxels `inside` a mask to its value, in place, where no larger one stands."""
        there = np.bincount(labels[inside], minlength=256)
        for other in np.flatnonzero(there).tolist():
            if other not in (0, value):
                self.lost[min(other, value), max(other, value)] += int(there[other])
        np.maximum(labels, np.uint8(value), out=labels, where=inside)

    def begin(self) -> None:
        """Forget what was counted: the masks are read again."""
        self.lost.clear()

    def notes(self, path: Path, names: Mapping[int, str]) -> tuple[str, ...]:
        """A sentence for each two values that overlap."""
        return tuple(
            f"{path}: {count:,} voxels belong both to {_named(low, names)} and to "
            f"{_named(high, names)}; a voxel has one class, so they become {_named(high, names)}."
            for (low, high), count in sorted(self.lost.items())
        )


def empty_notes(path: Path, names: Mapping[int, str], found: set[int]) -> tuple[str, ...]:
    """A sentence about named values of which no voxel was found."""
    empty = [_named(value, names) for value in sorted(names) if value not in found]
    if not empty:
        return ()
    return (f"{path} holds no voxel of {', '.join(empty)}.",)


def _named(value: int, names: Mapping[int, str]) -> str:
    return repr(names[value]) if value in names else f"label {value}"
