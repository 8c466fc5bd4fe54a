"""The corpus of damaged files: a sound seed per format, and mutations drawn by number.

A file is given by its format and number alone, so that one that failed can be made again::

    python tests/fuzz/run.py --format nrrd --only 1234
"""

import json
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

import h5py
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import dicom_files
import seg_files
from dicom_files import lps_of, write_multiframe, write_series
from reading import BUNDLE, CHANNELS, RESCUE, STUDY, TABLE
from seg_files import write_seg
from zarr_files import write_zarr

SHAPE = (9, 8, 7)
AFFINE = np.array([[-0.75, 0, 0.1, 5], [0, 0.75, 0, 7], [0.05, 0, 2.5, -9], [0, 0, 0, 1]])

HOSTILE_NUMBERS = [0, 1, -1, 2**15 - 1, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1]
HOSTILE_FLOATS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 1e-45]
HOSTILE_TEXT = [
    b"2147483648",
    b"-1",
    b"99999999999999999999",
    b"nan",
    b"inf",
    b"1e400",
    b"0",
    b"",
    b"none",
    b"../../../../etc/passwd",
    b"\xff\xfe",
    b"(" * 50,
    b"[]",
    b"{}",
    b"null",
]


def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.int16)


def itk_image() -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels().transpose(2, 1, 0)))
    image.SetSpacing((0.75, 0.75, 2.5))
    image.SetOrigin((1.0, 2.0, 3.0))
    return image


def seed_nifti(path: Path) -> Path:
    nib.save(nib.Nifti1Image(voxels(), AFFINE), path)
    return path


def seed_nifti2(path: Path) -> Path:
    nib.save(nib.Nifti2Image(voxels(), AFFINE), path)
    return path


def seed_itk(path: Path) -> Path:
    sitk.WriteImage(itk_image(), str(path), useCompression=path.suffix == ".nrrd")
    return path


def seed_tiff(path: Path) -> Path:
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "mm"}
    stored = voxels().astype(np.uint16)
    tifffile.imwrite(path, stored, imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    return path


def seed_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=voxels(), compression="gzip", chunks=(3, 8, 7))
        file.create_dataset("label", data=(voxels() % 3).astype(np.uint8))
    return path


def numbered_uids() -> None:
    """The same UIDs in every run, so that a number stands for the same damage."""
    numbers = count(1)

    def uid() -> str:
        return f"1.2.826.0.1.3680043.8.498.1{next(numbers):07d}"

    for module in (dicom_files, seg_files):
        vars(module)["generate_uid"] = uid


def seed_multiframe(path: Path) -> Path:
    return write_multiframe(path, voxels(), lps_of())


def seed_series(path: Path) -> Path:
    write_series(path, voxels()[:, :, :4], lps_of())
    return path


def seed_compressed(syntax: str) -> Callable[[Path], Path]:
    def seed(path: Path) -> Path:
        stored = np.tile(voxels()[:, :, :2], (8, 8, 1))
        write_series(path, stored, lps_of(), syntax=syntax)
        return path

    return seed


def seed_segmentation(path: Path) -> Path:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        files = write_series(Path(folder) / "s", voxels()[:, :, :4], lps_of())
        write_seg(path, files, (voxels()[:, :, :4] % 3).astype(np.uint8))
    dataset = pydicom.dcmread(path)
    # highdicom takes these from the clock and from chance.
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(dataset, name, "20200101")
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(dataset, name, "120000")
    organization = "1.2.826.0.1.9"
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization
    dataset.save_as(path)
    return path


def seed_zarr(version: str) -> Callable[[Path], Path]:
    def seed(path: Path) -> Path:
        write_zarr(path, voxels(), version)
        return path

    return seed


def seed_seg_nrrd(path: Path) -> Path:
    image = sitk.GetImageFromArray((voxels() % 3).astype(np.uint8).transpose(2, 1, 0))
    for number, name in enumerate(("organ", "lesion")):
        for key, value in {
            "ID": f"Segment_{number + 1}",
            "Name": name,
            "LabelValue": str(number + 1),
            "Layer": "0",
            "Color": "0.5 0.2 0.9",
            "Extent": "0 8 0 7 0 6",
        }.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def seed_patients(path: Path) -> Path:
    """Two patients, each with an image and labels in a folder of their own."""
    for name in ("anna", "bert"):
        (path / name).mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels(), AFFINE), path / name / "image.nii.gz")
        labels = (voxels() % 3).astype(np.uint8)
        nib.save(nib.Nifti1Image(labels, AFFINE), path / name / "label.nii.gz")
    return path


