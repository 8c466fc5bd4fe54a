"""Who may import whom; the picture is in docs/architecture.md."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import napari_mlbseg

ROOT = Path(napari_mlbseg.__file__).parent

# cli -> simulation -> engine; cli, widgets -> report -> engine;
# cli, widgets -> engine -> project -> formats -> volume;
# standalone leaves with a model
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "former_names": set(),
    "window_needs": {"errors"},
    "volume": {"errors"},
    "formats": {"volume", "errors"},
    "project": {"former_names", "formats", "volume", "errors"},
    "standalone": set(),
    "engine": {"former_names", "standalone", "project", "formats", "volume", "errors"},
    "report": {"engine", "project", "formats", "volume", "errors"},
    "samples": {"formats", "volume", "errors"},
    "demo": {"samples", "engine", "project", "formats", "volume", "errors"},
    "widgets": {
        *("samples", "window_needs", "report", "engine", "project", "formats", "volume", "errors"),
    },
    "simulation": {"engine", "project", "formats", "volume", "errors"},
    "api": {"samples", "report", "engine", "project", "formats", "volume", "errors"},
    "cli": {
        *("former_names", "demo", "report", "simulation", "engine", "project", "formats", "volume"),
        *("errors", "window_needs"),
    },
}
# Within a part: which room (or file beside the rooms) may import which of the others.
ROOMS: dict[str, dict[str, set[str]]] = {
    "engine": {
        "events": set(),
        "config": set(),
        "interruption": set(),
        "wording": {"events"},
        "forecast": {"wording"},
        "nets": set(),
        "steps": {"nets"},
        "data": {"config", "interruption", "nets"},
        "training": {"config", "data", "events", "interruption", "nets", "steps"},
        "predictions": {"data", "events", "interruption", "nets", "steps", "training"},
        "session": {
            *("config", "data", "events", "forecast", "interruption", "nets", "predictions"),
            *("steps", "training"),
        },
        "loop": {"config", "events", "nets", "session", "training"},
        "deploy": {"forecast", "nets", "training"},
    },
    "project": {
        "folder": set(),
        "records": {"folder"},
        "catalogue": {"folder", "records"},
        "arrays": {"catalogue", "folder", "records"},
        "labels": {"arrays", "catalogue", "records"},
        "changes": {"arrays", "catalogue", "folder", "records"},
        "merging": {"arrays", "catalogue", "folder", "records"},
        "study": {"arrays", "catalogue", "changes", "folder", "labels", "merging", "records"},
        "sharing": {"folder", "records", "study"},
        "tidying": {"records"},
        "rescue": {"records", "study"},
        "rescue_files": {"folder", "records", "rescue", "study"},
        "repairing": {"arrays", "catalogue", "folder", "records", "study"},
        "importing": {"arrays", "catalogue", "folder", "records", "study"},
        "exporting": {
            *("arrays", "catalogue", "folder", "importing", "labels", "records", "study"),
            "tidying",
        },
    },
    "formats": {
        "anatomy": set(),
        "limits": set(),
        "source": set(),
        "exchange": set(),
        "placing": {"exchange"},
        "scan": {"limits", "source"},
        "apart": {"limits"},
        "overlaps": set(),
        "masks": {"limits", "overlaps", "scan"},
        "plain": {"scan", "source"},
        "streamed": {"anatomy", "limits", "overlaps", "plain", "scan", "source"},
        "chunked": {"limits", "plain", "scan", "source", "streamed"},
        "dicom": {"apart", "limits", "masks", "overlaps", "scan", "source"},
        "dicom_out": {"anatomy", "dicom", "scan", "source", "streamed"},
        "registry": {
            *("anatomy", "dicom", "masks", "placing", "plain", "scan", "source", "streamed"),
        },
        "grids": {"apart", "limits", "registry", "scan", "source"},
    },
    "widgets": {
        "requests": set(),
        "shortcuts": set(),
        "focus": set(),
        "preferences": set(),
        "tools": set(),
        "sample_study": {"requests"},
        "panels": {"requests", "shortcuts"},
        "background": {"preferences", "requests"},
        "case": {"background", "tools"},
        "keeping": {"background", "case"},
        "refusals": set(),
        "on_view": {"background", "case", "keeping", "refusals"},
        "changes": {"background", "keeping", "on_view", "refusals"},
        "workbench": {
            *("background", "case", "changes", "keeping", "on_view", "preferences", "refusals"),
            "requests",
        },
        "toolbox": {"background", "case", "panels", "tools", "workbench"},
        "conflicts": {"panels", "refusals", "workbench"},
        "lifetime": {"background", "case", "keeping", "panels", "refusals", "workbench"},
        "reading": {"background", "case", "focus", "panels", "preferences", "workbench"},
        "dock": {
            *("background", "case", "conflicts", "focus", "lifetime", "panels", "preferences"),
            *("reading", "refusals", "requests", "sample_study", "shortcuts", "toolbox"),
            "workbench",
        },
        "reader": {"panels"},
        "contributions": {"case", "dock"},
        "palette": {"dock", "shortcuts"},
    },
}
# Only here: the parts that may import what the name stands for.
HOME_OF = {
    "torch": {"engine", "simulation", "standalone"},
    "monai": {"engine", "simulation", "standalone"},
    "jaxtyping": {"engine"},
    "napari": {"widgets"},
    "qtpy": {"widgets"},
    "superqt": {"widgets"},
    "magicgui": {"widgets"},
    "pyqtgraph": {"widgets"},
    "PyQt5": set(),
    "PyQt6": set(),
    "PySide6": set(),
    "sqlite3": {"project"},
    "filelock": {"project", "formats"},
    "platformdirs": {"project"},
    "zarr": {"project", "formats"},
    "pydicom": {"formats"},
    "dicomweb_client": {"formats"},
    "requests": {"formats"},
    "h5py": {"formats"},
    "tifffile": {"formats"},
    "nibabel": {"formats", "samples", "standalone"},
    "onnx": {"engine"},
    "onnxruntime": {"engine", "standalone"},
    "typer": {"cli"},
    "rich": {"cli"},
    "packaging": {"window_needs"},
    "matplotlib": {"demo", "report"},
}
HEAVY: tuple[str, ...] = (
    "torch",
    "monai",
    "napari",
    "qtpy",
    "PyQt5",
    "PyQt6",
    "matplotlib",
    "zarr",
    "scipy",
)
HEAVY += ("pydicom", "h5py", "tifffile", "SimpleITK", "PySide6")


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    part: str
    """First name below the package: a module or a sub-package."""
    target: str
    lazy: bool
    """Inside a function."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def imports_of(path: Path) -> Iterator[Import]:
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative}:{node.lineno}: write absolute imports"
            assert node.module is not None
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(str(relative), node.lineno, part, target, id(node) in lazy)


