"""What was done to the labels of a case, in numbers and in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from napari_mlbseg.project.records.cases import LabelClass


@dataclass(frozen=True)
class Pieces:
    """What became of the pieces of a class.

    Attributes
    ----------
    found, kept, removed
        How many pieces there were, of how many something is left, and from how many voxels went.
    removed_voxels, removed_mm3
        What went.
    on_drafts
        Voxels of removed pieces that stay, because a person edited their slices.
    """

    found: int
    kept: int
    removed: int
    removed_voxels: int
    removed_mm3: float
    on_drafts: int


@dataclass(frozen=True)
class Holes:
    """What became of the holes of a class.

    Attributes
    ----------
    filled, kept
        How many holes were filled, and how many stay because a clean slice shows them.
    filled_voxels, filled_mm3
        What was filled.
    on_drafts
        Voxels of filled holes that stay, because a person edited their slices.
    """

    filled: int
    kept: int
    filled_voxels: int
    filled_mm3: float
    on_drafts: int


@dataclass(frozen=True)
class ClassTidied:
    """What was done to a class of a case; None for what the class does not ask for."""

    label: LabelClass
    pieces: Pieces | None
    holes: Holes | None

    @property
    def too_many(self) -> bool:
        """Whether more pieces are left than the class has: clean slices or drafts show them."""
        most, pieces = self.label.most_pieces, self.pieces
        return most is not None and pieces is not None and pieces.kept > most


@dataclass(frozen=True)
class Tidied:
    """What was done to the labels of a case.

    Attributes
    ----------
    classes
        What was done to each class that asks for something.
    slices
        The slices that changed, along the axis of the case.
    """

    classes: tuple[ClassTidied, ...]
    slices: tuple[int, ...]


def summary(told: Mapping[str, Tidied]) -> list[str]:
    """One sentence for each case and class of which something was changed or could not be.

    >>> atrium = LabelClass(1, "left atrium", (230, 159, 0), most_pieces=1)
    >>> pieces = Pieces(3, 1, 2, removed_voxels=1200, removed_mm3=937.5, on_drafts=0)
    >>> summary({"case_01": Tidied((ClassTidied(atrium, pieces, None),), slices=(3, 4))})
    ['case_01, left atrium: 2 of 3 pieces removed (1,200 voxels, 938 mm³).']
    """
    lines = ((case, one, _in_words(one)) for case, done in told.items() for one in done.classes)
    return [f"{case}, {one.label.name}: {words}." for case, one, words in lines if words]


def _in_words(one: ClassTidied) -> str:
    found = []
    pieces, holes = one.pieces, one.holes
    if pieces is not None and pieces.removed:
        amount = _amount(pieces.removed_voxels, pieces.removed_mm3)
        found.append(f"{pieces.removed} of {pieces.found} pieces removed ({amount})")
    if holes is not None and holes.filled:
        amount = _amount(holes.filled_voxels, holes.filled_mm3)
        found.append(f"{_count(holes.filled, 'hole')} filled ({amount})")
    if pieces is not None and one.too_many:
        found.append(f"{pieces.kept} pieces stay, because a person's slices show them")
    if holes is not None and holes.kept:
        found.append(f"{_count(holes.kept, 'hole')} kept, because of what clean slices show")
    return "; ".join(found)


def _amount(voxels: int, mm3: float) -> str:
    return f"{_count(voxels, 'voxel')}, {mm3:,.0f} mm³"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
