"""A report of a study as one HTML file, which loads nothing and runs nothing."""

from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import replacing
from napari_mlbseg.project.exporting.checks import require_safe
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study
from napari_mlbseg.report.facts import facts_of
from napari_mlbseg.report.page import page_of


def write_report(study: Study, path: Path, progress: Progress = silent) -> Path:
    """Write a page with progress, effort, estimated Dice, curves, slices, cases and settings.

    The study is only read. The page holds the names of cases, classes and annotators, and pixels of
    three slices. It appears complete or not at all, and replaces an older one.

    Parameters
    ----------
    path
        The new file; its name ends in .html.

    Raises
    ------
    UserError
        If the name ends otherwise, if the file would lie in the study or take the place of a file
        that it was imported from, or if it cannot be written.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     page = write_report(study, Path("heart.html"))
    >>> page.read_text(encoding="utf-8").count("<img")
    0
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"A report is a page, so its name ends in .html, but got {path}.")
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    require_safe(study, [path])
    page = page_of(facts_of(study, progress))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {path.parent} cannot be made: {error.strerror or error}. Choose another."
        ) from error
    with replacing(path) as new:
        new.write_text(page, encoding="utf-8", newline="\n")
    return path
