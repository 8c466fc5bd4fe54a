"""What can be exported and in which formats; by itself, so that ``mlbseg --help`` is immediate."""

from enum import StrEnum


class ExportKind(StrEnum):
    """What is written for a case.

    LABELS are what a person sees: the machine's labels with every corrected slice on top.
    PREDICTION and INITIAL are the machine's alone. WEIGHTS are two float32 maps per case,
    ``ID_meta_weights_initial`` and ``ID_meta_weights_pseudo``, in multiples of the uniform weight.
    TRUST are ``ID_trust``, float32 from 0 to 1, how far the clean slices bear out the prediction,
    and ``ID_proposed_labels``, the labels that they propose. PROBABILITIES are float32 maps from 0
    to 1, one for each class, ``ID_probability_CLASS``, made by the last network while they are
    exported; that of the background is what they leave of 1. VOLUMES is one table of all cases:
    voxels and millilitres of each class in LABELS.
    """

    LABELS = "labels"
    PREDICTION = "prediction"
    INITIAL = "initial"
    WEIGHTS = "weights"
    TRUST = "trust"
    PROBABILITIES = "probabilities"
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
