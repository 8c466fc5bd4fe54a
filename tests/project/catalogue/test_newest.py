"""The newest revisions, followed instead of asked for anew."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

CLEAN, DRAFT, SKIPPED = SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED
SLICES = [SliceKey(case, axis, i) for case in ("a", "b") for axis in (0, 1) for i in range(5)]


@pytest.fixture
def study(tmp_path: Path, make_case: Callable[..., Any]) -> Any:
    with Study.create(tmp_path / "newest.mlbseg") as study:
        study.add_cases([make_case("a"), make_case("b")])
        yield study


def say(study: Study, key: SliceKey, state: SliceState, value: int = 1) -> None:
    if state in (DRAFT, CLEAN):
        mask = np.full([n for k, n in enumerate((6, 7, 8)) if k != key.axis], value, np.uint8)
        study.save_slice(key, mask, state)
    else:
        study.slices.set_state(key, state)


def test_what_is_followed_is_what_a_fresh_look_finds(study: Study) -> None:
    rng = np.random.default_rng(5)
    for _ in range(120):
        key = SLICES[rng.integers(len(SLICES))]
        say(study, key, (CLEAN, DRAFT, SKIPPED, SliceState.UNTOUCHED)[rng.integers(4)])
        if rng.random() < 0.3:
            case_id = (None, "a", "b")[rng.integers(3)]
            state = (None, *SliceState)[rng.integers(5)]
            newest = [study.slices.history(key)[-1] for key in SLICES if study.slices.history(key)]
            expected = [
                r for r in newest if case_id in (None, r.key.case_id) and state in (None, r.state)
            ]
            found = study.slices.records(case_id, state=state)
            assert list(found) == sorted(expected, key=lambda r: r.revision)
    with Study.open(study.path, writable=False) as again:
        assert again.slices.records() == study.slices.records()


def test_a_reader_sees_what_a_writer_adds(study: Study) -> None:
    with Study.open(study.path, writable=False) as reader:
        assert reader.slices.records() == ()
        say(study, SLICES[0], CLEAN)
        assert reader.slices.clean() == (SLICES[0],)
        say(study, SLICES[0], DRAFT)
        assert reader.slices.clean() == ()
        assert [r.state for r in reader.slices.records()] == [DRAFT]


class Reads:
    """Rows that a study read, and steps that SQLite took for them."""

    def __init__(self, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = self.steps = 0
        ask = Database.rows

        def counting(database: Database, sql: str, *values: Any) -> Any:
            found = ask(database, sql, *values)
            self.rows += len(found)
            return found

        def step() -> int:
            self.steps += 1
            return 0

        monkeypatch.setattr(Database, "rows", counting)
        study._database._reader.set_progress_handler(step, 1)

    def of(self, work: Callable[[], object]) -> tuple[int, int]:
        self.rows = self.steps = 0
        work()
        return self.rows, self.steps


def test_one_more_slice_costs_the_same_however_many_there_are(
    tmp_path: Path, make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = Geometry.from_affine((8, 7, 300), np.diag([-1.0, -1.0, 3.0, 1.0]))
    image = Volume(np.zeros(geometry.shape, np.int16), geometry)
    with Study.create(tmp_path / "long.mlbseg") as study:
        study.add_cases([replace(make_case("long"), image=image)])
        reads, found = Reads(study, monkeypatch), []
        for index in range(250):
            study.save_slice(SliceKey("long", 0, index), np.ones((7, 8), np.uint8), CLEAN)
            found.append(reads.of(study.slices.clean))
        assert len(study.slices.clean()) == 250
        assert {rows for rows, _ in found[1:]} == {1}  # with the first comes the case
        assert found[-1][1] <= 1.5 * found[4][1]


def test_a_mask_is_unpacked_once_to_know_its_values(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []
    unpack = PackedMask.unpack

    def counted(mask: PackedMask, shape: tuple[int, int]) -> object:
        unpacked.append(mask)
        return unpack(mask, shape)

    monkeypatch.setattr(PackedMask, "unpack", counted)
    say(study, SLICES[0], CLEAN, value=3)
    say(study, SLICES[1], DRAFT, value=0)
    saved, draft = study.slices.records()
    for _ in range(2):
        assert study.slices.values(saved.revision) == {3}
    assert unpacked == []
    for _ in range(2):
        assert study.slices.values(draft.revision) == {0}
    assert len(unpacked) == 1
    with Study.open(study.path, writable=False) as reader:
        for _ in range(2):
            assert reader.slices.values(saved.revision) == {3}
    assert len(unpacked) == 2
