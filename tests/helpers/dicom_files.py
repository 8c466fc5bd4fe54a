"""DICOM files made for tests: series of single slices and multi-frame files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from orientations import rotation
from pydicom import Dataset, sequence
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

PATIENT = "DOE^JANE"
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLANES = {
    "axial": np.eye(3),
    "coronal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]]),
    "sagittal": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0.0]]),
}


def lps_of(
    plane: str = "axial",
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    origin: tuple[float, float, float] = (-100.25, 50.5, -30.125),
    tilt: tuple[float, float, float] = (0, 0, 0),
) -> NDArray[np.float64]:
    lps = np.eye(4)
    lps[:3, :3] = rotation(tilt) @ PLANES[plane] * spacing
    lps[:3, 3] = origin
    return lps


def voxels(shape: tuple[int, ...] = (6, 5, 4), seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-900, 2000, shape).astype(np.int16)


def decimal(value: float) -> str:
    """A decimal string as scanners write it: 16 characters."""
    return f"{value:.10g}"[:16]


def directions(affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Orientation (6) and spacing (row, column) of the first two columns of an LPS affine."""
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    return (affine[:3, :2] / spacing).T.ravel(), spacing[::-1]


def dataset_of(sop_class: UID = CTImageStorage, **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = PATIENT
    dataset.PatientID = "12345-SECRET"
    dataset.PatientBirthDate = "19500101"
    dataset.PatientSex = "O"
    dataset.AccessionNumber = ""
    dataset.StudyID = "1"
    dataset.StudyDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.FrameOfReferenceUID = "1.2.3.5"
    dataset.SeriesNumber = 3
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def set_pixels(dataset: Dataset, pixels: NDArray[Any]) -> None:
    """Pixels (rows, columns) or (frames, rows, columns)."""
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()


def write_series(
    folder: Path,
    stored: NDArray[Any],
    lps: NDArray[np.float64],
    *,
    syntax: str | None = None,
    **elements: Any,
) -> list[Path]:
    """Slices of an array (columns, rows, slices), written in a shuffled order of names."""
    folder.mkdir(parents=True, exist_ok=True)
    orientation, spacing = directions(lps)
    names = np.random.default_rng(stored.shape[2]).permutation(stored.shape[2])
    written = []
    for k in range(stored.shape[2]):
        position = lps @ [0, 0, k, 1]
        dataset = dataset_of(**elements)
        dataset.ImagePositionPatient = [decimal(v) for v in position[:3]]
        dataset.ImageOrientationPatient = [decimal(v) for v in orientation]
        dataset.PixelSpacing = [decimal(v) for v in spacing]
        dataset.SliceThickness = decimal(float(np.linalg.norm(lps[:3, 2])))
        dataset.InstanceNumber = int(names[k]) + 1
        set_pixels(dataset, np.ascontiguousarray(stored[:, :, k].T))
        if syntax is not None:
            dataset.compress(syntax, generate_instance_uid=False)
        written.append(folder / f"IM{names[k]:04d}")
        dataset.save_as(written[-1], enforce_file_format=True)
    return written


def write_multiframe(
    path: Path, stored: NDArray[Any], lps: NDArray[np.float64], order: Sequence[int] | None = None
) -> Path:
    """An enhanced MR file with slices in any order."""
    orientation, spacing = directions(lps)
    order = range(stored.shape[2]) if order is None else order
    dataset = dataset_of(EnhancedMRImageStorage, Modality="MR", InstanceNumber=1)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=list(map(decimal, orientation)))
    shared.PixelMeasuresSequence = _one(
        PixelSpacing=list(map(decimal, spacing)),
        SliceThickness=decimal(float(np.linalg.norm(lps[:3, 2]))),
    )
    shared.PixelValueTransformationSequence = _one(
        RescaleSlope="1", RescaleIntercept="-7", RescaleType="US"
    )
    for k in order:
        frame = Dataset()
        position = (lps @ [0, 0, k, 1])[:3]
        frame.PlanePositionSequence = _one(ImagePositionPatient=list(map(decimal, position)))
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = sequence.Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = sequence.Sequence(frames)
    dataset.NumberOfFrames = len(frames)
    set_pixels(dataset, np.ascontiguousarray(stored.transpose(2, 1, 0)[list(order)]))
    dataset.save_as(path, enforce_file_format=True)
    return path


def _one(**elements: Any) -> sequence.Sequence:
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return sequence.Sequence([item])
