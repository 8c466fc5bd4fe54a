"""What the workbench does in the background: functions that report how far they are."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_mlbseg.project.cases import LabelClass
from napari_mlbseg.project.classes import change_classes
from napari_mlbseg.project.cohort import Imported, make_study
from napari_mlbseg.project.export import ExportKind, export_case, export_study
from napari_mlbseg.project.offers import Offer, offers_in
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import Report
from napari_mlbseg.widgets.requests import Export, NewStudy


def survey(images: Path) -> Callable[[Report], tuple[Offer, ...]]:
    """Look for what somebody has to choose from before images can be taken in."""

    def work(report: Report) -> tuple[Offer, ...]:
        return offers_in(images, lambda *step: report(step))

    return work


def creation(new: NewStudy) -> Callable[[Report], tuple[Study, Imported]]:
    """Make a study from folders; it is open for writing, and it is told what is not in it."""

    def work(report: Report) -> tuple[Study, Imported]:
        told: list[Imported] = []
        study = make_study(
            *(new.path, new.images, new.labels, new.classes),
            choices=new.choices,
            progress=lambda *step: report(step),
            done=told.append,
        )
        return study, told[0]

    return work


def change_of_classes(
    study: Study, classes: Sequence[LabelClass]
) -> Callable[[Report], tuple[LabelClass, ...]]:
    """Replace the classes; its result are those of the study now."""

    def work(report: Report) -> tuple[LabelClass, ...]:
        change_classes(study, classes, progress=lambda *step: report(step))
        return study.classes

    return work


def writing(study: Study, export: Export) -> Callable[[Report], list[Path]]:
    """Write files of one case or of all; its result are their paths."""

    def work(report: Report) -> list[Path]:
        if export.kind is ExportKind.PROBABILITIES:
            from napari_mlbseg.engine.probabilities import export_predicted_probabilities

            return export_predicted_probabilities(
                study,
                export.folder,
                case_id=export.case_id,
                form=export.form,
                progress=lambda *step: report(step),
            )
        if export.case_id is not None:
            return export_case(study, export.case_id, export.folder, export.kind, export.form)
        return export_study(
            study, export.folder, export.kind, lambda *step: report(step), form=export.form
        )

    return work
