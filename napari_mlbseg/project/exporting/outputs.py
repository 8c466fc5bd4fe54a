"""The files that an export of a case writes: their content, formats and names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.formats.registry import export_suffix
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.kinds import LABEL_KINDS, ExportKind, OutFormat
from napari_mlbseg.project.records.cases import Case, LabelClass

ARRAYS: Final[dict[ExportKind, tuple[ArrayName, ...]]] = {
    ExportKind.LABELS: (),
    ExportKind.ACCEPTED: (),
    ExportKind.PREDICTION: (ArrayName.PREDICTION,),
    ExportKind.INITIAL: (ArrayName.INITIAL_LABELS,),
    ExportKind.WEIGHTS: (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO),
    ExportKind.TRUST: (ArrayName.TRUST, ArrayName.PROPOSED_LABELS),
    ExportKind.PROBABILITIES: (),
    ExportKind.VOLUMES: (),
}
_LONGEST_NAME: Final = 40
_ENDINGS: Final = {
    OutFormat.RTSTRUCT: "_rtstruct.dcm",
    OutFormat.DICOM_LABELMAP: "_labelmap.dcm",
}
_SUFFIXES: Final = {
    OutFormat.NIFTI: ".nii.gz",
    OutFormat.NRRD: ".nrrd",
    OutFormat.MHA: ".mha",
    OutFormat.OME_ZARR: ".ome.zarr",
    OutFormat.SEG_NRRD: ".seg.nrrd",
    OutFormat.ITK_SNAP: ".nii.gz",
}


@dataclass(frozen=True)
class Target:
    """A file to write.

    Attributes
    ----------
    array
        The array that it holds; None for the labels on view and for probabilities.
    label
        The class whose probabilities it holds, if any.
    """

    path: Path
    form: OutFormat
    array: ArrayName | None = None
    label: LabelClass | None = None


def formats_for(cases: tuple[Case, ...], kind: ExportKind) -> tuple[OutFormat, ...]:
    """The formats in which all cases can be written.

    OME-Zarr up to 0.5 has no oblique slices; DICOM needs the series that a case came from.
    Contours, segments and data sets hold labels only.
    """
    if kind is ExportKind.VOLUMES:
        return (OutFormat.AUTO,)
    found = [OutFormat.AUTO, OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA]
    if all(case.geometry.upright for case in cases):
        found.append(OutFormat.OME_ZARR)
    if cases and all(case.source.format == "dicom" for case in cases):
        found.append(OutFormat.DICOM_SEG)
        if kind in LABEL_KINDS:
            found += [OutFormat.DICOM_LABELMAP, OutFormat.RTSTRUCT]
    if kind in LABEL_KINDS:
        found += [OutFormat.SEG_NRRD, OutFormat.ITK_SNAP, OutFormat.NNUNET, OutFormat.BIDS]
    return tuple(found)


def probability_targets(
    case: Case, folder: Path, form: OutFormat, classes: Sequence[LabelClass]
) -> list[Target]:
    """The files of a case's probabilities, one for each class."""
    names = _in_file_names(classes)
    return [
        Target(folder / _name(case, f"_probability_{names[c.value]}", form), form, label=c)
        for c in classes
    ]


def targets_of(case: Case, folder: Path, kind: ExportKind, form: OutFormat) -> list[Target]:
    """The files of a case that hold stored arrays."""
    if form is OutFormat.AUTO and case.source.format == "dicom" and kind in LABEL_KINDS:
        form = OutFormat.DICOM_SEG
    several = len(ARRAYS[kind]) > 1
    return [
        Target(folder / _name(case, f"_{name}" if several else "", form), form, name)
        for name in ARRAYS[kind] or (None,)
    ]


def _in_file_names(classes: Sequence[LabelClass]) -> dict[int, str]:
    """Names of classes by value, made of letters, digits, hyphens and underscores.

    If two names would be the same, even if only on a disk that ignores upper and lower case, all
    names end in the values.
    """
    found = {c.value: _letters_and_digits(c.name) for c in classes}
    if len({name.casefold() for name in found.values()}) == len(found):
        return found
    return {value: f"{name}_{value}" for value, name in found.items()}


def _letters_and_digits(name: str) -> str:
    safe = "".join(c if c.isalnum() or c == "-" else "_" for c in name).strip("_")
    return safe[:_LONGEST_NAME] or "class"


def _name(case: Case, part: str, form: OutFormat) -> str:
    if form in _ENDINGS:
        return f"{case.name}{_ENDINGS[form]}"
    if form is OutFormat.DICOM_SEG:
        return f"{case.name}{part or '_seg'}.dcm"
    suffix = _SUFFIXES.get(form) or export_suffix(case.image_path, case.source)
    return f"{case.name}{part}{suffix}"
