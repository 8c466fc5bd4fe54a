"""Labelling the cohort: which cases it takes, what is written, and what the next round learns."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np

from napari_mlbseg.engine.data.source import NoisyLabels, Source
from napari_mlbseg.engine.training.course import Course
from napari_mlbseg.engine.training.state import TrainingState
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.coverage import looked_at_everywhere
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

SLICES_A_ROUND = 1200
"""Slices that are labelled before a round, which looks at about as many of them."""
FEWEST_CASES = 2
"""Cases that are labelled before a round, however large they are."""


class Labelling:
    """The labelling before the next round of a training.

    `renews` says whether the bootstrapping learns from pseudo labels that each round renews, or
    from initial labels, which only cases that came without labels get.
    """

    def __init__(
        self, study: Study, source: Source, state: TrainingState, course: Course, *, renews: bool
    ) -> None:
        self._study, self._source, self._state = study, source, state
        self._course, self._renews = course, renews

    def cases(self) -> list[Case]:
        """The cases to label now.

        With pseudo labels these are the cases that have waited longest, and before the first round
        of bootstrapping every case that has no initial labels yet; without, all cases that came
        without labels.
        """
        cases = self._study.cases
        if not self._renews:
            return [case for case in cases if case.labels_path is None]
        waiting = longest_waiting(self._source.clean.open_cases(cases), self._state.labelled)
        if not self.is_learnt_from:
            return waiting
        has = self._study.arrays.has
        bare = [case for case in cases if not has(case.id, ArrayName.INITIAL_LABELS)]
        return waiting + [case for case in bare if case not in waiting]

    def arrays(self, case: Case) -> list[ArrayName]:
        """The arrays that the labels of a case are written to."""
        of_base_model = self._state.round <= self._course.base_rounds
        bare = not self._study.arrays.has(case.id, ArrayName.INITIAL_LABELS)
        first = case.labels_path is None and (of_base_model or bare)
        initial = [ArrayName.INITIAL_LABELS] if first else []
        pseudo = [ArrayName.PSEUDO_LABELS] if self._renews and self.is_learnt_from else []
        return [*initial, *pseudo, ArrayName.PREDICTION]

    @property
    def is_learnt_from(self) -> bool:
        """Whether the next round learns from these labels.

        Those that are made after the quick round of the base model are only to be looked at.
        """
        return self._state.round >= self._course.base_rounds

    def note(self, case: Case) -> None:
        """Note that a case has been labelled."""
        if self.is_learnt_from:
            self._state.note_labelled(case.id)

    @property
    def is_done(self) -> bool:
        """Whether there are labels for a round of bootstrapping to learn from."""
        return not self._renews or bool(self._state.labelled)

    def read(self) -> None:
        """Have the source read the labels anew, for a round of bootstrapping."""
        if self._renews:
            has = self._study.arrays.has
            cases = {i for i in self._state.labelled if has(i, ArrayName.PSEUDO_LABELS)}
            self._source.learn_from(
                NoisyLabels(ArrayName.PSEUDO_LABELS, frozenset(cases), frozenset(self._unseen()))
            )
        else:
            self._source.learn_from(NoisyLabels())

    def _unseen(self) -> Iterator[SliceKey]:
        """Slices of cases with imported labels that nobody looked at.

        There neither the network can be trusted, which never saw their like, nor the imported
        label, which may be wrong everywhere in the same way.
        """
        known = [record.key for record in self._study.slices.teaching()]
        certified = self._study.extents.certified()
        looked_at = looked_at_everywhere(self._study.cases, known, certified)
        for case in self._study.cases:
            if case.labels_path is not None:
                for index in np.flatnonzero(~looked_at[case.id]).tolist():
                    yield SliceKey(case.id, case.axis, index)


def longest_waiting(cases: Iterable[Case], labelled: Sequence[str]) -> list[Case]:
    """Those of the cases that have waited longest, with as many slices as a round looks at.

    `labelled` names the cases that were labelled before, the longest ago first; the others have
    waited for longer than these.
    """
    before = {name: place for place, name in enumerate(labelled)}
    waiting = sorted(cases, key=lambda case: before.get(case.id, -1))
    slices = list(accumulate(case.geometry.shape[case.axis] for case in waiting))
    return waiting[: max(FEWEST_CASES, bisect_left(slices, SLICES_A_ROUND) + 1)]
