"""Reading DICOM files that lack what the standard asks for before their elements."""

from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

_PREAMBLE = 128
_PLAIN = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
"""Transfer syntaxes by how elements are written: without their types, and least byte first."""


def read_dataset(source: Path | BinaryIO, **options: Any) -> Dataset:
    """The elements of a file, also without a preamble, file header or transfer syntax.

    A missing transfer syntax is the one in which the elements turn out to be written; pixels are
    taken to be plain then.
    """
    dataset = dcmread(source, force=True, **options)
    if not isinstance(getattr(dataset, "file_meta", None), FileMetaDataset):
        dataset.file_meta = FileMetaDataset()
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = _written_in(dataset)
    return dataset


def is_read_in_pieces(path: Path) -> bool:
    """Whether pydicom reads frame by frame from a file: one that says how it is written.

    A file that is deflated as a whole has to be unpacked as a whole.
    """
    with path.open("rb") as file:
        if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
            return False
    meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta
    return meta.get("TransferSyntaxUID") not in (None, "", DeflatedExplicitVRLittleEndian)


def _written_in(dataset: Dataset) -> UID:
    implicit, little = dataset.original_encoding
    return _PLAIN.get((bool(implicit), bool(little)), ImplicitVRLittleEndian)
