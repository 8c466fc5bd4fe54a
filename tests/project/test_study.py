import inspect
import math
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

CLASSES = (
    LabelClass(1, "liver", (200, 30, 30), most_pieces=1, no_holes=True),
    LabelClass(254, "tumour", (0, 255, 1)),
)


REOPEN = """
import pickle, sys
from pathlib import Path
import numpy as np
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study

with Study.open(Path(sys.argv[1])) as study:
    print(pickle.dumps(_everything(study)).hex())
"""


def mask_of(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 1, 254], shape).astype(np.uint8)


def test_a_new_process_finds_everything_again(
    study: Study,
    make_case: Callable[..., Any],
    other_process: Callable[..., subprocess.Popen[str]],
) -> None:
    study.set_classes(CLASSES)
    study.add_cases([make_case("b", labels=True), make_case("ü x", dtype=">i2")])
    mask = mask_of((7, 8))
    first = study.save_slice(SliceKey("a", 0, 2), mask, SliceState.DRAFT)
    second = study.slices.set_state(SliceKey("a", 0, 2), SliceState.CLEAN)
    study.slices.set_state(SliceKey("b", 2, 7), SliceState.SKIPPED)
    run = study.runs.start({"steps": 5, "device": "cpu"}, seed=7, device="cpu")
    study.runs.log(run, 1, {"loss": 0.5, "dice": math.nan})
    study.runs.log(run, 2, {"loss": math.inf})
    study.runs.finish(run, outcome="stopped")
    study.arrays.create("a", ArrayName.META_WEIGHTS_PSEUDO)
    study.arrays.write("a", ArrayName.META_WEIGHTS_PSEUDO, 0, 1, np.full((2, 7, 8), 1.5, "f4"))
    expected = _everything(study)
    study.close()

    source = f"from __future__ import annotations\n{inspect.getsource(_everything)}"
    process: Any = other_process(f"{source}{REOPEN}", study.path)
    out, _ = process.communicate(timeout=600)
    assert pickle.loads(bytes.fromhex(out)) == expected

    with Study.open(study.path) as again:
        assert again.classes == CLASSES
        assert again.name == "cohort"
        assert [case.id for case in again.cases] == ["a", "b", "ü x"]
        assert again.case("b").labels_path == Path("/rough/b.nii")
        assert again.case("a").source == SourceInfo("nifti", b"\x00header")
        assert again.case("a").geometry == make_case().image.geometry
        assert again.slices.history(SliceKey("a", 0, 2)) == (first, second)
        np.testing.assert_array_equal(again.slices.mask(SliceKey("a", 0, 2)), mask)
        np.testing.assert_array_equal(again.slices.revision_mask(first.revision), mask)
        assert again.slices.clean() == (SliceKey("a", 0, 2),)
        (record,) = again.runs.all()
        assert (record.config, record.seed, record.outcome) == (
            {"steps": 5, "device": "cpu"},
            7,
            "stopped",
        )
        assert again.runs.metrics(run, "loss") == [(1, 0.5), (2, math.inf)]
        assert math.isnan(again.runs.metrics(run, "dice")[0][1])
        weights = np.asarray(again.arrays.open("a", ArrayName.META_WEIGHTS_PSEUDO)[:])
        assert weights.dtype == np.float16
        assert weights.sum() == 1.5 * 2 * 7 * 8
        assert weights[1:3].min() == 1.5
        np.testing.assert_array_equal(
            again.arrays.open("b", ArrayName.INITIAL_LABELS)[:],
            make_case("b", labels=True).labels.voxels,
        )
        np.testing.assert_array_equal(
            again.arrays.open("ü x", ArrayName.IMAGE)[:], make_case().image.voxels
        )


def _everything(study: Study) -> tuple[object, ...]:
    """All that a study holds, as values that can be compared."""
    return (
        study.classes,
        study.cases,
        study.slices.records(),
        [study.slices.history(record.key) for record in study.slices.records()],
        study.log.entries(),
        study.runs.all(),
        {c.id: study.labels.working(c.id).tobytes() for c in study.cases},
        {
            (c.id, name): np.asarray(study.arrays.open(c.id, name)[:]).tobytes()
            for c in study.cases
            for name in ArrayName
            if study.arrays.has(c.id, name)
        },
    )


def test_a_slice_goes_through_its_states(study: Study) -> None:
    key = SliceKey("a", 1, 3)
    assert study.slices.record(key) is None
    with pytest.raises(UserError, match="no corrected mask"):
        study.slices.set_state(key, SliceState.CLEAN)
    with pytest.raises(UserError, match="no corrected mask"):
        study.slices.mask(key)
    skipped = study.slices.set_state(key, SliceState.SKIPPED)
    assert not skipped.has_mask
    mask = mask_of((6, 8))
    draft = study.save_slice(key, mask, SliceState.DRAFT)
    accepted = study.slices.set_state(key, SliceState.CLEAN)
    reopened = study.slices.set_state(key, SliceState.DRAFT)
    untouched = study.slices.set_state(key, SliceState.UNTOUCHED)
    revisions = [r.revision for r in (skipped, draft, accepted, reopened, untouched)]
    assert revisions == sorted(set(revisions))
    assert all(r.has_mask for r in (draft, accepted, reopened, untouched))
    assert study.slices.records() == (untouched,)
    assert study.slices.records(state=SliceState.DRAFT) == ()
    kept = study.slices.record(key)
    assert kept is not None
    assert kept.author == "ada"
    np.testing.assert_array_equal(study.slices.mask(key), mask)
    with pytest.raises(UserError, match="There is no mask in revision 1"):
        study.slices.revision_mask(skipped.revision)


