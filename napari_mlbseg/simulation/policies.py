"""Which slices the simulated annotator corrects next."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from napari_mlbseg.engine.predictions.suggestions import evenly_spread_slices, slices_to_correct
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import cohort_slices


class Policy(StrEnum):
    """How slices are chosen; SUGGESTED starts with the slices of EVEN."""

    EVEN = "even"
    RANDOM = "random"
    SUGGESTED = "suggested"


def proposals(
    policy: Policy,
    cases: Sequence[Case],
    *,
    clean: Sequence[SliceKey],
    count: int,
    seed: int,
    trained: Study | None,
) -> list[SliceKey]:
    """Slices that are not clean yet, in the order in which to correct them.

    Parameters
    ----------
    count
        How many are needed; `SUGGESTED` makes one batch of this size.
    trained
        The study after the run on the slices that are clean so far; None before the first run.
    """
    if policy is Policy.SUGGESTED and trained is not None:
        return [found.key for found in slices_to_correct(trained, count)]
    if policy is Policy.RANDOM:
        slices = cohort_slices(cases)
        order = np.random.default_rng(seed).permutation(len(slices))
        ordered = [slices[i] for i in order]
    else:
        ordered = list(evenly_spread_slices(cases, seed=seed))
    done = set(clean)
    return [key for key in ordered if key not in done]
