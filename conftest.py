"""Examples in docstrings run where they cannot hurt, among the files that they speak of."""

import shutil
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two phantoms: `images`, `rough` labels, and the `truth`."""
    from napari_mlbseg.samples import make_phantom_cohort

    folder = tmp_path_factory.mktemp("phantoms")
    make_phantom_cohort(folder, cases=2).labels.rename(folder / "rough")
    return folder


@pytest.fixture(autouse=True)
def where_examples_run(request: pytest.FixtureRequest) -> None:
    """Each docstring has a copy of the phantoms as its working folder."""
    if not isinstance(request.node, DoctestItem):
        return
    folder: Path = request.getfixturevalue("tmp_path") / "here"
    shutil.copytree(request.getfixturevalue("phantoms"), folder)
    request.getfixturevalue("monkeypatch").chdir(folder)
