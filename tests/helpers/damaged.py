"""What reading a damaged file must come to: a sentence that names it, before anything large."""

from collections.abc import Callable
from pathlib import Path

import pytest
from effort import counted

from napari_mlbseg.errors import UserError

MOST_CALLS = 100_000
MOST_BYTES = 1 << 24


def refused_at_once(read: Callable[[Path], object], path: Path, says: str = ".") -> str:
    """The sentence; nothing that the file announces was set up, and nothing gone through."""
    for _ in range(2):  # the first time libraries are loaded
        with counted() as effort, pytest.raises(UserError, match=says) as caught:
            read(path)
    assert str(path) in str(caught.value)
    assert effort.calls < MOST_CALLS
    assert effort.peak_bytes < MOST_BYTES
    return str(caught.value)
