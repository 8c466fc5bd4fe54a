"""The door for scripts: whole, typed, and light until it is used."""

import ast
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from napari_mlbseg import api

SOURCE = ast.parse(Path(api.__file__).read_text(encoding="utf-8"))
NEED_A_NETWORK = {"export_model", "export_predicted_probabilities"}
FUNCTIONS = sorted(
    name for name in api.__all__ if inspect.isfunction(getattr(api, name)) and name[0].islower()
)


def names_for_type_checkers() -> dict[str, str]:
    """Each name that is imported where only type checkers look, and from where."""
    (block,) = (
        node
        for node in SOURCE.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: f"{node.module}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_what_is_named_is_what_type_checkers_see() -> None:
    typed = names_for_type_checkers()
    assert sorted(typed) == sorted(api.__all__)
    for name, home in typed.items():
        assert getattr(api, name) is getattr(sys.modules[home], name)


def test_names_are_those_of_their_homes() -> None:
    # A class is pickled, shown and searched for under the name that the door gives it.
    for name in api.__all__:
        found = getattr(api, name)
        if inspect.isclass(found):
            assert found.__name__ == name
            assert pickle.loads(pickle.dumps(found)) is found


def test_unknown_names_are_told() -> None:
    with pytest.raises(AttributeError, match=r"'napari_mlbseg.api' has no attribute 'Studdy'"):
        api.Studdy  # type: ignore[attr-defined]  # noqa: B018
    done = subprocess.run(
        [sys.executable, "-c", "from napari_mlbseg.api import Studdy"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "ImportError: cannot import name 'Studdy'" in done.stderr


def test_all_names_are_listed() -> None:
    assert set(api.__all__) <= set(dir(api))


CLASSES_THAT_SCRIPTS_MAKE = {"Bootstrapper", "Config", "Inbox", "SliceKey", "Study"}


@pytest.mark.parametrize(
    "name", sorted((set(FUNCTIONS) - NEED_A_NETWORK) | CLASSES_THAT_SCRIPTS_MAKE)
)
def test_what_scripts_call_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(api, name)) or "")


@pytest.mark.parametrize("name", sorted(api.__all__))
def test_everything_is_described(name: str) -> None:
    found = getattr(api, name)
    if name not in {"Event", "Request"}:  # unions
        assert inspect.getdoc(found)
