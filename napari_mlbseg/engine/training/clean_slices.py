"""The clean slices of a run: training slices, and validation slices for an unbiased Dice."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import has_imported_labels
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

FEWEST_FOR_VALIDATION = 6
"""Clean slices from which on some can be validation slices."""
FEWEST_VALIDATION = 3
"""Validation slices that tell two models apart, or a model and the imported labels.

With two of them, Student's test at 5 % asks for a mean difference of 6.3 standard errors, and both
may be small, empty, or have a right label by chance. They are worth more as training slices.
"""


def choose_validation(
    shown: Mapping[SliceKey, frozenset[int]],
    previously: frozenset[SliceKey],
    trained_on: frozenset[SliceKey],
    *,
    share: float,
) -> frozenset[SliceKey]:
    """Choose the validation slices among the clean slices.

    They are a `share` of all clean slices, and the roles rotate. Of the new slices, twice that
    share become validation slices until there are enough, spread over the order of acceptance;
    the oldest validation slices then become training slices. So in the end every slice but the
    last few is a training slice, and no training slice ever becomes a validation slice. The last
    two training slices that show a class never become validation slices. There are no validation
    slices at all until the share asks for `FEWEST_VALIDATION`.

    Parameters
    ----------
    shown
        The classes that each clean slice shows, in order of acceptance.
    previously
        The validation slices so far.
    trained_on
        The slices that the network has learnt from.
    """
    wanted = round(share * len(shown))
    if len(shown) < FEWEST_FOR_VALIDATION or wanted < FEWEST_VALIDATION:
        return frozenset()
    held = [key for key in shown if key in previously]
    fresh = [key for key in shown if key not in previously and key not in trained_on]
    turn = round(2 * share * len(shown)) - round(2 * share * (len(shown) - len(fresh)))
    new = min(len(fresh), wanted, max(wanted - len(held), turn))
    # How many slices show each class: of all, and of the validation slices that stay if one joins.
    showing = Counter(chain.from_iterable(shown.values()))
    staying = held[max(0, len(held) + 1 - wanted) :]
    beside = Counter(chain.from_iterable(shown[key] for key in staying))
    for i in range(new):
        candidate = fresh[(2 * i + 1) * len(fresh) // (2 * new)]
        if all(showing[c] - beside[c] - 1 >= 2 for c in shown[candidate]):
            held.append(candidate)
            beside.update(shown[candidate])
            if len(held) >= wanted:
                beside.subtract(shown[held[len(held) - wanted]])
    return frozenset(held[max(0, len(held) - wanted) :])


def check_enough(study: Study, *, has_model: bool) -> None:
    """Raise a `UserError` if something is missing that a network needs to learn.

    With a model to begin with (`has_model`) no slice needs to be clean yet.
    """
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    if not study.classes:
        raise UserError(
            "The study has no classes yet. Name the structures to segment, with "
            "--classes when the study is made or with 'Classes…' in the window."
        )
    if has_model:
        return
    records = study.slices.teaching()
    if not records and study.slices.clean():
        raise UserError(
            "Only approved slices teach in this study, and none is approved yet. Have somebody "
            "else review the accepted slices (mlbseg gui STUDY --review)."
        )
    if not records:
        raise UserError(
            "No slice has been accepted yet. Correct and accept at least one slice, so that "
            "there is something to learn from."
        )
    if has_imported_labels(study.cases):
        return
    absent = {c.value: c.name for c in study.classes}
    for record in records:
        if not absent:
            return
        for value in study.slices.values(record.revision):
            absent.pop(value, None)
    if absent:
        raise UserError(
            f"No accepted slice shows {_listed(list(absent.values()))}. Accept at least one slice "
            "that does, or remove the class."
        )


def _listed(names: Sequence[str]) -> str:
    return " or ".join(repr(n) for n in names)
