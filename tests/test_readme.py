"""What the README and the user guide show has to work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK

from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.widgets.shortcuts import BOUND

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDE = (REPOSITORY / "docs" / "guide.md").read_text(encoding="utf-8")
AS_WRITTEN = "Config(minutes=20)"
TINY = 'Config(base_steps=8, steps=4, slice_size=48, device="cpu", threads=1)'


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert AS_WRITTEN in code
    cohort = make_phantom_cohort(tmp_path / "files", cases=2)
    named = {"images": cohort.images, "rough": cohort.labels, "corrected": cohort.truth}
    for name, folder in named.items():
        shutil.copytree(folder, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", code.replace(AS_WRITTEN, TINY)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bootstrapping" in done.stdout.splitlines()
    images, exported = (
        sorted((tmp_path / "images").iterdir()),
        sorted((tmp_path / "out").glob("*.nii.gz")),
    )
    assert [path.name for path in exported] == [path.name for path in images]
    for ours, image in zip(exported, images, strict=True):
        assert SimpleITK.ReadImage(ours).GetSize() == SimpleITK.ReadImage(image).GetSize()


def test_the_python_example_goes_through_the_door_alone() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    ours = [line for line in code.splitlines() if "import" in line and "napari_mlbseg" in line]
    assert ours == ["from napari_mlbseg.api import ("]


@pytest.mark.parametrize(("text", "folder"), [(README, "."), (GUIDE, "docs")])
def test_links_and_pictures_are_there(text: str, folder: str) -> None:
    local = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    assert local
    missing = [path for path in local if not (REPOSITORY / folder / path).is_file()]
    assert missing == []


def test_every_picture_is_shown() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md"))
    pictures = [path.name for path in (REPOSITORY / "docs" / "images").iterdir()]
    assert [name for name in pictures if f"](images/{name})" not in pages] == []


def test_every_key_is_told() -> None:
    assert [c.key for c in BOUND if c.key.replace("-", "+") not in GUIDE] == []
