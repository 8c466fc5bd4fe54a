"""A server gets the engine without a window; a window finds what it needs, or says what to do."""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import napari_mlbseg
from napari_mlbseg import window_needs
from napari_mlbseg.errors import UserError

ROOT = Path(napari_mlbseg.__file__).parent
PROJECT = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
WINDOW = {"napari", "vispy", "qtpy", "superqt", "magicgui", "app-model", "npe2", "pyopengl"}


def closure(requirements: Iterable[str]) -> set[str]:
    """All distributions that pip installs for these requirements, as this environment has them."""
    todo = [Requirement(each) for each in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        one = todo.pop()
        name, extras = str(canonicalize_name(one.name)), frozenset(one.extras)
        if (name, extras) in seen or not holds(one, {""}):
            continue
        seen.add((name, extras))
        if name == PROJECT["name"]:  # as it is now, whatever is installed
            wanted = [Requirement(each) for extra in extras for each in EXTRAS[extra]]
        else:
            asked = {"", *extras}
            told = [Requirement(each) for each in metadata.requires(name) or ()]
            wanted = [without_marker(each) for each in told if holds(each, asked)]
        todo += wanted
    return {name for name, _ in seen}


def holds(one: Requirement, extras: set[str]) -> bool:
    return one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)


def without_marker(one: Requirement) -> Requirement:
    one.marker = None
    return one


def imported(paths: Iterable[Path]) -> set[str]:
    """Distributions that these files import, by whatever name."""
    at_home = metadata.packages_distributions()
    return {
        str(canonicalize_name(at_home[top][0]))
        for path in paths
        for top in tops(path)
        if top in at_home and top != "napari_mlbseg"
    }


def tops(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


def test_a_server_gets_neither_napari_nor_qt() -> None:
    base = closure(BASE)
    assert {"torch", "zarr", "typer", "pyqtgraph"} <= base
    assert not base & WINDOW
    assert not [name for name in base if name.startswith(("pyqt5", "pyqt6", "pyside", "shiboken"))]


def test_the_engine_has_all_that_it_imports() -> None:
    widgets = ROOT / "widgets"
    files = [path for path in ROOT.rglob("*.py") if not path.is_relative_to(widgets)]
    missing = imported(files) - closure([*BASE, *EXTRAS["deploy"], *EXTRAS["dicomweb"]])
    assert missing == {"napari"}  # of `mlbseg gui`, which asks first


@pytest.mark.parametrize("binding", ["pyqt6", "pyqt5"])
def test_the_window_has_all_that_it_imports(binding: str) -> None:
    with_binding = closure([*BASE, *EXTRAS[binding]])
    assert imported((ROOT / "widgets").rglob("*.py")) <= with_binding
    assert binding in with_binding


def test_the_plugin_manager_of_napari_needs_no_extra() -> None:
    # It runs `pip install napari-mlbseg` where napari and a binding are.
    there = closure(BASE) | closure(["napari"])
    needed = imported((ROOT / "widgets").rglob("*.py"))
    assert {"napari", "pyqtgraph", "magicgui"} <= needed
    assert needed <= there
    assert {Requirement(each).name for each in EXTRAS["napari"]} <= closure(["napari"])


def test_every_binding_brings_the_window() -> None:
    for binding in ("pyqt6", "pyside6", "pyqt5"):
        wanted = [Requirement(each) for each in EXTRAS[binding]]
        assert "napari-mlbseg[napari]" in [str(each) for each in wanted]


def test_what_is_missing_or_too_old_is_told() -> None:
    told = [
        "numpy>=1",
        "nothing-like-this>=1; extra == 'napari'",
        "pytest<1; extra == 'napari'",
        "pytest>=8; extra == 'napari'",
        "neither-this; extra == 'docs'",
        "nor-this; python_version < '3' and extra == 'napari'",
    ]
    here = metadata.version("pytest")
    lacking = ["nothing-like-this>=1", f"pytest<1 (here is {here})"]
    assert window_needs.unmet(told) == lacking
    assert window_needs.unmet(["pytest>=8; extra == 'napari'"]) == []


def test_what_to_install_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_needs, "BINDINGS", ("no_binding_like_this",))
    with pytest.raises(UserError, match="not installed here: a Qt binding") as caught:
        window_needs.check_window()
    assert str(caught.value).endswith('Run: pip install "napari-mlbseg[pyqt6]"')
