"""Files that take their places together, after kills and beside other people's changes."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from killed import killer

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats import exchange, placing

PROGRAM = """
from napari_mlbseg.formats import exchange
from napari_mlbseg.formats.placing import workplace

def write(out, swap):
    if swap == "no":
        exchange._call = lambda: None
    out = Path(out)
    with workplace(out) as work:
        work.new(out / "store").mkdir()
        (work.new(out / "store") / "0").write_text("new")
        work.new(out / "a.txt").write_text("new")
        work.new(out / "told.txt").write_text("new")
        work.place([out / "store", out / "a.txt"], told_by=[out / "told.txt"])

serve(write)
"""


def old_ones(out: Path) -> None:
    (out / "store").mkdir(parents=True)
    (out / "store" / "0").write_text("old")
    (out / "a.txt").write_text("old")
    (out / "told.txt").write_text("old")


def seen(out: Path) -> tuple[str, ...]:
    files = (out / "store" / "0", out / "a.txt", out / "told.txt")
    return tuple(file.read_text() if file.exists() else "none" for file in files)


def hidden(out: Path) -> list[str]:
    return [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("swap", ["yes", "no"])
def test_after_a_kill_all_is_old_or_all_is_new(tmp_path: Path, swap: str) -> None:
    states = set()
    with killer(PROGRAM) as process:
        for step in range(1, 60):
            out = tmp_path / f"{step}"
            old_ones(out)
            if not process.killed(step, out, out, swap):
                break
            states.add(seen(out))
            assert not (seen(out)[2] == "old" and "new" in seen(out)[:2])
            assert not (seen(out)[2] == "new" and "old" in seen(out)[:2])
            placing.sweep(out)
            assert seen(out) in (("old",) * 3, ("new",) * 3)
            assert hidden(out) == []
        else:
            pytest.fail("it never ended by itself")
    assert seen(out) == ("new",) * 3
    assert {("new", "old", "none"), ("new", "new", "none")} <= states
    assert (("none", "old", "none") in states) == (swap == "no")


def test_what_somebody_changed_since_a_kill_stays(tmp_path: Path) -> None:
    mine = 0
    with killer(PROGRAM) as process:
        for step in range(1, 60):
            out = tmp_path / f"{step}"
            old_ones(out)
            if not process.killed(step, out, out, "yes"):
                break
            (out / "a.txt").unlink()
            (out / "a.txt").write_text("mine")
            placing.sweep(out)
            assert seen(out)[1] == "mine"
            assert hidden(out) == []
            mine += 1
    assert mine > 5


def test_a_place_that_cannot_be_taken_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    old_ones(out)
    monkeypatch.setattr(exchange, "_call", lambda: None)
    replace: Callable[[Path, Path], Path] = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self.parent.name == "new" and self.name == "store":
            raise OSError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    with (  # noqa: PT012 - it is the end of the block that raises
        pytest.raises(UserError, match=r"store cannot be written: Permission denied"),
        placing.replacing(out / "store") as new,
    ):
        new.mkdir()
        (new / "0").write_text("new")
    assert seen(out) == ("old",) * 3
    assert hidden(out) == []


def test_a_folder_and_a_file_take_each_others_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with placing.replacing(tmp_path / "a") as new:
        new.write_text("a file")
    assert (tmp_path / "a").read_text() == "a file"
    with placing.replacing(tmp_path / "a") as new:
        new.mkdir()
    assert (tmp_path / "a").is_dir()
    assert hidden(tmp_path) == []


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), placing.replacing(tmp_path / "a.txt") as new:  # noqa: PT012
        new.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert hidden(tmp_path) == []


def test_a_folder_that_is_not_there_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "a.txt"
    with pytest.raises(UserError, match="cannot be written"), placing.replacing(path) as new:
        new.write_text("new")
