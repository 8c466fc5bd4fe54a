"""What a ``dataset.json`` beside files says of them, as nnU-Net and the Decathlon write it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_DATASET: Final = "dataset.json"
_LARGEST: Final = 1 << 24
_UP: Final = 2
"""How many folders above the files a description of the data set may lie."""


def folders_above(folder: Path) -> list[Path]:
    """The folders in which a description of the files in a folder may lie."""
    return [folder, *list(folder.parents)[:_UP]]


def descriptions(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The descriptions in a folder and above it, the nearest first."""
    for one in folders_above(folder):
        try:
            found = json.loads(text_of(one / _DATASET) or "{}")
        except (ValueError, RecursionError):
            continue
        if isinstance(found, Mapping):
            yield found


def text_of(path: Path) -> str:
    """The text of a small file; empty where there is none."""
    try:
        if path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
