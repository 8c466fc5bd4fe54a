"""What can be exported of a case, in which formats, and how the files are called."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from napari_mlbseg.formats.registry import export_suffix
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case


class ExportKind(StrEnum):
    """What is written for a case.

    LABELS are what a person sees: the machine's labels with every corrected slice on top.
    PREDICTION and INITIAL are the machine's alone. WEIGHTS are two float32 maps per case,
    ``ID_meta_weights_initial`` and ``ID_meta_weights_pseudo``, in multiples of the uniform weight.
    TRUST are ``ID_trust``, float32 from 0 to 1, how far the clean slices bear out the prediction,
    and ``ID_votes``, the label that they vote for. VOLUMES is one table of all cases: voxels and
    millilitres of each class in LABELS.
    """

    LABELS = "labels"
    PREDICTION = "prediction"
    INITIAL = "initial"
    WEIGHTS = "weights"
    TRUST = "trust"
    VOLUMES = "volumes"


class OutFormat(StrEnum):
    """In which format; AUTO is the one that the case came in.

    That is DICOM-SEG for labels and NIfTI for maps of DICOM series, and NIfTI for TIFF and HDF5.
    """

    AUTO = "auto"
    NIFTI = "nifti"
    NRRD = "nrrd"
    MHA = "mha"
    OME_ZARR = "ome-zarr"
    DICOM_SEG = "dicom-seg"
    RTSTRUCT = "rtstruct"


ARRAYS: Final[dict[ExportKind, tuple[ArrayName, ...]]] = {
    ExportKind.LABELS: (),
    ExportKind.PREDICTION: (ArrayName.PREDICTION,),
    ExportKind.INITIAL: (ArrayName.INITIAL_LABELS,),
    ExportKind.WEIGHTS: (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO),
    ExportKind.TRUST: (ArrayName.TRUST, ArrayName.VOTES),
    ExportKind.VOLUMES: (),
}
_LABEL_KINDS: Final = (ExportKind.LABELS, ExportKind.PREDICTION, ExportKind.INITIAL)
_SUFFIXES: Final = {
    OutFormat.NIFTI: ".nii.gz",
    OutFormat.NRRD: ".nrrd",
    OutFormat.MHA: ".mha",
    OutFormat.OME_ZARR: ".ome.zarr",
}


@dataclass(frozen=True)
class Target:
    """A file to write; `array` is None for the labels that a person sees."""

    path: Path
    form: OutFormat
    array: ArrayName | None


def formats_for(cases: tuple[Case, ...], kind: ExportKind) -> tuple[OutFormat, ...]:
    """The formats that all cases can be written in.

    OME-Zarr up to 0.5 knows no oblique slices; DICOM needs the series that a case came from, and
    contours are outlines of labels.
    """
    if kind is ExportKind.VOLUMES:
        return (OutFormat.AUTO,)
    found = [OutFormat.AUTO, OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA]
    if all(case.geometry.upright for case in cases):
        found.append(OutFormat.OME_ZARR)
    if cases and all(case.source.format == "dicom" for case in cases):
        found.append(OutFormat.DICOM_SEG)
        if kind in _LABEL_KINDS:
            found.append(OutFormat.RTSTRUCT)
    return tuple(found)


def targets_of(case: Case, folder: Path, kind: ExportKind, form: OutFormat) -> list[Target]:
    """The files of a case."""
    if form is OutFormat.AUTO and case.source.format == "dicom" and kind in _LABEL_KINDS:
        form = OutFormat.DICOM_SEG
    several = len(ARRAYS[kind]) > 1
    return [
        Target(folder / _name(case, name if several else None, form), form, name)
        for name in ARRAYS[kind] or (None,)
    ]


def _name(case: Case, array: ArrayName | None, form: OutFormat) -> str:
    part = "" if array is None else f"_{array.value}"
    if form is OutFormat.RTSTRUCT:
        return f"{case.id}_rtstruct.dcm"
    if form is OutFormat.DICOM_SEG:
        return f"{case.id}{part or '_seg'}.dcm"
    suffix = _SUFFIXES.get(form) or export_suffix(case.image_path, case.source)
    return f"{case.id}{part}{suffix}"
