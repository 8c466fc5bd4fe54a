"""The file in which ITK-SNAP keeps what labels are called, and their colours."""

from collections.abc import Sequence
from typing import Final

from napari_mlbseg.project.exporting.chosen import NO_LABEL
from napari_mlbseg.project.records.cases import LabelClass

DESCRIPTION_NAME: Final = "itk-snap-labels.txt"
_HEAD: Final = "# ITK-SnAP Label Description File\n# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n"


def itk_snap_name(name: str) -> str:
    """A name as the file can hold it: the quotation mark ends one.

    >>> itk_snap_name('the "wall"')
    "the 'wall'"
    """
    return name.replace('"', "'")


def description(classes: Sequence[LabelClass], *, partial: bool) -> str:
    """The text of the file: a line for each class; `partial` labels may be `NO_LABEL`, too."""
    lines = [_line(0, (0, 0, 0), "Clear Label", shown=False)]
    lines += [_line(c.value, c.color, c.name, shown=True) for c in classes]
    if partial:
        lines.append(_line(NO_LABEL, (128, 128, 128), "no label", shown=False))
    return _HEAD + "".join(lines)


def _line(value: int, color: tuple[int, int, int], name: str, *, shown: bool) -> str:
    numbers = " ".join(f"{part:5d}" for part in (value, *color))
    return f'{numbers} {int(shown):5d} {int(shown)} {int(shown)}    "{itk_snap_name(name)}"\n'
