import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

MakeCase = Callable[..., NewCase]


@pytest.fixture
def make_case() -> MakeCase:
    """Makes a case of 6 x 7 x 8 voxels (z y x), thickest along z."""

    def make(name: str = "a", *, labels: bool = False, dtype: str = "int16") -> NewCase:
        geometry = Geometry.from_affine((8, 7, 6), np.diag([-1.0, -1.0, 3.0, 1.0]))
        rng = np.random.default_rng(3)
        image = Volume(rng.integers(-100, 100, geometry.shape).astype(dtype), geometry)
        source = SourceInfo("nifti", b"\x00header")
        if not labels:
            return NewCase(name, Path(f"/scans/{name}.nii"), image, source)
        initial = Volume(rng.integers(0, 3, geometry.shape).astype(np.uint8), geometry)
        return NewCase(
            name, Path(f"/scans/{name}.nii"), image, source, Path(f"/rough/{name}.nii"), initial
        )

    return make


@pytest.fixture
def study(tmp_path: Path, make_case: MakeCase) -> Iterator[Study]:
    with Study.create(tmp_path / "cohort.mlbseg", author="ada") as study:
        study.add_cases([make_case()])
        yield study


@pytest.fixture
def other_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program with arguments; whatever is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
