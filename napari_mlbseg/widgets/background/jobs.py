"""What the workbench does in the background: functions that report how far they are."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_mlbseg.engine.predictions.suggestions import Suggestion, suggest
from napari_mlbseg.project.exporting.export import ExportKind, export_case, export_study
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.cohort import Imported, make_study
from napari_mlbseg.project.importing.offers import Offer, offers_in
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import Report
from napari_mlbseg.widgets.requests import Export, ModelExport, NewStudy


def survey(images: Path) -> Callable[[Report], tuple[Offer, ...]]:
    """Look for what somebody has to choose from before images can be taken in."""

    def work(report: Report) -> tuple[Offer, ...]:
        return offers_in(images, lambda *step: report(step))

    return work


def creation(new: NewStudy) -> Callable[[Report], tuple[Study, Imported]]:
    """Make a study from folders; it is open for writing, and it is told what is not in it."""

    def work(report: Report) -> tuple[Study, Imported]:
        return make_study(
            *(new.path, new.images, new.labels, new.classes),
            choices=new.choices,
            progress=lambda *step: report(step),
        )

    return work


def change_of_classes(
    study: Study, classes: Sequence[LabelClass]
) -> Callable[[Report], tuple[LabelClass, ...]]:
    """Replace the classes; its result are those of the study now."""

    def work(report: Report) -> tuple[LabelClass, ...]:
        change_classes(study, classes, progress=lambda *step: report(step))
        return study.classes

    return work


def writing(study: Study, export: Export) -> Callable[[Report], str]:
    """Write files of one case or of all; its result says how many."""

    def work(report: Report) -> str:
        files = _written(study, export, report)
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        return f"Wrote {count} to {export.folder}"

    return work


def _written(study: Study, export: Export, report: Report) -> list[Path]:
    if export.kind is ExportKind.PROBABILITIES:
        from napari_mlbseg.engine.predictions.probabilities import export_predicted_probabilities

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


def writing_model(study: Study, wanted: ModelExport) -> Callable[[Report], str]:
    """Write the trained model; its result says where, and how close it is to the engine."""

    def work(report: Report) -> str:
        from napari_mlbseg.engine.deploy.export import export_model

        made = export_model(study, wanted.form, wanted.folder / f"{study.name}-{wanted.form}")
        return (
            f"Wrote the model to {made.folder} ({made.size / 1e6:.1f} MB). Its probabilities are "
            f"those of the training to within {made.worst_difference:.0e}."
        )

    return work


def suggesting(path: Path, count: int) -> Callable[[Report], tuple[Suggestion, ...]]:
    """Look for slices of a study to correct next.

    The study is opened again for reading, so that the window may close its own meanwhile.
    """

    def work(report: Report) -> tuple[Suggestion, ...]:
        with Study.open(path, writable=False) as study:
            return tuple(suggest(study, count, progress=lambda *step: report(step)))

    return work
