"""The clean slices of a run: which teach, and which are held back for an honest Dice."""

from collections.abc import Mapping, Sequence

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

FEWEST_FOR_HOLDING_BACK = 6


def split_held_back(
    shown: Mapping[SliceKey, frozenset[int]], previously: frozenset[SliceKey], *, share: float
) -> frozenset[SliceKey]:
    """The clean slices to hold back.

    A slice keeps its role for as long as it is clean, so that the model never saw what it is
    scored on. Newly accepted slices are held back, spread over the order of acceptance, until
    `share` of all is; never one of the last two slices that teach a class.

    Parameters
    ----------
    shown
        The classes that each clean slice shows, in order of acceptance.
    previously
        The slices that were held back so far.
    """
    if len(shown) < FEWEST_FOR_HOLDING_BACK:
        return frozenset()
    held = set(previously & set(shown))
    fresh = [key for key in shown if key not in previously]
    wanted = max(0, min(round(share * len(shown)) - len(held), len(fresh)))
    for i in range(wanted):
        candidate = fresh[(2 * i + 1) * len(fresh) // (2 * wanted)]
        others = [classes for key, classes in shown.items() if key not in held | {candidate}]
        if all(sum(c in classes for classes in others) >= 2 for c in shown[candidate]):
            held.add(candidate)
    return frozenset(held)


def check_enough(study: Study) -> None:
    """Raise a `UserError` that says what is missing before a network can learn."""
    if not study.cases:
        raise UserError("The study has no case yet: import images first.")
    if not study.classes:
        raise UserError(
            "The study has no class yet: name the structures to segment, with "
            "--classes when the study is made or with 'Classes…' in the window."
        )
    records = study.slice_records(state=SliceState.CLEAN)
    if not records:
        raise UserError(
            "No slice has been accepted yet: correct at least one slice and accept it, so that "
            "there is something to learn from."
        )
    seen = {
        int(v) for record in records for v in set(study.slice_mask(record.key).ravel().tolist())
    }
    absent = [c.name for c in study.classes if c.value not in seen]
    if absent:
        raise UserError(
            f"No accepted slice shows {_listed(absent)}: accept at least one slice with it, or "
            "remove the class."
        )


def _listed(names: Sequence[str]) -> str:
    return " or ".join(repr(n) for n in names)
