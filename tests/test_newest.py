"""The environments that tests run in: what is locked, and the newest napari."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = dict(
    line.split("==")
    for line in (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if "==" in line
)
# Notes what it is asked for, and makes environments in which it is the interpreter.
STUB = """#!/usr/bin/env bash
echo "$@" >>"{log}"
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
fi
"""


def newest(python: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/newest.sh", "--if-newer"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHON": python, "PIP_CONFIG_FILE": os.devnull, **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("binding", ["pyqt6", "pyside6", "pyqt5"])
def test_a_binding_is_what_napari_says_it_is(binding: str) -> None:
    first = Requirement(EXTRAS[binding][0])
    assert (first.name, first.extras) == ("napari", {binding})
    assert binding in (metadata.metadata("napari").get_all("Provides-Extra") or [])


def test_the_lock_has_what_is_needed_in_versions_that_are_allowed() -> None:
    locked = {canonicalize_name(name): version for name, version in LOCK.items()}
    asked = (*PROJECT["dependencies"], *EXTRAS["napari"], *EXTRAS["test"])
    needed = [Requirement(each) for each in asked]
    wrong = [
        str(one)
        for one in needed
        if locked.get(canonicalize_name(one.name), "") not in one.specifier
    ]
    assert wrong == []
    assert not [name for name in locked if name.startswith("nvidia")]  # the build for the CPU


def test_without_a_network_there_is_no_newer_napari() -> None:
    done = newest(sys.executable, PIP_INDEX_URL="http://127.0.0.1:1/simple", PIP_FIND_LINKS="")
    assert done.returncode == 0, done.stderr
    assert "No index within reach offers a newer napari" in done.stdout


def test_a_newer_napari_has_to_show_what_every_binding_shows(tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("needs a virtual screen")
    log, stub = tmp_path / "log", tmp_path / "python"
    stub.write_text(STUB.format(log=log))
    stub.chmod(0o755)
    done = newest(str(stub))
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    wanted = f"napari>{LOCK['napari']}"
    assert wanted in asked[0]
    assert "--dry-run" in asked[0]
    installed = [line for line in asked if "pip install" in line and "--dry-run" not in line]
    assert any(wanted in line and "[pyqt6,test]" in line for line in installed)
    assert re.search(r"-m pytest tests/widgets .*-m every_binding and not slow", asked[-1])
    assert not Path(asked[1].split()[-1]).exists()  # the environment is gone


# Has the locked torch on its disk, as a build for the CPU, and no network.
WHEEL = "file:///wheels/torch-9%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl"
OFFLINE_STUB = (
    STUB
    + f"""
[[ " $* " == *" --torch-backend "* ]] && exit 1
[[ " $* " == *" --report "* ]] && echo '{{{{"download_info": {{{{"url": "{WHEEL}"}}}}}}}}'
for each in "$@"; do
    [[ $each == *override.txt ]] && cat "$each" >>"{{log}}"
done
exit 0
"""
)


def test_torch_comes_as_a_build_for_the_cpu(tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("needs a virtual screen")
    log, stub = tmp_path / "log", tmp_path / "python"
    stub.write_text(OFFLINE_STUB.format(log=log))
    stub.chmod(0o755)
    done = resolved("lowest-direct", python=str(stub))
    assert done.returncode == 0, done.stderr
    assert f"torch: the locked {LOCK['torch']}" in done.stdout
    asked = log.read_text().splitlines()
    commands = [number for number, line in enumerate(asked) if "-m uv pip" in line]
    assert len(commands) == 4
    assert "--torch-backend cpu" in asked[commands.pop(0)]
    assert all(asked[number + 1] == f"torch @ {WHEEL}" for number in commands)
    assert any(f"torch=={LOCK['torch']}" in line for line in asked)


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_other_versions_have_to_pass_the_same_tests(tmp_path: Path, resolution: str) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("needs a virtual screen")
    log, stub = tmp_path / "log", tmp_path / "python"
    stub.write_text(STUB.format(log=log))
    stub.chmod(0o755)
    done = resolved(resolution, "-m", "not slow", python=str(stub))
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    [_, compiled] = [line for line in asked if "uv pip compile" in line]
    assert f"--resolution {resolution}" in compiled
    tested = [line for line in asked if "-m pytest" in line]
    assert [line.endswith("-m every_binding and not slow") for line in tested] == [False, True]
    assert not Path(asked[0].split()[-1]).exists()  # the environment is gone


def test_other_versions_are_left_out_where_no_index_is_within_reach() -> None:
    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_FIND_LINKS": ""}
    unreachable |= {"PIP_EXTRA_INDEX_URL": "http://127.0.0.1:1/simple"}
    done = resolved("highest", "--if-reachable", python=sys.executable, **unreachable)
    assert done.returncode == 0, done.stderr
    assert "No index within reach offers uv" in done.stdout


def resolved(*arguments: str, python: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/resolved.sh", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHON": python, "PIP_CONFIG_FILE": os.devnull, **settings},
        capture_output=True,
        text=True,
    )
