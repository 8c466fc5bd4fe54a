"""The documentation becomes a site without a warning, and leaves nothing out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from napari_mlbseg import api

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # As `make docs` does: a warning, such as a link that leads nowhere, is an error.
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"python -m sphinx (.*) -b html docs build/docs", recipe)
    assert "-W" in arguments.split()
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments.split(), "-b", "html", DOCS, folder],
        capture_output=True,
        text=True,
        timeout=1000,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_a_list(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = [path.stem for path in DOCS.glob("*.md") if path.stem != "index"]
    assert len(pages) > 10
    assert [page for page in pages if f'href="{page}.html"' not in index] == []


def test_every_public_name_is_described(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    named = set(re.findall(r'id="napari_mlbseg\.api\.(\w+)"', text))
    assert named == set(api.__all__) - {"Event", "Request"}
    assert ">>> " in re.sub("<.*?>", "", text).replace("&gt;", ">")


def test_pictures_come_along(site: Path) -> None:
    guide = (site / "guide.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="(_images/[\w.]+)"', guide)
    assert len(pictures) >= 6
    assert all((site / picture).is_file() for picture in pictures)


def test_the_list_of_public_names_is_the_door() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    described = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", page, re.M)
    assert len(described) == len(set(described))
    assert set(described) == set(api.__all__) - {"Event", "Request"}
