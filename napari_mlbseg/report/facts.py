"""What a report tells, gathered from a study."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.forecast import Measured, measured
from napari_mlbseg.engine.training.untrained import is_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.runs import RunRecord
from napari_mlbseg.project.exporting.provenance import run_behind, unseen_slices
from napari_mlbseg.project.labels import along
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.report.effort import Effort, accepted_in, effort_of
from napari_mlbseg.report.pictures import Curve, shown, side_by_side
from napari_mlbseg.report.scores import SliceScore, best_median_worst, counts_of


@dataclass(frozen=True)
class CaseFacts:
    """One case: how many of its slices along its axis are in which state, and never looked at."""

    case: Case
    states: Mapping[SliceState, int]
    slices: int
    never_looked_at: int


@dataclass(frozen=True)
class Picture:
    """A slice without labels, with the machine's, and with those that a person accepted."""

    what: str
    score: SliceScore
    case: Case
    uri: str
    height_to_width: float


@dataclass(frozen=True)
class Facts:
    """All that a report tells.

    Attributes
    ----------
    scores
        How the machine's labels agree with each accepted slice that shows something.
    imported_scores
        The same of the imported labels, where there are some.
    measured
        The validation Dice of all runs by the number of training slices.
    validation
        The slices that the network of the checkpoint never learnt from.
    """

    study: Study
    cases: tuple[CaseFacts, ...]
    effort: tuple[Effort, ...]
    scores: tuple[SliceScore, ...]
    imported_scores: tuple[SliceScore, ...]
    validation: frozenset[SliceKey]
    predicted: bool
    run: RunRecord | None
    curves: Mapping[str, Curve]
    measured: tuple[Measured, ...]
    pictures: tuple[Picture, ...]

    @property
    def unseen_scores(self) -> tuple[SliceScore, ...]:
        """The scores on validation slices."""
        return tuple(score for score in self.scores if score.key in self.validation)


def facts_of(study: Study, progress: Progress) -> Facts:
    """Gather everything; only reads."""
    clean = study.slices.records(state=SliceState.CLEAN)
    validation = _validation_slices(study)
    scores, imported = [], []
    for done, record in enumerate(clean):
        progress("Comparing accepted slices", done, len(clean))
        mask = study.slices.revision_mask(record.revision)
        found = counts_of(_machine(study, record.key), mask)
        if found:
            scores.append(SliceScore(record.key, found))
        if study.arrays.has(record.key.case_id, ArrayName.INITIAL_LABELS):
            rough = counts_of(_slice(study, record.key, ArrayName.INITIAL_LABELS), mask)
            imported += [SliceScore(record.key, rough)] if rough else []
    run = run_behind(study) or next(iter(reversed(study.runs.all())), None)
    shown_scores = [s for s in scores if s.key in validation] or scores
    return Facts(
        study,
        tuple(_of_case(study, case) for case in study.cases),
        effort_of(accepted_in(study.log.entries()), clean),
        tuple(scores),
        tuple(imported),
        validation,
        all(study.arrays.has(case.id, ArrayName.PREDICTION) for case in study.cases),
        run,
        {} if run is None else study.runs.curves(run.id),
        measured(study),
        tuple(_pictures(study, shown_scores, clean)),
    )


def _of_case(study: Study, case: Case) -> CaseFacts:
    records = [r for r in study.slices.records(case.id) if r.key.axis == case.axis]
    count = case.geometry.shape[case.axis]
    return CaseFacts(
        case, Counter(r.state for r in records), count, len(unseen_slices(study, case))
    )


def _validation_slices(study: Study) -> frozenset[SliceKey]:
    """None without a checkpoint that can be read."""
    if not is_trained(study):
        return frozenset()
    from napari_mlbseg.engine.training.checkpoint import read_checkpoint  # loads torch

    try:
        return read_checkpoint(study.checkpoint_path).validation
    except UserError:
        return frozenset()


def _pictures(
    study: Study, scores: list[SliceScore], clean: tuple[SliceRecord, ...]
) -> Iterator[Picture]:
    revisions = {record.key: record.revision for record in clean}
    for what, score in best_median_worst(scores).items():
        key, case = score.key, study.case(score.key.case_id)
        image = _slice(study, key, ArrayName.IMAGE)
        labels = (None, _machine(study, key), study.slices.revision_mask(revisions[key]))
        row = [shown(image, found, case, study.classes) for found in labels]
        (rows, columns), (row_mm, column_mm) = image.shape, case.sides_mm(key.axis)
        ratio = rows * row_mm / (len(row) * columns * column_mm)
        # Rows of other planes than the axial one run from the feet to the head.
        yield Picture(what, score, case, side_by_side(row, upside_down=key.axis != 0), ratio)


def _slice(study: Study, key: SliceKey, name: ArrayName) -> NDArray[Any]:
    return study.arrays.read(key.case_id, name, key.axis, key.index)


def _machine(study: Study, key: SliceKey) -> NDArray[np.uint8]:
    window = along(key.axis, key.index, key.index + 1)
    return study.labels.machine_windows(key.case_id)[window].squeeze(key.axis)
