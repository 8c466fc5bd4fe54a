"""What an import says about files: each with a sentence, and names in short."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAMES_SHOWN: Final = 5


@dataclass(frozen=True)
class Failure:
    """A file that was not imported, and the reason in a sentence that names it."""

    path: Path
    reason: str


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "file"), counted(3, "file")
    ('1 file', '3 files')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(names: Iterable[str]) -> str:
    """Up to five names, and how many more there are.

    >>> shortened("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    return ", ".join(listed[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
