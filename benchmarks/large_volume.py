"""Import of a 512 x 512 x 800 int16 CT: time, memory, time to the first slice, export.

    python benchmarks/large_volume.py --json docs/large_volume.json

Each import runs in a process of its own, whose peak memory is measured, including the interpreter
and its libraries. The file was just written, so it is in the page
cache of the system: "copy" is the time to copy it. Needs Linux.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

SHAPE = (512, 512, 800)
FORMATS = ("nii", "nii.gz", "dicom", "mha", "nrrd", "zarr", "tif", "h5")

WORK = """
import json, sys, time
from pathlib import Path
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.exporting.export import ExportKind, export_case
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study

def peak_mb():
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent, too
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

image, study_path, out, job = map(Path, sys.argv[1:])
before, started, calls = peak_mb(), time.perf_counter(), []
found = {}
if job.name == "import":
    with Study.create(study_path) as study:
        import_folder(study, image, progress=lambda *step: calls.append(time.perf_counter()))
        gaps = [b - a for a, b in zip([started, *calls], calls)]
        found["longest_without_progress_s"] = max(gaps)
elif job.name == "open":
    with Study.open(study_path, writable=False) as study:
        case = study.cases[0]
        study.arrays.read(case.id, ArrayName.IMAGE, case.axis, 400)
elif job.name == "export":
    with Study.open(study_path) as study:
        case = study.cases[0]
        study.arrays.create(case.id, ArrayName.META_WEIGHTS_INITIAL)
        study.arrays.create(case.id, ArrayName.META_WEIGHTS_PSEUDO)
        started = time.perf_counter()
        export_case(study, case.id, out, ExportKind.WEIGHTS)
        found["weights_seconds"] = time.perf_counter() - started
        started = time.perf_counter()
        export_case(study, case.id, out, ExportKind.LABELS)
found |= {"seconds": time.perf_counter() - started, "peak_mb": peak_mb(), "before_mb": before}
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--format", choices=FORMATS, action="append")
    options = parser.parse_args()
    stored = ct_like()
    rows = []
    for kind in options.format or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), kind, stored))
            print(rows[-1], file=sys.stderr, flush=True)
    show(rows)
    if options.json is not None:
        options.json.write_text(json.dumps({"shape": SHAPE, "formats": rows}, indent=2) + "\n")


def ct_like() -> NDArray[np.int16]:
    """Noise on a smooth body, about as compressible as a CT."""
    rng = np.random.default_rng(0)
    plane = 40 * np.sin(np.linspace(0, 9, 512))[:, None] * np.cos(np.linspace(0, 7, 512))
    stored = np.empty(SHAPE, np.int16, order="F")
    for k in range(SHAPE[2]):
        stored[:, :, k] = plane + k / 8 + rng.normal(0, 12, plane.shape)
    return stored


def measure(folder: Path, kind: str, stored: NDArray[np.int16]) -> dict[str, Any]:
    image = write(folder / "in", kind, stored)
    started = time.perf_counter()
    copy = shutil.copytree if image.is_dir() else shutil.copy
    copied = copy(image, folder / "copied")
    copy_s = time.perf_counter() - started
    size = sum(f.stat().st_size for f in [image, *image.rglob("*")] if f.is_file())
    (shutil.rmtree if image.is_dir() else os.remove)(copied)
    study, out = folder / "s.mlbseg", folder / "out"
    jobs = {
        job: json.loads(
            subprocess.run(
                [sys.executable, "-c", WORK, str(image), str(study), str(out), job],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for job in ("import", "open", "export")
    }
    return {"format": kind, "size_mb": size / 1e6, "copy_s": copy_s, **jobs}


def write(folder: Path, kind: str, stored: NDArray[np.int16]) -> Path:
    """The same voxels in another format."""
    folder.mkdir()
    path = folder / f"ct.{kind}"
    affine = np.diag([-0.7, -0.7, 1.0, 1.0])
    if kind in ("nii", "nii.gz"):
        nib.openers.Opener.default_compresslevel = 1
        nib.save(nib.Nifti1Image(stored, affine), path)
    elif kind in ("mha", "nrrd"):
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(stored.transpose(2, 1, 0))
        image.SetSpacing((0.7, 0.7, 1.0))
        sitk.WriteImage(image, str(path), False)
    elif kind == "tif":
        import tifffile

        metadata = {
            "axes": "ZYX",
            "PhysicalSizeX": 700,
            "PhysicalSizeY": 700,
            "PhysicalSizeZ": 1000,
        }
        tifffile.imwrite(path, stored.transpose(2, 1, 0), ome=True, metadata=metadata)
    elif kind == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=stored, chunks=(64, 64, 100))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
        if kind == "zarr":
            from zarr_files import write_zarr

            write_zarr(path, stored.transpose(2, 1, 0), chunks=(64, 128, 128))
        else:
            from dicom_files import write_series

            path = folder / "series"
            write_series(path, stored, np.diag([0.7, 0.7, 1.0, 1.0]), RescaleIntercept=-1024)
    return path


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(
        *("format", "MB", "copy s", "import s", "peak MB", "no progress s", "open + slice s"),
        *("labels out s", "weights out s", "peak MB"),
    )
    for row in rows:
        numbers = (
            *(row["size_mb"], row["copy_s"], row["import"]["seconds"], row["import"]["peak_mb"]),
            *(row["import"]["longest_without_progress_s"], row["open"]["seconds"]),
            *(row["export"]["seconds"], row["export"]["weights_seconds"], row["export"]["peak_mb"]),
        )
        table.add_row(row["format"], *(f"{number:.4g}" for number in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
