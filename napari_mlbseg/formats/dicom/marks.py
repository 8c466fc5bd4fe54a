"""How files that this software wrote say which class a segment is, and its whole name."""

import re
from typing import Final

CLASS_MARK: Final = "mlbseg class "
_MARKED: Final = re.compile(rf"{CLASS_MARK}(\d{{1,3}})(?:: (.*))?", re.DOTALL)


def marked_class(text: str) -> tuple[int, str] | None:
    """The class value and the name in a mark, empty if it is that of the segment; None if no mark.

    >>> marked_class("mlbseg class 7: a long name"), marked_class("mlbseg class 7")
    ((7, 'a long name'), (7, ''))
    """
    found = _MARKED.fullmatch(text.strip())
    return None if found is None else (int(found[1]), found[2] or "")
