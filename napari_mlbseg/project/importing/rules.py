"""What classes are said to be: how many pieces they have, and whether they have holes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass

ANY: Final = "any"
"""Any number of pieces, in words."""


@dataclass(frozen=True)
class Rules:
    """What is said of classes, by name; classes that are not named stay as they are.

    >>> atrium = LabelClass(1, "left atrium", (230, 159, 0))
    >>> [found] = Rules.parsed(pieces="left atrium=1", no_holes="left atrium").applied([atrium])
    >>> found.most_pieces, found.no_holes
    (1, True)
    """

    pieces: Mapping[str, int | None]
    no_holes: Mapping[str, bool]

    @classmethod
    def parsed(
        cls, pieces: str | None = None, no_holes: str | None = None, holes: str | None = None
    ) -> "Rules":
        """Rules from comma-separated texts.

        Parameters
        ----------
        pieces
            The most pieces of each class: ``left atrium=1, scar=any``.
        no_holes, holes
            Classes that have no holes, and classes that may have holes.
        """
        most = dict(_most(part) for part in _parts(pieces))
        none, some = dict.fromkeys(_parts(no_holes), True), dict.fromkeys(_parts(holes), False)
        both = sorted(none.keys() & some.keys())
        if both:
            raise UserError(f"{both[0]!r} cannot both have no holes and have holes. Say one.")
        return cls(most, none | some)

    def applied(self, classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
        """The classes with what is said of them; UserError if one that is named is not there."""
        known = {c.name for c in classes}
        for name in (*self.pieces, *self.no_holes):
            if name not in known:
                raise UserError(
                    f"There is no class {name!r}. The classes are: {', '.join(sorted(known))}."
                )
        return tuple(
            replace(
                c,
                most_pieces=self.pieces.get(c.name, c.most_pieces),
                no_holes=self.no_holes.get(c.name, c.no_holes),
            )
            for c in classes
        )


NO_RULES: Final = Rules({}, {})


def in_words(most_pieces: int | None, no_holes: bool) -> str:
    """What is said of a class; empty if nothing is.

    >>> in_words(2, True)
    'at most 2 pieces, no holes'
    """
    said = []
    if most_pieces is not None:
        said.append("one piece" if most_pieces == 1 else f"at most {most_pieces} pieces")
    if no_holes:
        said.append("no holes")
    return ", ".join(said)


def _parts(text: str | None) -> Iterator[str]:
    return (part.strip() for part in text.split(",")) if text is not None else iter(())


def _most(part: str) -> tuple[str, int | None]:
    name, found, number = (side.strip() for side in part.rpartition("="))
    if found and number == ANY:
        return name, None
    if not (found and number.isascii() and number.isdigit() and int(number) > 0):
        raise UserError(
            f"{part!r} does not say how many pieces a class has; write NAME=1, or NAME={ANY}."
        )
    return name, int(number)
