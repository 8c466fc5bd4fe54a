"""The folder that a model is exported to."""

import glob
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import workplace

_PACKAGE = "napari_mlbseg.standalone"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill: it is renamed to `path` at the end, or removed after an error.

    Raises
    ------
    UserError
        If `path` exists and is not an empty folder, or cannot be made.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already. Choose another folder, or remove this one.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_earlier(path)
        with workplace(path.parent) as work:
            filling = work.new(path)
            filling.mkdir()
            yield filling
            if path.exists():
                path.rmdir()
            work.place([path])
    except OSError as error:
        raise UserError(
            f"The model cannot be written to {path}: {error.strerror or error}. Choose another "
            "folder."
        ) from error


def _sweep_earlier(path: Path) -> None:
    """Remove unfinished folders of versions up to 0.1.0 that were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        if [inner.name for inner in left.iterdir()] == ["model"]:
            shutil.rmtree(left, ignore_errors=True)


def copy_standalone(names: Sequence[str], folder: Path, *, package: str = "") -> None:
    """Copy files of `napari_mlbseg.standalone`; they import each other from `package`.

    Without a package, they import each other as modules of the same folder.
    """
    folder.mkdir(exist_ok=True)
    prefix = f"{package}." if package else ""
    for name in names:
        text = files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")
        write_text(folder / name, text.replace(f"{_PACKAGE}.", prefix))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an indented JSON file, which people can read, too."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 on every platform; its folder is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def size_of(folder: Path) -> int:
    """Size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
