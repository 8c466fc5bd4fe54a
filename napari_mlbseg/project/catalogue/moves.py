"""Classes whose pixels count as those of another class, or as background, in earlier masks.

Masks are never overwritten. A move says what the values in all masks up to a number stand for, so
a later class may take the value of one that is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.schema import WITH_AMENDMENTS
from napari_mlbseg.project.records.cases import MAX_CLASS

_ROWS: Final = f"SELECT {hashes.MOVE}, sha256 FROM moves ORDER BY number"
_VALUES: Final = 256


@dataclass(frozen=True)
class Move:
    """Pixels of the class `value` count as `becomes` in all masks up to the number `masks`."""

    value: int
    becomes: int
    masks: int


class Moves:
    """The moves of a study, the oldest first; only a writer can add some, so it reads them once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Sequence[Move] | None = None

    def lookup(self, mask: int) -> NDArray[np.uint8] | None:
        """What each value (0 to 255) in a mask stands for now; None where it is as it was saved.

        Raises Damaged if a move is not as it was saved.
        """
        moves = [move for move in self._all() if move.masks >= mask]
        if not moves:
            return None
        table = np.arange(_VALUES, dtype=np.uint8)
        for move in moves:
            table[table == move.value] = move.becomes
        return table

    def forget(self) -> None:
        """Read the moves again: some were added."""
        self._known = None

    def _all(self) -> Sequence[Move]:
        known = self._known
        if known is None or not self._database.writable:
            self._known = known = self._read()
        return known

    def _read(self) -> Sequence[Move]:
        if self._database.version < WITH_AMENDMENTS:
            return ()
        found = []
        for *row, sha256 in self._database.rows(_ROWS):
            with readable("which classes were merged"):
                hashes.require_sound(tuple(row), sha256)
                move = Move(*map(int, row[:3]))
                if not (1 <= move.value <= MAX_CLASS and 0 <= move.becomes <= MAX_CLASS):
                    raise ValueError(f"class {move.value} that becomes {move.becomes}")
                found.append(move)
        return found


def table_of(moves: Mapping[int, int]) -> NDArray[np.uint8]:
    """The values 0 to 255 after classes became others, all at once.

    >>> table_of({1: 2, 5: 0})[[0, 1, 2, 5]].tolist()
    [0, 2, 2, 0]
    """
    table = np.arange(_VALUES, dtype=np.uint8)
    for value, becomes in moves.items():
        table[value] = becomes
    return table


def add(write: Transaction, moves: Mapping[int, int]) -> None:
    """Let classes count as others in all masks that there are."""
    [(masks,)] = write.rows("SELECT coalesce(max(number), 0) FROM masks")
    for value, becomes in moves.items():
        row = (value, becomes, masks, write.author, write.at)
        number = hashes.insert(write.connection, "moves", hashes.MOVE, row)
        write.note("move class", move=number, value=value, becomes=becomes, masks=masks)
