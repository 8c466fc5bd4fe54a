"""What an export cannot hold, or leaves out, in sentences."""

from collections.abc import Iterator
from pathlib import Path

from napari_mlbseg.project.exporting import bids, nnunet
from napari_mlbseg.project.exporting.contents import Contents
from napari_mlbseg.project.exporting.itk_snap import itk_snap_name
from napari_mlbseg.project.exporting.kinds import DICOM, SEGMENTS, ExportKind, OutFormat
from napari_mlbseg.project.exporting.outputs import targets_of
from napari_mlbseg.project.exporting.writing import SAYS_NOTHING
from napari_mlbseg.project.importing.failures import shortened


def notes_of(contents: Contents, form: OutFormat) -> tuple[str, ...]:
    """Names that the files cannot hold, cases that are left out, and what 255 is in them."""
    if contents.kind is ExportKind.VOLUMES:
        return ()
    return (*_left_out(contents), *_unsaid(contents, form), *_names(contents, form))


def _left_out(contents: Contents) -> Iterator[str]:
    names = [case.name for case in contents.left_out]
    if names:
        said = "approved" if contents.study.reviews.only_approved else "accepted"
        yield f"Left out, because no slice of them is {said}: {shortened(names)}."


def _unsaid(contents: Contents, form: OutFormat) -> Iterator[str]:
    if not contents.partial or form is OutFormat.NNUNET:
        return
    if forms_of(contents, form) & set(SEGMENTS):
        yield SAYS_NOTHING
    else:
        yield "Voxels of other slices are 255, which is no class."


def _names(contents: Contents, form: OutFormat) -> Iterator[str]:
    classes = contents.study.classes
    if form is OutFormat.NNUNET:
        yield from nnunet.notes_of(contents.cases, classes)
    if form is OutFormat.BIDS:
        yield from bids.notes_of(contents.cases)
    if form is OutFormat.ITK_SNAP:
        for c in classes:
            if itk_snap_name(c.name) != c.name:
                written = itk_snap_name(c.name)
                yield f"ITK-SNAP has no quotation marks: {c.name!r} is written as {written!r}."
    if forms_of(contents, form) & set(DICOM):
        yield from _dicom_names(contents)


def _dicom_names(contents: Contents) -> Iterator[str]:
    from napari_mlbseg.formats.dicom_out.about import dicom_name

    for c in contents.study.classes:
        if dicom_name(c.name) != c.name:
            yield (
                f"DICOM names hold 64 characters and no backslash: {c.name!r} is written as "
                f"{dicom_name(c.name)!r}. The whole name is kept beside it for this program."
            )


def forms_of(contents: Contents, form: OutFormat) -> set[OutFormat]:
    """The formats of the files that are written."""
    targets = (targets_of(case, Path(), contents.kind, form) for case in contents.cases)
    return {target.form for found in targets for target in found}
