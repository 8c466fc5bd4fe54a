"""Edits in a file of their own: what comes back, and what a damaged file still gives."""

import base64
import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Along, Rescue, changed_since, restore
from napari_mlbseg.project.rescue_files import (
    RESCUE_SUFFIX,
    new_rescue_path,
    read_rescue,
    rescues_in,
    write_rescue,
)
from napari_mlbseg.project.study import Study

FIRST, SECOND, THIRD = SliceKey("a", 0, 2), SliceKey("a", 2, 5), SliceKey("a", 0, 4)
HEART = Along("a", 0, 1)


def mask(shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


@pytest.fixture
def rescue(study: Study) -> Rescue:
    unsavable = mask((6, 7), 2)
    unsavable[0, 0] = 255  # no class can have this value
    return Rescue.of(
        study,
        {FIRST: mask((7, 8), 1), SECOND: unsavable},
        {THIRD: SliceState.SKIPPED},
        {HEART: Extent(1, None)},
    )


@pytest.fixture
def path(tmp_path: Path, study: Study, rescue: Rescue) -> Path:
    made = new_rescue_path(tmp_path / "kept", study)
    write_rescue(made, rescue)
    return made


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read(path: Path, rescue: Rescue, study: Study) -> None:
    found = read_rescue(path)
    assert replace(found, masks={}) == replace(rescue, masks={})
    assert found.study == study.path
    assert {key: m.tobytes() for key, m in found.masks.items()} == {
        key: m.tobytes() for key, m in rescue.masks.items()
    }
    assert list(path.parent.iterdir()) == [path]


def test_the_masks_can_be_read_without_this_program(path: Path, rescue: Rescue) -> None:
    first = json.loads(path.read_text())["slices"][0]
    labels = zlib.decompress(base64.b64decode(first["zlib_base64"]))
    assert (first["case"], first["axis"], first["index"]) == ("a", 0, 2)
    assert np.array_equal(
        np.frombuffer(labels, np.uint8).reshape(first["shape"]), rescue.masks[FIRST]
    )


def test_a_failed_write_leaves_the_older_file(
    path: Path, rescue: Rescue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_rescue(path, replace(rescue, masks={}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_torn_file_is_told(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="cannot be read"):
        read_rescue(path)


@pytest.mark.parametrize(
    "harm",
    [
        {"zlib_base64": "%%%"},
        {"zlib_base64": base64.b64encode(b"nonsense").decode()},
        {"zlib_base64": base64.b64encode(zlib.compress(bytes(56))).decode()},
        {"zlib_base64": base64.b64encode(zlib.compress(bytes(1 << 20))).decode()},
        {"crc32": 1},
        {"shape": [0, 8]},
        {"shape": [1 << 20, 1 << 20]},
    ],
)
def test_a_damaged_slice_does_not_take_the_others_along(path: Path, harm: dict[str, Any]) -> None:
    rewrite(path, lambda content: content["slices"][0].update(harm))
    found = read_rescue(path)
    assert list(found.masks) == [SECOND]
    assert found.damaged == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"slices": 3},
        {"at": "yesterday"},
        {"states": [{"case": "a", "axis": 0, "index": 1, "state": "clean"}]},  # of no labels
        {"extents": [{"case": "a", "axis": 0, "class": 1, "first": 5, "last": 2}]},
    ],
)
def test_what_is_no_rescue_is_told(path: Path, change: dict[str, Any]) -> None:
    rewrite(path, lambda content: content.update(change))
    with pytest.raises(UserError, match="cannot be read"):
        read_rescue(path)


def test_a_newer_version_is_told(path: Path) -> None:
    rewrite(path, lambda content: content.update(version=3))
    with pytest.raises(UserError, match="newer version"):
        read_rescue(path)


def test_a_folder_lists_the_good_and_the_bad(path: Path, study: Study, tmp_path: Path) -> None:
    other = path.with_name(f"torn{RESCUE_SUFFIX}")
    other.write_text("{")
    (path.parent / "notes.txt").write_text("no rescue")
    found = dict(rescues_in(path.parent))
    assert set(found) == {path, other}
    assert isinstance(found[path], Rescue)
    assert isinstance(found[other], UserError)
    assert list(rescues_in(tmp_path / "nowhere")) == []
    assert new_rescue_path(path.parent, study) not in found


def test_slices_come_back_as_drafts_each_by_itself(study: Study, path: Path) -> None:
    study.save_slice(FIRST, np.zeros((7, 8), np.uint8), SliceState.CLEAN)
    found = read_rescue(path)
    back = restore(study, found)
    assert list(back.done.masks) == [FIRST]
    assert list(back.left.keys) == [SECOND]
    assert "value 255" in back.problems[0]
    assert np.array_equal(study.slices.mask(FIRST), found.masks[FIRST])
    assert [r.state for r in study.slices.history(FIRST)] == [SliceState.CLEAN, SliceState.DRAFT]


def test_slices_that_do_not_fit_stay_out(study: Study, rescue: Rescue) -> None:
    odd = {SliceKey("gone", 0, 1): mask((7, 8), 1), FIRST: mask((3, 3), 1)}
    back = restore(study, replace(rescue, masks={**odd, SECOND: mask((6, 7), 1)}))
    assert list(back.done.masks) == [SECOND]
    assert set(back.left.masks) == set(odd)
    assert len(back.problems) == len(back.left.keys) + len(back.left.extents)


def test_skipped_slices_and_ends_come_back_as_they_were(study: Study, path: Path) -> None:
    study.set_classes([LabelClass(1, "heart", (1, 2, 3))])
    back = restore(study, read_rescue(path))
    assert [r.state for r in study.slices.history(THIRD)] == [SliceState.SKIPPED]
    assert study.extents.marked("a", 0, 1) == Extent(1, None)
    assert back.done.holds(replace(back.done, masks={}))
    assert not back.done.holds(replace(back.done, states={THIRD: SliceState.UNTOUCHED}))


def test_states_and_ends_of_what_is_gone_stay_out(study: Study, rescue: Rescue) -> None:
    states = {SliceKey("gone", 0, 1): SliceState.SKIPPED}
    extents = {Along("a", 0, 99): Extent(1, 2)}
    back = restore(study, replace(rescue, masks={}, states=states, extents=extents))
    assert not back.done
    assert (back.left.states, back.left.extents) == (states, extents)
    assert "gone" in back.problems[0]
    assert back.problems[1].startswith("The ends of class 99: ")


def test_a_file_of_the_first_version_holds_labels_only(path: Path) -> None:
    def first(content: dict[str, Any]) -> None:
        del content["states"], content["extents"]
        content["version"] = 1

    rewrite(path, first)
    found = read_rescue(path)
    assert set(found.masks) == {FIRST, SECOND}
    assert not found.states
    assert not found.extents


def test_later_work_in_the_study_is_known(study: Study, rescue: Rescue) -> None:
    assert changed_since(study, rescue) == ()
    study.save_slice(FIRST, np.zeros((7, 8), np.uint8), SliceState.DRAFT)
    assert changed_since(study, rescue) == (FIRST,)
    assert changed_since(study, replace(rescue, at=datetime.now(UTC))) == ()


def test_a_study_is_itself_after_a_move_and_no_other(
    study: Study, rescue: Rescue, tmp_path: Path
) -> None:
    study.close()
    moved = tmp_path / "moved.mlbseg"
    shutil.move(study.path, moved)
    with Study.open(moved) as same, Study.create(tmp_path / "cohort.mlbseg") as other:
        assert list(restore(same, rescue).done.masks) == [FIRST]
        with pytest.raises(UserError, match="do not belong to"):
            restore(other, rescue)
