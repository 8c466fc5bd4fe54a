"""What is built is what runs: the wheel, not the working tree."""

import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import napari_mlbseg

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY))
    (built,) = folder.glob("*.whl")
    return built


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd="/",
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"napari_mlbseg", f"napari_mlbseg-{napari_mlbseg.__version__}.dist-info"}
    sources = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "napari_mlbseg").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= set(names)
    assert {"napari_mlbseg/napari.yaml", "napari_mlbseg/py.typed"} <= set(names)


def test_manifest_of_the_wheel_is_valid(wheel: Path, tmp_path: Path) -> None:
    run(
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path),
        str(wheel),
    )
    # The target folder comes before the working tree, and npe2 imports every command from it.
    code = """
import napari_mlbseg, npe2, pathlib, sys
assert pathlib.Path(napari_mlbseg.__file__).is_relative_to(sys.argv[1]), napari_mlbseg.__file__
manifest = npe2.PluginManifest.from_distribution("napari-mlbseg")
manifest.validate_imports()
print(manifest.name, len(manifest.contributions.commands))
"""
    name, commands = run("-c", code, str(tmp_path), PYTHONPATH=str(tmp_path)).split()
    assert name == "napari-mlbseg"
    assert int(commands) >= 1


def test_an_index_would_take_it(wheel: Path) -> None:
    # No description that cannot be shown, no field that is missing.
    shown = run("-m", "twine", "check", "--strict", str(wheel))
    assert "PASSED" in shown


def test_links_and_pictures_of_the_description_are_absolute(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith("/METADATA"))
        description = files.read(name).decode()
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []
    home = "https://raw.githubusercontent.com/napari-mlbseg/napari-mlbseg/v"
    assert f"{home}{napari_mlbseg.__version__}/docs/images/window.png" in links


def test_metadata() -> None:
    found = metadata.metadata("napari-mlbseg")
    assert found["Version"] == napari_mlbseg.__version__
    assert "Framework :: napari" in found.get_all("Classifier", [])
    (script,) = metadata.entry_points(group="console_scripts", name="mlbseg")
    assert script.value == "napari_mlbseg.cli:main"
    (manifest,) = metadata.entry_points(group="napari.manifest", name="napari-mlbseg")
    assert manifest.value == "napari_mlbseg:napari.yaml"