def test_every_act_leaves_a_line_in_the_audit_log(study: Study) -> None:
    key = SliceKey("a", 0, 0)
    study.set_classes(CLASSES)
    study.save_slice(key, mask_of((7, 8)), SliceState.DRAFT)
    study.slices.set_state(key, SliceState.CLEAN)
    study.set_axis("a", 2)
    study.runs.finish(study.runs.start({}, seed=0, device="cpu"), outcome="finished")
    actions = [entry.action for entry in study.log.entries()]
    assert actions == [
        "create study",
        "add case",
        "set classes",
        "save slice",
        "set slice state",
        "set axis",
        "start run",
        "finish run",
    ]
    assert [entry.action for entry in study.log.entries(2)] == actions[-2:]
    assert {entry.author for entry in study.log.entries()} == {"ada"}
    saved = study.log.entries()[3]
    assert saved.case_id == "a"
    assert saved.details == {"axis": 0, "slice": 0, "state": "draft", "revision": 1}
    assert saved.created_at.tzinfo is not None


def test_a_value_without_a_class_may_be_drafted_but_never_becomes_clean(study: Study) -> None:
    key = SliceKey("a", 0, 0)
    study.set_classes(CLASSES)
    mask = mask_of((7, 8))
    mask[3, 4:6] = 2
    words = "2 pixels of it, the first at row 3, column 4 with the value 2"
    with pytest.raises(UserError, match=words):
        study.save_slice(key, mask, SliceState.CLEAN)
    assert study.slices.record(key) is None
    study.save_slice(key, mask, SliceState.DRAFT)
    with pytest.raises(UserError, match=words):
        study.slices.set_state(key, SliceState.CLEAN)
    np.testing.assert_array_equal(study.slices.mask(key), mask)
    study.set_classes((*CLASSES, LabelClass(2, "duct", (0, 0, 9))))
    assert study.slices.set_state(key, SliceState.CLEAN).state is SliceState.CLEAN


def test_slices_are_kept_all_or_none(study: Study) -> None:
    study.set_classes(CLASSES)
    first, second = (SliceKey("a", 0, k) for k in (1, 2))
    mask, odd = mask_of((7, 8)), np.full((7, 8), 9, np.uint8)
    with pytest.raises(UserError, match="9"):
        study.slices.keep([(first, SliceState.CLEAN, mask), (second, SliceState.CLEAN, odd)])
    with pytest.raises(UserError, match="no corrected mask"):
        study.slices.keep([(first, SliceState.CLEAN, mask), (second, SliceState.DRAFT, None)])
    assert study.slices.records() == ()
    kept = study.slices.keep([(first, SliceState.CLEAN, mask), (second, SliceState.SKIPPED, None)])
    assert study.slices.records() == kept
    assert [one.has_mask for one in kept] == [True, False]
    np.testing.assert_array_equal(study.slices.mask(first), mask)
    assert study.slices.values(kept[0].revision) == set(np.unique(mask).tolist())


def test_cases_come_in_all_or_none(study: Study, make_case: Callable[..., Any]) -> None:
    def cases() -> Iterator[NewCase]:
        yield make_case("b")
        yield make_case("c", labels=True)
        yield make_case("A")

    with pytest.raises(UserError, match="second case 'A'"):
        study.add_cases(cases())
    assert [case.id for case in study.cases] == ["a"]
    assert [p.name for p in (study.path / "arrays").iterdir()] == ["a"]
    assert study.arrays.has("a", ArrayName.IMAGE)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b"])
def test_a_case_never_leaves_the_folder(make_case: Callable[..., Any], name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name"):
        make_case(name)


def test_unknown_names_and_slices_are_explained(study: Study) -> None:
    with pytest.raises(UserError, match=r"no case 'z'.* a\."):
        study.case("z")
    with pytest.raises(UserError, match="slices 0 to 5"):
        study.slices.set_state(SliceKey("a", 0, 6), SliceState.SKIPPED)
    with pytest.raises(ValueError, match="shape"):
        study.save_slice(SliceKey("a", 0, 0), mask_of((8, 7)), SliceState.DRAFT)
    with pytest.raises(UserError, match="value 255"):
        study.save_slice(SliceKey("a", 0, 0), np.full((7, 8), 255, np.uint8), SliceState.DRAFT)
    with pytest.raises(UserError, match="same name"):
        study.set_classes([LabelClass(1, "x", (0, 0, 0)), LabelClass(2, "x", (0, 0, 0))])
    assert study.slices.records() == ()
    assert study.classes == ()


def test_create_refuses_what_is_there_and_other_names(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        Study.create(study.path)
    with pytest.raises(UserError, match=r"NAME\.mlbseg"):
        Study.create(tmp_path / "cohort")
    with pytest.raises(UserError, match="is not a study"):
        Study.open(tmp_path)
