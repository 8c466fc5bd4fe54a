"""What may lie in the folder of a study."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.inside import (
    is_case_id,
    plain_folders,
    require_case_id,
    require_own,
    size_of,
)


@given(st.text(max_size=12))
@example("..")
@example("../x")
@example("a\0b")
def test_a_case_is_a_folder_right_inside(name: str) -> None:
    folder = Path("/studies/s.mlbseg/arrays")
    inside = os.path.normpath(folder / name) == f"{folder}/{name}" and "/" not in name
    if is_case_id(name):
        assert inside
        assert require_case_id(name) == name
    else:
        assert not inside or set(name) & set("\\\0")
        with pytest.raises(UserError, match="could lead out of the study"):
            require_case_id(name)


@pytest.mark.parametrize("name", [None, 3, b"a", ["a"], Path("a")])
def test_what_is_no_text_is_no_name(name: object) -> None:
    assert not is_case_id(name)
    with pytest.raises(UserError, match="a case named"):
        require_case_id(name)


def test_files_have_a_size_and_nothing_else_has(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(bytes(7))
    assert size_of(tmp_path / "in" / "file", tmp_path) == 7
    assert size_of(tmp_path / "in", tmp_path) is None
    assert size_of(tmp_path / "in" / "none", tmp_path) is None
    assert size_of(tmp_path / "in" / "file" / "below", tmp_path) is None
    require_own(tmp_path, "in", "none")


@pytest.mark.parametrize("place", ["first", "first/second", "first/second/third"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_link_anywhere_on_the_way_is_refused(tmp_path: Path, place: str, inside: bool) -> None:
    """Also one that leads to another place in the same folder."""
    study, way = tmp_path / "study", Path("first/second/third")
    (study / way).parent.mkdir(parents=True)
    (study / way).write_bytes(b"x")
    target = (study if inside else tmp_path) / "elsewhere"
    (study / place).rename(target)
    (study / place).symlink_to(target)
    with pytest.raises(UserError, match=f"{place} is a link"):
        size_of(study / way, study)
    with pytest.raises(UserError, match="is a link"):
        require_own(study, "absent", str(way))


def test_a_link_above_the_folder_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert size_of(tmp_path / "link" / "file", tmp_path / "link") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that are files")
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        size_of(tmp_path / "pipe", tmp_path)


def test_only_folders_of_their_own_are_walked_through(tmp_path: Path) -> None:
    arrays = tmp_path / "arrays"
    (arrays / "a").mkdir(parents=True)
    (arrays / "b").mkdir()
    (arrays / "file").touch()
    (arrays / "link").symlink_to(arrays / "a")
    (tmp_path / "other").symlink_to(arrays)
    assert sorted(path.name for path in plain_folders(arrays)) == ["a", "b"]
    assert list(plain_folders(tmp_path / "other")) == []
    assert list(plain_folders(tmp_path / "absent")) == []
    assert list(plain_folders(arrays / "file")) == []
