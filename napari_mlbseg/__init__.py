"""Turn rough 3-D segmentations into labels one can sign, by correcting a few slices."""

__version__ = "0.1.0"
