"""Exact percentiles and moments of images that do not fit into memory.

Numbers are mapped to unsigned integers in the same order. Counting their leading 16 bits shows the
group in which a rank lies, counting the next 16 bits within that group narrows it down, and so on:
one pass for 16-bit images, two for 32 bits, four for 64.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Parts = Callable[[], Iterator[NDArray[Any]]]
"""Starts a pass over the finite voxels, as flat arrays of one type."""

_PART: Final = 1 << 22
_DIGIT: Final = 16


def parts_of(voxels: Any, padding: tuple[float, float] | None = None) -> Parts:
    """Passes over an array (numpy or zarr) whose first axis is read in blocks.

    Voxels from the first to the second number of `padding` are left out.
    """
    per_slice = max(1, int(np.prod(voxels.shape[1:])))
    block = getattr(voxels, "chunks", (max(1, _PART // per_slice),))[0]

    def parts() -> Iterator[NDArray[Any]]:
        for start in range(0, voxels.shape[0], block):
            flat = np.asarray(voxels[start : start + block]).ravel()
            for first in range(0, flat.size, _PART):
                part = flat[first : first + _PART]
                if part.dtype.kind == "f":
                    part = part[np.isfinite(part)]
                if padding is not None:
                    part = part[(part < padding[0]) | (part > padding[1])]
                yield part

    return parts


class Distribution(Protocol):
    """Percentiles and moments of numbers that do not fit into memory."""

    count: int

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        """Linear between neighbours, as in `numpy.percentile`."""

    def clipped_moments(self, low: float, high: float) -> tuple[float, float]:
        """Mean and standard deviation of the numbers clipped to [low, high]."""


def distribution_of(voxels: Any, padding: tuple[float, float] | None = None) -> Distribution:
    """The finite voxels of an array, numpy or zarr, without its padding."""
    parts = parts_of(voxels, padding)
    small = voxels.dtype.kind in "iu" and voxels.dtype.itemsize * 8 <= _DIGIT
    return _Tally(parts, voxels.dtype) if small else _Passes(parts, voxels.dtype)


class _Tally:
    """For numbers of up to 16 bits: the count of each value, in a single pass."""

    def __init__(self, parts: Parts, dtype: np.dtype[Any]) -> None:
        bits = dtype.itemsize * 8
        counts = _counts(parts, {0}, 0, bits)[0]
        keys = np.flatnonzero(counts)
        self._counts = counts[keys]
        self._values = keys - ((1 << (bits - 1)) if dtype.kind == "i" else 0)
        self._below = np.cumsum(self._counts)
        self.count = int(self._counts.sum())

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        return _percentiles(self.count, percents, self._order_statistics)

    def clipped_moments(self, low: float, high: float) -> tuple[float, float]:
        clipped = np.clip(self._values.astype(np.float64), low, high) - low
        mean = float(clipped @ self._counts) / self.count
        variance = float(np.square(clipped - mean) @ self._counts) / self.count
        return low + mean, float(np.sqrt(variance))

    def _order_statistics(self, ranks: Sequence[int]) -> list[float]:
        return [float(v) for v in self._values[np.searchsorted(self._below, ranks, side="right")]]


class _Passes:
    """For larger numbers: one pass for each 16 bits, and one for the moments."""

    def __init__(self, parts: Parts, dtype: np.dtype[Any]) -> None:
        self._parts = parts
        self._dtype = dtype
        self.count = sum(part.size for part in parts())

    def percentiles(self, percents: Sequence[float]) -> list[float]:
        def order_statistics(ranks: Sequence[int]) -> list[float]:
            return _order_statistics(self._parts, ranks, self._dtype)

        return _percentiles(self.count, percents, order_statistics)

    def clipped_moments(self, low: float, high: float) -> tuple[float, float]:
        total = squares = 0.0
        for part in self._parts():
            shifted = np.clip(part.astype(np.float64), low, high) - low
            total += float(shifted.sum())
            squares += float(np.square(shifted).sum())
        mean = total / self.count
        return low + mean, float(np.sqrt(max(0.0, squares / self.count - mean**2)))


def _percentiles(
    count: int, percents: Sequence[float], order_statistics: Callable[[list[int]], list[float]]
) -> list[float]:
    places = [(count - 1) * (percent / 100) for percent in percents]
    ranks = [rank for place in places for rank in (int(place), min(int(place) + 1, count - 1))]
    values = order_statistics(ranks)
    return [
        _between(low, high, place - int(place))
        for place, low, high in zip(places, values[::2], values[1::2], strict=True)
    ]


def _between(low: float, high: float, share: float) -> float:
    # From the nearer end, as numpy does, so that rounding agrees to the last bit.
    if share >= 0.5:
        return high - (high - low) * (1 - share)
    return low + (high - low) * share


def _order_statistics(parts: Parts, ranks: Sequence[int], dtype: np.dtype[Any]) -> list[float]:
    """The numbers at these positions of the sorted sequence."""
    width = dtype.itemsize * 8
    prefixes, left = [0] * len(ranks), list(ranks)
    for shift in range(max(0, width - _DIGIT), -1, -_DIGIT):
        counts = _counts(parts, set(prefixes), shift, min(_DIGIT, width))
        for k, prefix in enumerate(prefixes):
            below = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(below, left[k], side="right"))
            left[k] -= int(below[digit - 1]) if digit else 0
            prefixes[k] = (prefix << _DIGIT) | digit
    return [float(_number(prefix, dtype)) for prefix in prefixes]


def _counts(parts: Parts, prefixes: set[int], shift: int, bits: int) -> dict[int, NDArray[Any]]:
    """The count of each digit at `shift` among the keys that start with each prefix."""
    counts = {prefix: np.zeros(1 << bits, np.int64) for prefix in prefixes}
    for part in parts():
        keys = _keys(part)
        digits = (keys >> keys.dtype.type(shift)) & keys.dtype.type((1 << bits) - 1)
        if shift + bits >= keys.dtype.itemsize * 8:
            counts[0] += np.bincount(digits.astype(np.uint16), minlength=1 << bits)
            continue
        above = keys >> keys.dtype.type(shift + bits)
        for prefix in prefixes:
            chosen = digits[above == keys.dtype.type(prefix)]
            counts[prefix] += np.bincount(chosen.astype(np.uint16), minlength=1 << bits)
    return counts


def _keys(part: NDArray[Any]) -> NDArray[Any]:
    """Unsigned integers in the same order as the numbers."""
    kind = np.dtype(f"u{part.dtype.itemsize}").type
    bits: NDArray[Any] = part.view(kind)
    sign = kind(1 << (part.dtype.itemsize * 8 - 1))
    if part.dtype.kind == "u":
        return bits
    if part.dtype.kind == "i":
        return np.asarray(bits ^ sign)
    return np.where(bits & sign, ~bits, bits | sign)


def _number(key: int, dtype: np.dtype[Any]) -> Any:
    kind = np.dtype(f"u{dtype.itemsize}").type
    sign = 1 << (dtype.itemsize * 8 - 1)
    if dtype.kind == "i":
        key ^= sign
    elif dtype.kind == "f":
        key = key ^ sign if key & sign else ~key & (2 * sign - 1)
    return np.array([key], kind).view(dtype)[0]
