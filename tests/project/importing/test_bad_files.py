"""One file that cannot be imported, for whatever reason, is listed like the others."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.cohort import make_study

LATIN = b"caf\xe9"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes, limits")


def save(path: bytes, shape: tuple[int, int, int] = (9, 8, 5), high: int = 90) -> None:
    """A small image, or labels, at a path of any bytes."""
    voxels = np.random.default_rng(4).integers(0, high, shape).astype(np.uint8)
    Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), os.fsdecode(path))


@pytest.fixture
def images(tmp_path: Path) -> bytes:
    for name in ("a", "b"):
        save(os.fsencode(tmp_path / "images" / f"{name}.nii.gz"))
    return os.fsencode(tmp_path / "images")


def test_an_image_whose_name_is_no_text_is_listed(images: bytes, tmp_path: Path) -> None:
    save(images + b"/" + LATIN + b".nii.gz")
    study, imported = make_study(tmp_path / "s.mlbseg", Path(os.fsdecode(images)))
    with study:
        assert [case.id for case in study.cases] == ["a", "b"]
    [failure] = imported.failures
    assert "caf\ufffd.nii.gz has a name with bytes that are no UTF-8" in failure.reason
    failure.reason.encode()  # it can be shown


def test_labels_in_a_folder_whose_name_is_no_text_are_listed(images: bytes, tmp_path: Path) -> None:
    rough = os.fsencode(tmp_path) + b"/" + LATIN
    for name in (b"a", b"b"):
        save(rough + b"/" + name + b".nii.gz", high=2)
    with pytest.raises(UserError, match=r"caf./a\.nii\.gz has a name with bytes") as caught:
        make_study(
            tmp_path / "s.mlbseg", Path(os.fsdecode(images)), Path(os.fsdecode(rough)), "organ"
        )
    str(caught.value).encode()
    assert not (tmp_path / "s.mlbseg").exists()


WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import nibabel, zarr
from napari_mlbseg.project.importing.cohort import make_study

images, out, more = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
make_study(out / "warm.mlbseg", images / "a.nii.gz")[0].close()
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + more * 2**20,) * 2)
study, imported = make_study(out / "s.mlbseg", images)
print(*[case.id for case in study.cases])
print(*[failure.reason for failure in imported.failures])
study.close()
"""


@pytest.mark.parametrize("more_mib", [60, 120])
def test_an_image_that_needs_too_much_memory_is_listed(
    images: bytes,
    tmp_path: Path,
    other_process: Callable[..., subprocess.Popen[str]],
    more_mib: int,
) -> None:
    big = nibabel.Nifti1Image(np.zeros((9000, 9000, 2), np.uint8), np.eye(4))
    nibabel.save(big, os.fsdecode(images + b"/big.nii.gz"))
    process = other_process(WITH_LITTLE_MEMORY, os.fsdecode(images), tmp_path, more_mib)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    cases, failures = out.splitlines()
    assert cases == "a b"
    assert "big.nii.gz" in failures
    assert "memory" in failures
