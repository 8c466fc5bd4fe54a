"""The background jobs of the workbench: functions that report their progress."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from napari_mlbseg.engine.predictions.suggestions import Suggestion, suggest
from napari_mlbseg.project.exporting.contents import Contents, Tell, contents_of
from napari_mlbseg.project.exporting.export import export_contents
from napari_mlbseg.project.exporting.kinds import ExportKind
from napari_mlbseg.project.exporting.notes import notes_of
from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.channels import ChannelRule
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.cohort import Imported, import_folder, make_study
from napari_mlbseg.project.importing.offers import Offer, offers_in
from napari_mlbseg.project.importing.relabelling import relabel
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied, summary
from napari_mlbseg.widgets.background.task import Report
from napari_mlbseg.widgets.requests import Export, ModelExport, NewStudy

_LINES_SHOWN: Final = 5


def survey(images: Path) -> Callable[[Report], tuple[Offer, ...]]:
    """Find the series and frames that somebody has to choose from before the import."""

    def work(report: Report) -> tuple[Offer, ...]:
        return offers_in(images, lambda *step: report(step))

    return work


def creation(new: NewStudy, author: str | None) -> Callable[[Report], tuple[Study, Imported]]:
    """Make a study from folders; the result is open for writing, and lists what was left out."""
    pairing = Pairing(channels=ChannelRule(frames=True) if new.frames_are_channels else None)

    def work(report: Report) -> tuple[Study, Imported]:
        return make_study(
            *(new.path, new.images, new.labels, new.classes),
            pairing=pairing,
            choices=new.choices,
            author=author,
            progress=lambda *step: report(step),
        )

    return work


def change_of_classes(
    study: Study, classes: Sequence[LabelClass], becoming: Mapping[int, int]
) -> Callable[[Report], tuple[LabelClass, ...]]:
    """Replace the classes, see `change_classes`; the result holds the new classes of the study."""

    def work(report: Report) -> tuple[LabelClass, ...]:
        change_classes(study, classes, becoming=becoming, progress=lambda *step: report(step))
        return study.classes

    return work


def addition(study: Study, images: Path, labels: Path | None) -> Callable[[Report], Imported]:
    """Add the images of a folder as cases; the result lists what was left out."""

    def work(report: Report) -> Imported:
        return import_folder(study, images, labels, progress=lambda *step: report(step))

    return work


def relabelling(study: Study, case_id: str, labels: Path) -> Callable[[Report], None]:
    """Take the rough labels of a file for a case."""

    def work(report: Report) -> None:
        names = [study.case(case_id).name]
        relabel(study, labels, names, progress=lambda *step: report(step))

    return work


def writing(study: Study, export: Export) -> Callable[[Report], str]:
    """Write files of one case or of all cases; the result says how many, and what was tidied."""

    def work(report: Report) -> str:
        tidied: dict[str, Tidied] = {}
        ids = None if export.case_id is None else [export.case_id]
        contents = contents_of(study, export.kind, ids)
        files = _written(contents, export, report, tidied.__setitem__)
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        lines = [*notes_of(contents, export.form), *summary(tidied)]
        more = len(lines) - _LINES_SHOWN
        rest = [f"And {more} more: see the .provenance.json files."] if more > 0 else []
        return "\n".join([f"Wrote {count} to {export.folder}", *lines[:_LINES_SHOWN], *rest])

    return work


def _written(contents: Contents, export: Export, report: Report, tell: Tell) -> list[Path]:
    if export.kind is ExportKind.PROBABILITIES:
        from napari_mlbseg.engine.predictions.probabilities import export_predicted_probabilities

        return export_predicted_probabilities(
            contents.study,
            export.folder,
            case_id=export.case_id,
            form=export.form,
            progress=lambda *step: report(step),
        )
    return export_contents(
        contents,
        export.folder,
        form=export.form,
        progress=lambda *step: report(step),
        tell=tell,
    )


def writing_page(study: Study, path: Path) -> Callable[[Report], str]:
    """Write a page about a study; the result says where."""

    def work(report: Report) -> str:
        from napari_mlbseg.report.report import write_report

        return f"Wrote {write_report(study, path, lambda *step: report(step))}"

    return work


def writing_model(study: Study, wanted: ModelExport) -> Callable[[Report], str]:
    """Write the trained model; the result says where, and how closely it matches the engine."""

    def work(report: Report) -> str:
        from napari_mlbseg.engine.deploy.export import export_model

        made = export_model(study, wanted.form, wanted.folder / f"{study.name}-{wanted.form}")
        return (
            f"Wrote the model to {made.folder} ({made.size / 1e6:.1f} MB). Its probabilities match "
            f"those of the training to within {made.worst_difference:.0e}."
        )

    return work


def suggesting(path: Path, count: int) -> Callable[[Report], tuple[Suggestion, ...]]:
    """Find slices of a study that are worth correcting next.

    The job opens the study again read-only, so that the window can close its own meanwhile.
    """

    def work(report: Report) -> tuple[Suggestion, ...]:
        with Study.open(path, writable=False) as study:
            return tuple(suggest(study, count, progress=lambda *step: report(step)))

    return work
