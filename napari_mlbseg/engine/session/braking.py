"""Where imported labels are shown in place of predictions, kept up to date during a run."""

from dataclasses import replace

from napari_mlbseg.engine.events import CoverageChanged
from napari_mlbseg.engine.predictions.brake import Brake, brake_for
from napari_mlbseg.engine.session.guard import Guard
from napari_mlbseg.engine.session.imported import ImportedLabels
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.coverage import LookedAt
from napari_mlbseg.project.records.reach import reaches
from napari_mlbseg.project.study import Study


class Braking:
    """Keeps the brake up to date with the clean slices and the network.

    Attributes
    ----------
    guard
        Knows the network used for predictions, and whether it does worse than the imported labels.
    """

    def __init__(self, study: Study, trainer: Trainer) -> None:
        self._study, self._trainer = study, trainer
        self._brake = self._found()
        names = self._brake.imported
        self._imported = ImportedLabels(trainer, names) if names else None
        self.guard = Guard(trainer, self._imported)

    def clean_slices_changed(self) -> None:
        """Find out again which slices were looked at, and how wrong imported labels can be."""
        found = self._found()
        if self._imported is not None:
            found = replace(
                found,
                smallest_nonsense_difference=self._imported.smallest_nonsense_difference(),
                largest_mending_difference=self._imported.largest_mending_difference(),
            )
        self._brake = found

    def in_force(self) -> Brake:
        """The brake for the slices that are published now."""
        return replace(
            self._brake,
            everywhere=self.guard.imported_labels_kept,
            largest_right_disagreement=self._trainer.largest_right_disagreement,
        )

    @property
    def looked_at(self) -> LookedAt:
        """Which slices have a clean slice near; at hand, without asking the network."""
        return self._brake.looked_at

    def coverage(self) -> CoverageChanged:
        """How much of the cohort was looked at."""
        reach = reaches(self._study.cases, self._brake.looked_at)
        return CoverageChanged(*self._brake.counts(), reach)

    def _found(self) -> Brake:
        """The brake for the current clean slices; a rule that ignores labels keeps none."""
        return brake_for(self._study, keep_labels=self._trainer.weighting.learns_labels)
