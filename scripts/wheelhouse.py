"""Makes a wheelhouse: a folder with everything that an installation without a network needs.

Packages in the versions of requirements.lock, each with its hash, and an installer that needs no
administrator. Run it where PyPI can be reached, then carry the folder over. docs/offline.md tells
the rest.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class System:
    """What a system is called by uv and by pip; the largest version of glibc or macOS counts."""

    uv: str
    platforms: tuple[str, ...]
    installer: str


SYSTEMS: Mapping[str, System] = {
    "linux": System(
        "x86_64-manylinux_2_28",
        (
            *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)),
            *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
        ),
        "install.sh",
    ),
    "windows": System("x86_64-pc-windows-msvc", ("win_amd64",), "install.bat"),
    "macos": System("aarch64-apple-darwin", ("macosx_14_0_arm64",), "install.sh"),
}
INSTALLERS: Mapping[str, str] = {
    "install.sh": """#!/bin/sh
# Installs napari-mlbseg from this folder alone: no network, no administrator.
# Usage: sh install.sh [FOLDER]   (by default ~/napari-mlbseg; PYTHON names the interpreter)
set -eu
target=${1:-$HOME/napari-mlbseg}
cd "$(dirname "$0")"
"${PYTHON:-python@VERSION@}" -m venv "$target"
"$target/bin/python" -m pip install --isolated --disable-pip-version-check --no-cache-dir \\
    --no-index --find-links wheels --only-binary :all: --require-hashes -r requirements.txt
echo "Installed. Start the window with: $target/bin/mlbseg gui"
""",
    "install.bat": """@echo off
rem Installs napari-mlbseg from this folder alone: no network, no administrator.
rem Usage: install.bat [FOLDER]   (by default napari-mlbseg in your own folder)
setlocal
set "target=%~1"
if "%target%"=="" set "target=%USERPROFILE%\\napari-mlbseg"
cd /d "%~dp0"
py -@VERSION@ -m venv "%target%" || exit /b 1
"%target%\\Scripts\\python" -m pip install --isolated --disable-pip-version-check --no-cache-dir ^
    --no-index --find-links wheels --only-binary :all: --require-hashes ^
    -r requirements.txt || exit /b 1
echo Installed. Start the window with: "%target%\\Scripts\\mlbseg" gui
""",
}


def write_installer(folder: Path, system: str, version: str) -> Path:
    """Write the installer of a system, for a version of Python, into the folder; returns it."""
    path = folder / SYSTEMS[system].installer
    text = INSTALLERS[path.name].replace("@VERSION@", version)
    path.write_text(text, encoding="ascii", newline="\r\n" if path.suffix == ".bat" else "\n")
    path.chmod(0o755)
    return path


def hashed(wheel: Path, extras: str = "") -> str:
    """A line of requirements for a wheel: its name, its version and its hash."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}{extras}=={version} --hash=sha256:{digest}\n"


def constraints(lock: str) -> str:
    """The lock without Qt, whose wheels have other versions on other systems."""
    lines = lock.splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"#|(?i:pyqt\d|pyside|shiboken)", line))


def collect(folder: Path, system: str, version: str, torch: str | Path | None) -> None:
    """Fill the folder with wheels, requirements and an installer.

    `torch` is an index of builds of torch, or a folder with one; without it, PyPI's build is taken.
    """
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("*.whl"):
        old.unlink()
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, REPOSITORY])
    (own,) = wheels.glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        tools = Path(name)
        run([sys.executable, "-m", "venv", tools / "env"])
        python = tools / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run([python, "-m", "pip", "install", "-qq", "pip>=25", "uv>=0.6.9"])
        lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
        (tools / "constraints.txt").write_text(constraints(lock), encoding="utf-8")
        for_uv, for_pip = torch_from(torch)
        # uv knows what another system needs; pip would look at this one.
        run(
            [
                *(python, "-m", "uv", "pip", "compile", "-q", "--generate-hashes"),
                *("--extra", "pyqt6", "--constraint", tools / "constraints.txt", *for_uv),
                *("--python-version", version, "--python-platform", SYSTEMS[system].uv),
                *("--output-file", tools / "requirements.txt", REPOSITORY / "pyproject.toml"),
            ],
            MACOSX_DEPLOYMENT_TARGET="14.0",
        )
        run(
            [
                *(python, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"),
                *("--python-version", version, "--implementation", "cp", "--dest", wheels),
                *(f"--platform={platform}" for platform in SYSTEMS[system].platforms),
                *("--require-hashes", "-r", tools / "requirements.txt", *for_pip),
            ]
        )
        compiled = (tools / "requirements.txt").read_text(encoding="utf-8")
    requirements = hashed(own, "[pyqt6]") + compiled
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    write_installer(folder, system, version)


def torch_from(torch: str | Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Options for uv and for pip that lead to a build of torch; none for the one of PyPI."""
    if torch is None:
        return (), ()
    if isinstance(torch, Path):
        return ("--find-links", str(torch)), ("--find-links", str(torch))
    # Such an index holds old releases of what torch needs, too.
    best = ("--index-strategy", "unsafe-best-match")
    return ("--extra-index-url", torch, *best), ("--extra-index-url", torch)


def run(command: Sequence[object], **environment: str) -> None:
    """Run a program; where it fails, so does this."""
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, **environment})


def main() -> None:
    """Read the command line, and say what was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--system", choices=SYSTEMS, required=True)
    parser.add_argument("--python", default="3.13", help="the version that runs it, as 3.13")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--torch-index", dest="torch", metavar="URL", help="with builds of torch")
    source.add_argument(
        "--torch-wheel", dest="torch", type=Path, help="folder with a build of torch"
    )
    asked = parser.parse_args()
    collect(asked.folder, asked.system, asked.python, asked.torch)
    files = sorted((asked.folder / "wheels").glob("*.whl"))
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{asked.folder}: {len(files)} wheels, {size:.0f} MB. Carry it over, and run there:")
    print(f"    {SYSTEMS[asked.system].installer}")


if __name__ == "__main__":
    main()
