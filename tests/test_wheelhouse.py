"""The installer of a wheelhouse, with a small wheel; docs/offline.md tells of the large ones."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import wheelhouse

REPOSITORY = Path(__file__).parents[1]
WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")


def tiny_wheel(folder: Path) -> Path:
    info = "tiny-1.0.dist-info"
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def cut_off() -> tuple[str, ...]:
    """What runs a program without any network, where this system lets us."""
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True)
    return WITHOUT_NETWORK if tried.returncode == 0 else ()


@pytest.mark.skipif(sys.platform == "win32", reason="a script for sh")
def test_it_installs_without_a_network_and_only_what_the_hashes_say(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = tiny_wheel(tmp_path / "wheels")
    (tmp_path / "requirements.txt").write_text(wheelhouse.hashed(wheel))
    installer = wheelhouse.write_installer(tmp_path, "linux", "3.13")
    target = tmp_path / "there"

    def install() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*cut_off(), "sh", installer, target],
            env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
            cwd="/",
            capture_output=True,
            text=True,
        )

    done = install()
    assert done.returncode == 0, done.stderr
    assert f"{target}/bin/mlbseg gui" in done.stdout
    told = subprocess.run(
        [target / "bin/python", "-c", "import tiny; print(tiny.ANSWER)"], capture_output=True
    )
    assert told.stdout == b"42\n"

    shutil.rmtree(target)
    with zipfile.ZipFile(wheel, "a") as changed:
        changed.writestr("more.py", "somebody else's")
    refused = install()
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert "Installed" not in refused.stdout


@pytest.mark.parametrize("system", sorted(wheelhouse.SYSTEMS))
def test_an_installer_is_short_and_names_its_python(tmp_path: Path, system: str) -> None:
    text = wheelhouse.write_installer(tmp_path, system, "3.12").read_bytes()
    assert text.count(b"\n") <= 13
    assert (b"\r\n" in text) == (system == "windows")
    assert b"3.12" in text
    assert b"@" not in text.removeprefix(b"@echo")
    for option in (b"--no-index", b"--require-hashes", b"--isolated"):
        assert option in text


def test_the_lock_holds_but_for_qt() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    kept = wheelhouse.constraints(lock).splitlines()
    left_out = {line.split("==")[0] for line in set(lock.splitlines()) - set(kept)}
    assert "napari" in {line.split("==")[0] for line in kept}
    assert {"PyQt6", "PyQt6-Qt6", "PyQt5"} <= left_out
    assert "pyqtgraph" not in left_out


def test_where_torch_comes_from(tmp_path: Path) -> None:
    assert wheelhouse.torch_from(None) == ((), ())
    assert wheelhouse.torch_from(tmp_path) == (("--find-links", str(tmp_path)),) * 2
    for options in wheelhouse.torch_from("https://builds/cu130"):
        assert options[:2] == ("--extra-index-url", "https://builds/cu130")