def seed_table(path: Path) -> Path:
    """A table of these patients."""
    seed_patients(path.parent)
    rows = [f"{name},{name}/image.nii.gz,{name}/label.nii.gz" for name in ("anna", "bert")]
    path.write_text("\n".join(["case,image,labels", *rows, ""]))
    return path


def seed_channels(path: Path) -> Path:
    """Two cases with two channels each, as nnU-Net has them, and labels."""
    for part in ("imagesTr", "labelsTr"):
        (path / part).mkdir(parents=True)
    for name in ("anna", "bert"):
        for number in range(2):
            channel = nib.Nifti1Image(voxels() + 50 * number, AFFINE)
            nib.save(channel, path / "imagesTr" / f"{name}_{number:04}.nii.gz")
        labels = (voxels() % 3).astype(np.uint8)
        nib.save(nib.Nifti1Image(labels, AFFINE), path / "labelsTr" / f"{name}.nii.gz")
    about = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "organ": 1}}
    (path / "dataset.json").write_text(json.dumps(about))
    return path


def seed_rescue(path: Path) -> Path:
    """Labels, a skipped slice and marked ends that a study could not take."""
    from napari_mlbseg.project.records.extents import Extent
    from napari_mlbseg.project.records.slices import SliceKey, SliceState
    from napari_mlbseg.project.rescue import Along, Rescue
    from napari_mlbseg.project.rescue_files import write_rescue

    masks = {SliceKey("anna", 0, 3): (voxels()[0] % 3).astype(np.uint8)}
    states = {SliceKey("anna", 0, 4): SliceState.SKIPPED}
    extents = {Along("anna", 0, 1): Extent(2, 6)}
    at = datetime(2026, 1, 2, tzinfo=UTC)
    write_rescue(
        path, Rescue(Path("/a.mlbseg"), "an identity", {1: "organ"}, at, masks, states, extents)
    )
    return path


def seed_catalogue(path: Path) -> Path:
    """A study with human work of every kind; its catalogue is what is damaged."""
    from small_study import make_phantoms

    from napari_mlbseg.api import Study, Verdict
    from napari_mlbseg.project.records.extents import Extent
    from napari_mlbseg.project.records.slices import SliceKey, SliceState

    phantoms = make_phantoms(path.parent, cases=2, rough=True, shape=(4, 9, 8))
    with phantoms.study as study:
        phantoms.accept("phantom0", 0, 1)
        study.slices.set_state(SliceKey("phantom0", 0, 2), SliceState.SKIPPED)
        study.extents.mark("phantom0", 0, 1, Extent(0, 2))
        study.changes.rename("phantom1", "bert")
        place = study.path
    with Study.open(place, author="a reviewer") as study:
        study.reviews.give([SliceKey("phantom0", 0, 1)], Verdict.RETURNED, "too thin")
        study.reviews.let_teach(only_approved=True)
        study.back_up()
    return path


def seed_checkpoint(path: Path) -> Path:
    _train(path.parent / "trained.mlbseg")
    (path.parent / "trained.mlbseg" / "checkpoints" / path.name).replace(path)
    shutil.rmtree(path.parent / "trained.mlbseg")
    return path


def seed_model(path: Path) -> Path:
    from napari_mlbseg.api import ModelFormat, Study, export_model

    trained = _train(path.parent / "trained.mlbseg")
    with Study.open(trained, writable=False) as study:
        export_model(study, ModelFormat.BUNDLE, path)
    shutil.rmtree(trained)
    return path


def _train(path: Path) -> Path:
    """A study with the checkpoint of a few steps."""
    from small_study import QUICK, make_phantoms

    from napari_mlbseg.api import Bootstrapper, Inbox

    phantoms = make_phantoms(path, cases=1, shape=(4, 24, 24))
    with phantoms.study as study:
        phantoms.accept("phantom0", 0, 1, 2)
        config = replace(QUICK, base_steps=2, steps=1, slice_size=32)
        for _ in Bootstrapper(study, config).events(Inbox()):
            pass
    return path


SEEDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "nifti": ("a.nii", seed_nifti),
    "nifti-gz": ("a.nii.gz", seed_nifti),
    "nifti-2": ("a.nii", seed_nifti2),
    "nrrd": ("a.nrrd", seed_itk),
    "mha": ("a.mha", seed_itk),
    "mhd": ("a.mhd", seed_itk),
    "tiff": ("a.tif", seed_tiff),
    "hdf5": ("a.h5", seed_hdf5),
    "dicom-multiframe": ("a.dcm", seed_multiframe),
    "dicom-series": ("series", seed_series),
    "dicom-jpeg2000": ("series", seed_compressed("1.2.840.10008.1.2.4.90")),
    "dicom-jpegls": ("series", seed_compressed("1.2.840.10008.1.2.4.80")),
    "dicom-rle": ("series", seed_compressed("1.2.840.10008.1.2.5")),
    "dicom-seg": ("a.dcm", seed_segmentation),
    "ome-zarr-0.4": ("a.zarr", seed_zarr("0.4")),
    "ome-zarr-0.5": ("a.zarr", seed_zarr("0.5")),
    "seg-nrrd": ("a.seg.nrrd", seed_seg_nrrd),
    "patients": ("patients", seed_patients),
    "table": (f"patients/{TABLE}", seed_table),
    "channels": (CHANNELS, seed_channels),
    "rescue": (RESCUE, seed_rescue),
    "catalogue": (f"{STUDY}/catalogue.sqlite", seed_catalogue),
    "checkpoint": ("latest.pt", seed_checkpoint),
    "model": (BUNDLE, seed_model),
}


def mutate(path: Path, number: int) -> None:
    """Damage a file, or one or two files of a folder."""
    rng = np.random.default_rng(number)
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    for _ in range(1 if rng.random() < 0.8 else 2):
        file = files[rng.integers(len(files))]
        if file.exists():
            _mutate_file(file, rng)


def _mutate_file(file: Path, rng: np.random.Generator) -> None:
    data = bytearray(file.read_bytes())
    if not data:
        return
    kinds = [_bits, _bits, _number, _number, _float, _text, _text, _cut, _drop, _repeat, _zeros]
    kinds += [_noise, _whole]
    for _ in range(int(rng.integers(1, 4))):
        data = kinds[rng.integers(len(kinds))](data, rng)
        if not data:
            break
    if rng.random() < 0.01:
        file.unlink()
    else:
        file.write_bytes(bytes(data))


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Somewhere, more often in the header."""
    end = len(data) if rng.random() < 0.3 else min(len(data), 600)
    return int(rng.integers(end))


def _bits(data: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    value = HOSTILE_NUMBERS[rng.integers(len(HOSTILE_NUMBERS))]
    size = int(rng.choice([2, 4, 8]))
    order: Literal["little", "big"] = "little" if rng.choice([True, False]) else "big"
    packed = (value % (1 << 8 * size)).to_bytes(size, order)
    return _overwrite(data, packed, rng)


def _float(data: bytearray, rng: np.random.Generator) -> bytearray:
    value = HOSTILE_FLOATS[rng.integers(len(HOSTILE_FLOATS))]
    return _overwrite(data, struct.pack(str(rng.choice(["<f", ">f", "<d"])), value), rng)


def _text(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Replace a word; the length may change, as when somebody edits a header."""
    starts = [k for k in range(min(len(data) - 1, 4000)) if chr(data[k]).isalnum()]
    if not starts:
        return data
    start = starts[rng.integers(len(starts))]
    end = start
    while end < len(data) and chr(data[end]).isalnum():
        end += 1
    data[start:end] = HOSTILE_TEXT[rng.integers(len(HOSTILE_TEXT))]
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def _drop(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(data, rng)
    del data[start : start + int(rng.integers(1, 64))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(data, rng)
    part = data[start : start + int(rng.integers(1, 200))]
    data[start:start] = part * int(rng.integers(1, 20))
    return data


def _zeros(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = _place(data, rng)
    return _put(data, bytes(int(rng.integers(1, 200))), start)


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _overwrite(data, rng.bytes(int(rng.integers(1, 200))), rng)


def _whole(data: bytearray, rng: np.random.Generator) -> bytearray:
    return bytearray([b"", b"\0" * 2000, b"not an image\n" * 50, rng.bytes(5000)][rng.integers(4)])


def _overwrite(data: bytearray, new: bytes, rng: np.random.Generator) -> bytearray:
    return _put(data, new, _place(data, rng))


def _put(data: bytearray, new: bytes, start: int) -> bytearray:
    data[start : start + len(new)] = new
    return data
