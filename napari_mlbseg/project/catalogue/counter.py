"""How many changes a catalogue has had, in a file of its own beside it.

The newest changes lie in SQLite's log, another file, which a copy or a clean-up may leave behind.
SQLite does not notice that; a number that the catalogue should have reached does.
"""

import os
from pathlib import Path
from typing import Final

COUNTER_NAME: Final = "changes.count"


def read_count(folder: Path) -> int:
    """The number of changes that the catalogue in a folder must hold; 0 where it is not known."""
    try:
        first, second = (folder / COUNTER_NAME).read_bytes()[:100].split()
        return int(first) if first == second else 0  # it was damaged or cut off
    except (OSError, ValueError):
        return 0


def write_count(folder: Path, count: int) -> None:
    """Keep the number; it is not waited for: one that is too small after a power cut says less."""
    content = f"{count:019} {count:019}\n".encode()
    descriptor = os.open(folder / COUNTER_NAME, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, content)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
