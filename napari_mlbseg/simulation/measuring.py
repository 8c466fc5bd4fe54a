"""From what a run left behind to records."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth
from napari_mlbseg.simulation.effort import Effort
from napari_mlbseg.simulation.moments import Moment
from napari_mlbseg.simulation.records import Job, Record
from napari_mlbseg.simulation.scoring import Labels, exported, measured
from napari_mlbseg.simulation.timed import TimedRun
from napari_mlbseg.simulation.training import Ran

EXPORTED, HELD_OUT = "exported", "held_out"
About = dict[str, Any]
"""Fields of a record that do not depend on the class."""


class Measuring:
    """Measures the exported labels of the cohort, and predictions for the held-out cases.

    Parameters
    ----------
    held_out
        A study of the held-out cases, which the last network predicts; None without any.
    """

    def __init__(self, truth: Truth, classes: Sequence[LabelClass], held_out: Path | None) -> None:
        self._truth, self._classes, self._held_out = truth, classes, held_out

    def after_steps(self, job: Job, ran: Ran, steps: int, at: Path, effort: Effort) -> list[Record]:
        """Records of a run of so many steps, whose study lies at `at`."""
        about = {"steps": steps, "seconds": round(ran.seconds, 2), "device": ran.device}
        about |= vars(effort)
        return list(self._at_the_end(job, about, ran.estimated_dice, at))

    def over_time(self, job: Job, run: TimedRun, at: Path, effort: Effort) -> list[Record]:
        """Records of a timed run, whose study lies at `at`: of every mark, and of the end."""
        records: list[Record] = []
        with Study.open(at, writable=False) as study:
            cases = study.cases
        for moment in run.moments:
            about = {"limit": job.limit, "device": run.device} | _about(moment) | vars(effort)
            if moment is run.end:
                records += self._at_the_end(job, about, moment.estimated_dice, at)
                continue
            kept = dict(zip((case.id for case in cases), moment.labels(), strict=True))
            about["where"] = EXPORTED
            records += self._records(job, about, moment.estimated_dice, cases, kept.__getitem__)
        return records

    def _at_the_end(
        self, job: Job, about: About, estimated: dict[int, float], at: Path
    ) -> Iterator[Record]:
        from napari_mlbseg.engine.predictions.other_cases import predict_other_cases

        with Study.open(at, writable=False) as study:
            about = about | {"where": EXPORTED}
            yield from self._records(job, about, estimated, study.cases, partial(exported, study))
            if self._held_out is None:
                return
            with Study.open(self._held_out) as others:
                for _ in predict_other_cases(study, others):
                    pass
                about = about | {"where": HELD_OUT}
                yield from self._records(
                    job, about, estimated, others.cases, partial(exported, others)
                )

    def _records(
        self,
        job: Job,
        about: About,
        estimated: dict[int, float],
        cases: Sequence[Case],
        labels: Callable[[str], Labels],
    ) -> Iterator[Record]:
        found = measured(cases, self._classes, labels, self._truth.volume)
        for one in self._classes:
            if one.value in found:
                yield Record(
                    method=job.method,
                    policy=job.policy,
                    seed=job.seed,
                    budget=job.budget,
                    ends_marked=job.ends_marked,
                    class_name=one.name,
                    estimated_dice=estimated.get(one.value),
                    components_filtered=one.is_tidied,
                    dice_in_one_piece=found[one.value].dice_in_one_piece,
                    **about,
                    **vars(found[one.value].mean),
                )


def _about(moment: Moment) -> About:
    return {
        "steps": moment.steps,
        "seconds": round(60 * moment.minutes, 2),
        "mark_min": moment.mark_min,
        "published_min": moment.published_min,
    }
