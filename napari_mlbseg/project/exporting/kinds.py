"""What can be exported, and in which formats; a small module, so that ``mlbseg --help`` is fast."""

from enum import StrEnum


class ExportKind(StrEnum):
    """What is written for a case.

    LABELS are the labels on view: the machine's labels with every corrected slice on top.
    PREDICTION and INITIAL are the machine's alone. WEIGHTS are two float32 maps per case,
    ``ID_meta_weights_initial`` and ``ID_meta_weights_pseudo``, in multiples of the uniform weight.
    TRUST is ``ID_trust``, float32 from 0 to 1, how far the clean slices bear out the prediction,
    and ``ID_proposed_labels``, the labels that they ask for instead. PROBABILITIES are float32
    maps from 0 to 1, ``ID_probability_CLASS``, one for each class, predicted by the last network
    during the export; the background has what they leave of 1. VOLUMES is one table of all cases:
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
    """The format to write; AUTO is the format that the case came in.

    For DICOM series AUTO means DICOM-SEG for labels and NIfTI for maps, for TIFF and HDF5 NIfTI.
    """

    AUTO = "auto"
    NIFTI = "nifti"
    NRRD = "nrrd"
    MHA = "mha"
    OME_ZARR = "ome-zarr"
    DICOM_SEG = "dicom-seg"
    RTSTRUCT = "rtstruct"
