"""The class that a command means."""

from collections.abc import Sequence

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass


def class_meant(classes: Sequence[LabelClass], selected: int, wanted: str) -> LabelClass:
    """Return the class to paint with, by its value, or the only class of the study.

    Raises UserError if there is none; `wanted` completes "Choose the class ...".
    """
    found = classes if len(classes) == 1 else [c for c in classes if c.value == selected]
    if len(found) == 1:
        return found[0]
    if not classes:
        raise UserError("The study has no classes yet. Add one with Classes… first.")
    raise UserError(
        f"Choose the class {wanted} in the list “Paint with” first: the background is no class."
    )
