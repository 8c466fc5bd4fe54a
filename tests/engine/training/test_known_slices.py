"""One more accepted slice is read, and no other: counted in reads, not in seconds."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from small_study import QUICK, SHAPE, Phantoms, same

from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.engine.predictions.brake import brake_for
from napari_mlbseg.engine.session import imported
from napari_mlbseg.engine.session.imported import ImportedLabels
from napari_mlbseg.engine.training import known_slices
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

CASES = frozenset({"phantom0", "phantom1"})


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often masks are unpacked, initial labels read, and labels compared."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        called = getattr(owner, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counted[what] += 1
            return called(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    count(PackedMask, "unpack", "masks")
    count(Reader, "initial_labels", "initial labels")
    count(known_slices, "disagreement", "comparisons")
    count(imported, "difference", "comparisons")
    return counted


def test_an_accepted_slice_is_read_and_no_other(
    rough_phantoms: Phantoms, reads: Counter[str]
) -> None:
    rough_phantoms.accept("phantom0", 3, 4, 5, 6, 7)
    rough_phantoms.accept("phantom1", 3, 4, 5, 6, 7)
    trainer = Trainer(rough_phantoms.study, QUICK)
    beside = ImportedLabels(trainer, CASES)
    for accepted in (10, 1, 0):
        reads.clear()
        trainer.read_clean_slices()
        beside.smallest_nonsense_difference()
        assert reads["masks"] == accepted
        assert reads["initial labels"] == reads["comparisons"] == 2 * accepted
        if accepted == 10:
            rough_phantoms.accept("phantom1", 8)
    rough_phantoms.accept("phantom1", 3)  # once more: another revision
    reads.clear()
    trainer.read_clean_slices()
    assert reads["masks"] == 1


def test_what_is_kept_is_what_a_fresh_look_finds(rough_phantoms: Phantoms) -> None:
    study = rough_phantoms.study
    first = rough_phantoms.accept("phantom0", *range(2, 10))
    trainer = Trainer(study, QUICK)
    beside = ImportedLabels(trainer, CASES)
    for change in ("nothing", "more", "reopened", "painted"):
        if change == "more":
            rough_phantoms.accept("phantom1", *range(3, 9))
        elif change == "reopened":
            study.slices.set_state(first[1], SliceState.DRAFT)
        elif change == "painted":
            study.save_slice(first[0], np.full(SHAPE[1:], 7, np.uint8), SliceState.CLEAN)
        trainer.read_clean_slices()
        fresh = Trainer(study, QUICK)
        fresh.state.validation = trainer.state.validation
        fresh.state.trained_on = trainer.state.trained_on
        fresh.read_clean_slices()
        assert list(trainer.training_slices) == list(fresh.training_slices)
        assert same(dict(trainer.training_slices), dict(fresh.training_slices))
        assert same(dict(trainer.validation_slices), dict(fresh.validation_slices))
        assert trainer.source.clean.left_out == fresh.source.clean.left_out
        assert trainer.largest_right_disagreement == fresh.largest_right_disagreement
        expected = ImportedLabels(fresh, CASES).smallest_nonsense_difference()
        assert beside.smallest_nonsense_difference() == expected
        for key, labels in {**trainer.training_slices, **trainer.validation_slices}.items():
            mask = torch.from_numpy(study.slices.mask(key).astype(np.int64))
            assert torch.equal(labels, torch.where(mask == 7, 2, mask))


def test_what_was_read_before_a_cut_off_is_not_read_again(
    rough_phantoms: Phantoms, reads: Counter[str]
) -> None:
    rough_phantoms.accept("phantom0", 3, 4, 5, 6)

    def check() -> None:
        if cutting_off and reads["masks"] == 2:
            raise CutOffError

    cutting_off = False
    trainer = Trainer(rough_phantoms.study, QUICK, check=check)
    cutting_off = True
    with pytest.raises(CutOffError):
        trainer.read_clean_slices()
    cutting_off = False
    trainer.read_clean_slices()
    assert len(trainer.training_slices) == 4
    assert reads["masks"] == 4


def test_looking_whether_there_is_enough_unpacks_a_mask_once(
    phantoms: Phantoms, reads: Counter[str]
) -> None:
    def not_enough(study: Study) -> None:
        with pytest.raises(UserError, match="'core'"):
            check_enough(study, has_model=False)

    for index in range(8):
        key = SliceKey("phantom0", 0, index)
        phantoms.study.save_slice(key, np.ones(SHAPE[1:], np.uint8), SliceState.CLEAN)
        not_enough(phantoms.study)
    assert reads["masks"] == 0
    with Study.open(phantoms.study.path, writable=False) as again:
        for _ in range(3):
            not_enough(again)
        assert reads["masks"] == 8


def test_only_approved_slices_are_learnt_from_if_the_study_says_so(
    rough_phantoms: Phantoms,
) -> None:
    study = rough_phantoms.study
    rough_phantoms.accept("phantom0", 3, 4, 5)
    first, second, third = (SliceKey("phantom0", 0, index) for index in (3, 4, 5))
    study._database.author = "a reviewer"
    study.reviews.give([second], Verdict.APPROVED)
    study.reviews.give([third], Verdict.RETURNED, "wrong")
    trainer = Trainer(study, QUICK)
    trainer.read_clean_slices()
    assert trainer.training_slices.keys() == {first, second}
    study.reviews.let_teach(only_approved=True)
    trainer.read_clean_slices()
    assert trainer.training_slices.keys() == {second}
    looked_at = brake_for(study, keep_labels=True).looked_at["phantom0"]
    assert np.flatnonzero(looked_at).tolist() == [4], "the network knows nothing of the others"
