"""How fast a study reads and saves slices of a 300 x 512 x 512 CT-like int16 image.

    python benchmarks/study_io.py --json docs/study_io.json

The first table compares chunks and codecs of the image, median time to read a random slice along
z, y and x; the second measures the study itself. Files are in the page cache of the system.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from zarr.codecs import BloscCodec

from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

SHAPE = (300, 512, 512)
READS = 21
LAYOUTS: tuple[tuple[tuple[int, ...], tuple[int, ...] | None], ...] = (
    ((32, 128, 128), None),
    ((64, 64, 64), None),
    ((128, 128, 128), None),
    ((64, 64, 64), (320, 256, 256)),
    ((32, 32, 32), (320, 128, 128)),
    ((1, 512, 512), None),
)
CODECS = {
    "none": None,
    "lz4": BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
    "zstd": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    voxels = ct_like()
    with tempfile.TemporaryDirectory() as folder:
        layouts = [
            measure_layout(Path(folder) / f"{i}-{codec}.zarr", voxels, layout, codec)
            for i, layout in enumerate(LAYOUTS)
            for codec in CODECS
        ]
        study = measure_study(Path(folder) / "bench.mlbseg", voxels)
    show("Layouts of the image", layouts)
    show("The study, ms", [{"what": what, "median ms": ms} for what, ms in study.items()])
    if options.json:
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "zarr": zarr.__version__,
        }
        record = {"about": about, "layouts": layouts, "study_ms": study}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def ct_like() -> NDArray[np.int16]:
    """A noisy ball of tissue in noisy air."""
    rng = np.random.default_rng(0)
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    radius = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2
    noise = rng.standard_normal(SHAPE, dtype=np.float32)
    return np.where(radius < 0.8, 40 + 15 * noise, -1000 + 5 * noise).astype(np.int16)


def measure_layout(
    path: Path,
    voxels: NDArray[np.int16],
    layout: tuple[tuple[int, ...], tuple[int, ...] | None],
    codec: str,
) -> dict[str, Any]:
    chunks, shards = layout
    array = zarr.create_array(
        path, shape=SHAPE, dtype="i2", chunks=chunks, shards=shards, compressors=CODECS[codec]
    )
    array[:] = voxels
    files = [file for file in path.rglob("*") if file.is_file()]
    row: dict[str, Any] = {"chunks": chunks, "shards": shards, "codec": codec}
    row |= {"MB": round(sum(file.stat().st_size for file in files) / 1e6), "files": len(files)}
    for axis, name in enumerate("zyx"):
        row[f"{name} ms"] = median_ms(partial(slice_of, array, axis), axis)
    return row


def slice_of(array: zarr.Array[Any], axis: int, index: int) -> object:
    return array[(slice(None),) * axis + (index,)]


def measure_study(path: Path, voxels: NDArray[np.int16]) -> dict[str, float]:
    geometry = Geometry.from_affine(SHAPE[::-1], np.diag([-0.7, -0.7, 1.5, 1.0]))
    case = NewCase("ct", Path("ct.nii"), Volume(voxels, geometry), SourceInfo("nifti", b""))
    mask = (voxels[150] > 0).astype(np.uint8)
    weights = np.random.default_rng(1).random(mask.shape, dtype=np.float32)
    found: dict[str, float] = {}
    with Study.create(path) as study:
        start = time.perf_counter()
        study.add_cases([case])
        found["import the image"] = round(1e3 * (time.perf_counter() - start), 1)
        for axis, name in enumerate("zyx"):
            found[f"read an image slice along {name}"] = median_ms(
                partial(study.arrays.read, "ct", ArrayName.IMAGE, axis), axis
            )
        for name, block in (
            (ArrayName.PREDICTION, mask),
            (ArrayName.META_WEIGHTS_INITIAL, weights),
        ):
            study.arrays.create("ct", name)
            found[f"write a slice of {name}"] = median_ms(
                partial(write_slice, study, name, block), 0
            )
        found["save a corrected slice"] = median_ms(
            lambda i: study.save_slice(SliceKey("ct", 0, i), mask, SliceState.CLEAN), 0
        )
    return found


def write_slice(study: Study, name: ArrayName, block: NDArray[Any], index: int) -> None:
    study.arrays.write("ct", name, 0, index, block[None])


def median_ms(act: Callable[[int], object], axis: int) -> float:
    times = []
    for index in np.random.default_rng(7).integers(0, SHAPE[axis], READS):
        start = time.perf_counter()
        act(int(index))
        times.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(times), 2)


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
