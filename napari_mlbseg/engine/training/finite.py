"""Checks for NaN and infinity: non-finite numbers are neither published nor saved."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


class UnstableError(Exception):
    """The training produced NaN or infinity; the message names where it was noticed."""


def is_finite(values: Any) -> bool:
    """Whether all tensors in a tree of mappings and lists are free of NaN and infinity."""
    if isinstance(values, Tensor):
        return not values.is_floating_point() or bool(values.isfinite().all())
    if isinstance(values, Mapping):
        return all(is_finite(value) for value in values.values())
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        return all(is_finite(value) for value in values)
    return True


def require_finite(values: Any, what: str) -> None:
    """Raise `UnstableError`, naming `what`, if `values` hold NaN or infinity."""
    if not is_finite(values):
        raise UnstableError(what)
