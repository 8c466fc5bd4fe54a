"""What can be exported, and in which formats; a small module, so that ``mlbseg --help`` is fast."""

from enum import StrEnum
from typing import Final


class ExportKind(StrEnum):
    """What is written for a case.

    LABELS are the labels on view: the machine's labels with every corrected slice on top.
    ACCEPTED are the accepted slices alone (the approved ones where only these teach), and 255,
    which is no class, everywhere else.
    PREDICTION and INITIAL are the machine's alone. WEIGHTS are two float32 maps per case,
    ``ID_meta_weights_initial`` and ``ID_meta_weights_pseudo``, in multiples of the uniform weight.
    TRUST is ``ID_trust``, float32 from 0 to 1, how far the clean slices bear out the prediction,
    and ``ID_proposed_labels``, the labels that they ask for instead. PROBABILITIES are float32
    maps from 0 to 1, ``ID_probability_CLASS``, one for each class, predicted by the last network
    during the export; the background has what they leave of 1. VOLUMES is one table of all cases:
    voxels and millilitres of each class in LABELS.
    """

    LABELS = "labels"
    ACCEPTED = "accepted"
    PREDICTION = "prediction"
    INITIAL = "initial"
    WEIGHTS = "weights"
    TRUST = "trust"
    PROBABILITIES = "probabilities"
    VOLUMES = "volumes"


class OutFormat(StrEnum):
    """The format to write; AUTO is the format that the case came in.

    For DICOM series AUTO means DICOM-SEG for labels and NIfTI for maps, for TIFF and HDF5 NIfTI.
    SEG_NRRD is a segmentation of 3D Slicer. ITK_SNAP is NIfTI with a file that describes the
    labels. NNUNET and BIDS are whole folders: a data set to train nnU-Net with, and derivatives.
    """

    AUTO = "auto"
    NIFTI = "nifti"
    NRRD = "nrrd"
    MHA = "mha"
    OME_ZARR = "ome-zarr"
    DICOM_SEG = "dicom-seg"
    DICOM_LABELMAP = "dicom-labelmap"
    RTSTRUCT = "rtstruct"
    SEG_NRRD = "seg-nrrd"
    ITK_SNAP = "itk-snap"
    NNUNET = "nnunet"
    BIDS = "bids"


LABEL_KINDS: Final = (
    ExportKind.LABELS,
    ExportKind.ACCEPTED,
    ExportKind.PREDICTION,
    ExportKind.INITIAL,
)
"""What holds one class for each voxel."""

DICOM: Final = (OutFormat.DICOM_SEG, OutFormat.DICOM_LABELMAP, OutFormat.RTSTRUCT)
"""What refers to the series that a case came from."""

SEGMENTS: Final = (*DICOM, OutFormat.SEG_NRRD)
"""What holds a list of classes, in which a voxel without a label is background."""

DATASETS: Final = (OutFormat.NNUNET, OutFormat.BIDS)
"""What is a new folder, complete or not there at all."""
