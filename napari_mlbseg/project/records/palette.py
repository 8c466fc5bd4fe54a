"""Default colours for classes."""

from typing import Final

_OKABE_ITO: Final = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Distinguishable with any kind of colour blindness (Okabe and Ito, 2008)."""

_STEP: Final = 0.045


def color_of(value: int) -> tuple[int, int, int]:
    """The colour of a class value, from 1: seven hues, then lighter and darker ones in turn.

    >>> color_of(1), color_of(8)
    ((230, 159, 0), (231, 163, 11))
    """
    round_number, place = divmod(value - 1, len(_OKABE_ITO))
    towards = 255 if round_number % 2 else 0
    share = _STEP * ((round_number + 1) // 2)
    red, green, blue = (round(c + (towards - c) * share) for c in _OKABE_ITO[place])
    return red, green, blue