ALL = [found for path in sorted(ROOT.rglob("*.py")) for found in imports_of(path)]
WITHIN = [found for found in ALL if found.target.split(".")[0] == "napari_mlbseg"]


def test_there_is_something_to_check() -> None:
    assert len(WITHIN) > 10
    assert {found.part for found in ALL} <= set(MAY_IMPORT), "a new part needs a place in the arrow"


def opens_a_window(found: Import, target: str) -> bool:
    """`mlbseg gui` is the one way from the command line to a window."""
    return found.part == "cli" and found.lazy and target in ("widgets", "napari")


def test_imports_follow_the_arrow() -> None:
    wrong = []
    for found in WITHIN:
        target = found.target.split(".")[1]
        if target in (found.part, "__version__"):
            continue
        if target not in MAY_IMPORT[found.part] and not opens_a_window(found, target):
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", sorted(ROOMS))
def test_imports_within_a_part_follow_the_arrow(part: str) -> None:
    found: dict[str, set[str]] = {path.stem: set() for path in (ROOT / part).glob("*")}
    found = {room: set() for room in found if not room.startswith("__")}
    for one in WITHIN:
        target = one.target.split(".")
        if one.part != part or target[1] != part or len(Path(one.file).parts) < 2:
            continue
        room = Path(one.file).parts[1].removesuffix(".py")
        if target[2] != room:
            found[room].add(target[2])
    # As many arrows as are needed, and no other: one that is gone leaves the table, too.
    assert found == ROOMS[part]


@pytest.mark.parametrize("part", sorted(ROOMS))
def test_no_arrows_within_a_part_make_a_circle(part: str) -> None:
    drawn: set[str] = set()
    for room, others in ROOMS[part].items():  # each is listed below all that it may import
        assert others <= drawn, f"{room} imports {others - drawn}, which stands below it"
        drawn.add(room)


@pytest.mark.parametrize("library", sorted(HOME_OF))
def test_libraries_stay_at_home(library: str) -> None:
    wrong = [
        str(found)
        for found in ALL
        if found.target.split(".")[0] == library
        and found.part not in HOME_OF[library]
        and not opens_a_window(found, library)
    ]
    assert not wrong, "\n".join(wrong)


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    report = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["napari_mlbseg", "napari_mlbseg.api", "napari_mlbseg.cli"])
def test_import_is_light(module: str) -> None:
    assert not modules_after(f"import {module}") & set(HEAVY)


def test_help_is_light() -> None:
    code = """
import sys
from napari_mlbseg.cli import main
sys.argv = ["mlbseg", "--help"]
try:
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        main()
except SystemExit:
    assert "init" in shown.getvalue()
"""
    assert not modules_after(code) & set(HEAVY)


def test_discovery_imports_no_torch() -> None:
    # What napari imports when the dock opens or a run is prepared, before a run starts.
    code = "import napari_mlbseg.engine.loop, napari_mlbseg.engine.config, napari_mlbseg.samples"
    assert not modules_after(code) & {"torch", "monai", "napari", "qtpy", "PyQt5", "PyQt6"}


def test_scripts_load_torch_with_a_run_and_never_a_window() -> None:
    code = "from napari_mlbseg.api import Bootstrapper, Study, export_study, import_folder, suggest"
    assert not modules_after(code) & {"torch", "monai", "napari", "qtpy", "PyQt5", "PyQt6"}
    everything = "from napari_mlbseg.api import *"
    assert not modules_after(everything) & {"napari", "qtpy", "superqt", "PyQt5", "PyQt6"}


def test_engine_imports_where_qt_and_napari_are_blocked() -> None:
    engine = sorted(
        ".".join(("napari_mlbseg", *path.relative_to(ROOT).with_suffix("").parts))
        for path in (ROOT / "engine").rglob("*.py")
    )
    code = f"""
import importlib, sys
for name in ("napari", "qtpy", "superqt", "magicgui", "PyQt5", "PyQt6", "PySide2", "PySide6"):
    sys.modules[name] = None
for name in {[name.removesuffix(".__init__") for name in engine]!r}:
    importlib.import_module(name)
importlib.import_module("napari_mlbseg.demo")
"""
    assert "torch" in modules_after(code)
