"""Exports that are killed at each step: what is seen then, and what the next export makes of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import lps_of, voxels, write_series
from killed import killer

from napari_mlbseg.formats import placing
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case
from napari_mlbseg.project.exporting.hashes import sha256_of
from napari_mlbseg.project.exporting.provenance import provenance_path
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

CASE, OTHER = "scan_1", "scan_2"
SHAPE = (12, 10, 7)

PROGRAM = """
import zarr, highdicom.seg, skimage.measure
from napari_mlbseg.formats import exchange
from napari_mlbseg.formats.chunked import ome_zarr
from napari_mlbseg.formats.streamed import nifti
from napari_mlbseg.formats.dicom_out import segmentation as dicom_seg_out
from napari_mlbseg.formats.dicom_out import rtstruct
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case
from napari_mlbseg.project.study import Study

def export(study, out, kind, form, swap):
    if swap == "no":
        exchange._call = lambda: None
    with Study.open(Path(study), writable=False) as found:
        export_case(found, "scan_1", Path(out), ExportKind(kind), OutFormat(form))

serve(export)
"""


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """Two upright series, one of them with a corrected slice and with maps."""
    for name in (CASE, OTHER):
        write_series(tmp_path / "in" / name, voxels(SHAPE), lps_of())
    with Study.create(tmp_path / "s.mlbseg", author="ada") as made:
        import_folder(made, tmp_path / "in")
        made.set_classes(named("organ, lesion"))
        correct(made, 1)
        shape = made.case(CASE).geometry.shape
        made.arrays.create(CASE, ArrayName.TRUST)[:] = 0.5
        made.arrays.create(CASE, ArrayName.PROPOSED_LABELS)[:] = 1
        assert shape == SHAPE[::-1]
        yield made


def correct(study: Study, value: Any) -> None:
    mask = np.zeros(study.case(CASE).slice_shape(0), np.uint8)
    mask[2:6, 3:8] = value
    study.save_slice(SliceKey(CASE, 0, 3), mask, SliceState.CLEAN)
    if study.arrays.has(CASE, ArrayName.TRUST):
        study.arrays.open(CASE, ArrayName.TRUST)[:] = value / 8


def seen(folder: Path) -> dict[str, str]:
    """Every file and store that a person sees, by its hash."""
    return {p.name: sha256_of(p) for p in folder.iterdir() if not p.name.startswith(".")}


def told(path: Path) -> str | None:
    """The hash of a file as its provenance has it; None where no provenance stands beside it."""
    beside = provenance_path(path)
    return json.loads(beside.read_text())["sha256"] if beside.exists() else None


WAYS = [
    (ExportKind.LABELS, OutFormat.NIFTI, "yes"),
    (ExportKind.TRUST, OutFormat.NRRD, "yes"),
    (ExportKind.LABELS, OutFormat.OME_ZARR, "yes"),
    (ExportKind.LABELS, OutFormat.OME_ZARR, "no"),
    (ExportKind.LABELS, OutFormat.DICOM_SEG, "yes"),
    (ExportKind.LABELS, OutFormat.RTSTRUCT, "yes"),
    (ExportKind.VOLUMES, OutFormat.AUTO, "yes"),
]


@pytest.mark.parametrize(("kind", "form", "swap"), WAYS)
def test_a_killed_export_leaves_the_old_or_the_new_and_is_mended(
    study: Study, tmp_path: Path, kind: ExportKind, form: OutFormat, swap: str
) -> None:
    first = tmp_path / "first"
    old_paths = export_case(study, CASE, first, kind, form)
    assert all(told(path) == sha256_of(path) for path in old_paths)
    correct(study, 2)
    out, kills, half = tmp_path / "out", 0, 0
    with killer(PROGRAM) as process:
        while True:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(first, out)
            old = seen(out)
            arguments = (study.path, out, kind.value, form.value, swap)
            if not process.killed(kills + 1, out, *arguments):
                break
            kills += 1
            for path in (out / p.name for p in old_paths):
                if path.exists():
                    # Old or new, whole, and never beside a provenance of the other.
                    assert told(path) in (None, sha256_of(path)), kills
                    half += told(path) is None
                else:
                    assert swap == "no", kills
            # The next export into the folder, of another case, ends it or takes it away.
            export_case(study, OTHER, out, ExportKind.LABELS, OutFormat.NIFTI)
            assert not [p for p in out.iterdir() if p.name.startswith(".")], kills
            for path in (out / p.name for p in old_paths):
                assert told(path) == sha256_of(path), kills
    new = seen(out)
    assert kills > 5
    assert half > 0  # some kills did come between file and provenance
    assert new.keys() == old.keys()
    for path in (out / p.name for p in old_paths):
        assert told(path) == sha256_of(path)
        if kind is not ExportKind.VOLUMES and path.name != "scan_1_proposed_labels.nrrd":
            assert new[path.name] != old[path.name]
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_the_same_after_a_kill_in_a_folder_that_was_empty(study: Study, tmp_path: Path) -> None:
    out, kills = tmp_path / "out", 0
    with killer(PROGRAM) as process:
        while True:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            if not process.killed(kills + 1, out, study.path, out, "labels", "nifti", "yes"):
                break
            kills += 1
            path = out / f"{CASE}.nii.gz"
            assert not path.exists() or told(path) in (None, sha256_of(path))
            assert path.exists() or told(path) is None
            export_case(study, OTHER, out, ExportKind.LABELS, OutFormat.NIFTI)
            assert {p.name for p in out.iterdir()} - {
                f"{OTHER}.nii.gz",
                f"{OTHER}.provenance.json",
            } in (
                set(),
                {path.name, provenance_path(path).name},
            )
    assert kills > 5


def test_a_killed_data_set_is_whole_or_not_there(study: Study, tmp_path: Path) -> None:
    out, kills, whole = tmp_path / "out", 0, 0
    with killer(PROGRAM) as process:
        while True:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            step = 3 * kills + 1  # some of the many
            if not process.killed(step, out, study.path, out, "labels", "nnunet", "yes"):
                break
            kills += 1
            [*roots] = out.glob("Dataset*")
            whole += len(roots)
            for root in roots:
                assert (root / "dataset.json").is_file(), step
                assert told(root / "labelsTr" / f"{CASE}.nii.gz"), step
            export_case(study, OTHER, out, ExportKind.LABELS, OutFormat.NIFTI)
            assert not [p for p in out.iterdir() if p.name.startswith(".")], step
    assert kills > 3


def test_what_earlier_versions_left_is_swept(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = [f".{CASE}.0123abcd.nii.gz", f".{CASE}.provenance.json.89abcdef"]
    for name in left:
        (out / name).write_bytes(b"half")
    (out / f".{CASE}.0123abcd.ome.zarr.old" / "0").mkdir(parents=True)
    kept = [".notes.0123abcd.nii.gz", f".{CASE}.nii.gz", f".{CASE}.holidays.nii.gz"]
    for name in kept:
        (out / name).write_bytes(b"mine")
    export_case(study, CASE, out, ExportKind.LABELS, OutFormat.NIFTI)
    export_case(study, CASE, out, ExportKind.LABELS, OutFormat.OME_ZARR)
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == sorted(kept)


def test_an_export_under_way_is_not_swept_by_another(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with placing.workplace(out) as work:
        work.new(out / "a.txt").write_text("whole")
        export_case(study, CASE, out, ExportKind.LABELS, OutFormat.NIFTI)
        work.place([out / "a.txt"])
    assert (out / "a.txt").read_text() == "whole"
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
