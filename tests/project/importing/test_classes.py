import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import changing
import numpy as np
import pytest
from numpy.typing import NDArray
from older_study import made_older
from small_study import make_phantoms

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.schema import WITH_PLACES
from napari_mlbseg.project.importing.classes import change_classes, named
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort


def test_names_get_values_in_order_and_colours_of_their_own() -> None:
    classes = named(" left atrium,scar , left ventricle")
    assert [(c.value, c.name) for c in classes] == [
        (1, "left atrium"),
        (2, "scar"),
        (3, "left ventricle"),
    ]
    assert len({c.color for c in classes}) == 3


@pytest.mark.parametrize("names", ["", "a,,b", "a,", ",".join(map(str, range(255)))])
def test_what_names_no_classes_is_refused(names: str) -> None:
    with pytest.raises(UserError):
        named(names)


def test_a_study_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    cohort = make_phantom_cohort(tmp_path / "files", cases=1)
    path = tmp_path / "new.mlbseg"
    for classes in ("a,,b", "a, a", "organ"):  # the labels also hold the value 2
        with pytest.raises(UserError):
            make_study(path, cohort.images, cohort.labels, classes)
        assert not path.exists()
    study, _ = make_study(path, cohort.images, cohort.labels, "organ, lesion")
    with study:
        assert [c.name for c in study.classes] == ["organ", "lesion"]
    with pytest.raises(UserError, match="exists already"):
        make_study(path, cohort.images)
    assert path.exists()


SCAR = LabelClass(9, "scar", (255, 0, 0))


def test_an_unused_class_goes_and_comes(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "s.mlbseg")
    with phantoms.study as study:
        before = study.classes
        change_classes(study, [*before, SCAR])
        seen: list[str] = []
        change_classes(study, before, progress=lambda text, *_: seen.append(text))
        assert study.classes == before
        assert len(seen) == len(study.cases)


@pytest.mark.parametrize("where", ["draft", "clean", ArrayName.INITIAL_LABELS, "prediction"])
def test_a_class_in_use_stays(tmp_path: Path, where: str) -> None:
    phantoms = make_phantoms(tmp_path / "s.mlbseg", rough=True)
    with phantoms.study as study:
        before = study.classes
        change_classes(study, [*before, SCAR])
        (key,) = phantoms.accept("phantom1", 5)
        mask = np.zeros_like(study.slices.mask(key))
        mask[3, 4] = SCAR.value
        if where in ("draft", "clean"):
            study.save_slice(key, mask, SliceState(where))
        else:
            study.arrays.create("phantom1", ArrayName(where))[5] = mask
        with pytest.raises(UserError, match=r"9 \(scar\) is in use in .*phantom1"):
            change_classes(study, before)
        assert study.classes == (*before, SCAR)


def test_a_slice_that_was_handed_back_uses_nothing(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "s.mlbseg")
    with phantoms.study as study:
        before = study.classes
        change_classes(study, [*before, SCAR])
        (key,) = phantoms.accept("phantom0", 5)
        mask = np.full_like(study.slices.mask(key), SCAR.value)
        study.save_slice(key, mask, SliceState.DRAFT)
        study.slices.set_state(key, SliceState.SKIPPED)
        change_classes(study, before)
        assert study.classes == before


# --- merged and deleted --------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """Three classes; a prediction, a clean slice and a superseded draft hold all of them."""
    with changing.make_study(tmp_path) as made:
        rng = np.random.default_rng(6)
        labels = rng.integers(0, 4, changing.SHAPE).astype(np.uint8)
        made.arrays.create("a", ArrayName.PREDICTION, [(0, labels)], axis=0)
        made.save_slice(KEY, labels[2], SliceState.DRAFT)
        changing.accept(made, "a", KEY.index, seed=8)
        yield made


KEY = SliceKey("a", 0, 2)


def after(labels: NDArray[np.uint8], becoming: Mapping[int, int]) -> NDArray[np.uint8]:
    found = labels.copy()
    for old, new in becoming.items():
        found[labels == old] = new
    return found


@pytest.mark.parametrize("becoming", [{1: 2}, {2: 1}, {3: 0}, {1: 3, 2: 3}, {1: 2, 3: 0}])
def test_pixels_of_a_class_that_is_gone_count_as_another_wherever_they_are(
    study: Study, becoming: dict[int, int]
) -> None:
    revisions = [r.revision for r in study.slices.history(KEY)]
    assert len(revisions) == 2
    masks = [study.slices.revision_mask(r) for r in revisions]
    shown = [study.labels.working(case) for case in ("a", "b")]
    initial = np.asarray(study.arrays.open("a", ArrayName.INITIAL_LABELS)[:])
    stored = _stored_masks(study)
    kept = [c for c in study.classes if c.value not in becoming]
    change_classes(study, kept, becoming=becoming)
    study.close()
    with Study.open(study.path) as again:
        assert again.classes == tuple(kept)
        for revision, mask in zip(revisions, masks, strict=True):
            np.testing.assert_array_equal(
                again.slices.revision_mask(revision), after(mask, becoming)
            )
            assert again.slices.values(revision) == frozenset(
                after(mask, becoming).ravel().tolist()
            )
        for case, labels in zip(("a", "b"), shown, strict=True):
            np.testing.assert_array_equal(again.labels.working(case), after(labels, becoming))
        found = np.asarray(again.arrays.open("a", ArrayName.INITIAL_LABELS)[:])
        np.testing.assert_array_equal(found, after(initial, becoming))
        assert again.check().flaws == ()
        assert _stored_masks(again) == stored  # what a person saved is still there to the byte
        again.arrays.remove("a", ArrayName.INITIAL_LABELS)
        rebuild_arrays(again.cases, again.arrays)
        found = np.asarray(again.arrays.open("a", ArrayName.INITIAL_LABELS)[:])
        np.testing.assert_array_equal(found, after(initial, becoming))


def _stored_masks(study: Study) -> list[object]:
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as connection:
        return connection.execute("SELECT * FROM masks ORDER BY number").fetchall()


def test_a_later_class_of_the_same_value_takes_nothing_of_the_former_one(study: Study) -> None:
    organ, core, scar = study.classes
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    before = study.slices.mask(KEY)
    vessel = LabelClass(organ.value, "vessel", (9, 9, 9))
    change_classes(study, [vessel, core, scar])
    np.testing.assert_array_equal(study.slices.mask(KEY), before)
    assert organ.value not in before
    fresh = np.full_like(before, vessel.value)
    study.save_slice(SliceKey("a", 0, 3), fresh, SliceState.CLEAN)
    np.testing.assert_array_equal(study.slices.mask(SliceKey("a", 0, 3)), fresh)
    study.slices.set_state(KEY, SliceState.SKIPPED)
    study.slices.set_state(KEY, SliceState.CLEAN)  # the old mask in a new revision
    np.testing.assert_array_equal(study.slices.mask(KEY), before)
    change_classes(study, [core, scar], becoming={vessel.value: 0})
    np.testing.assert_array_equal(study.slices.mask(SliceKey("a", 0, 3)), 0 * fresh)
    np.testing.assert_array_equal(study.slices.mask(KEY), before)


def test_merged_ends_count_only_where_they_are_known_of_all(study: Study) -> None:
    organ, core, scar = study.classes
    study.extents.mark("b", 0, organ.value, Extent(1, 2))
    study.extents.mark("b", 0, core.value, Extent(0, 1))
    study.extents.mark("b", 1, core.value, Extent(2, 3))
    study.extents.mark("b", 2, organ.value, Extent(2, 3))
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    assert study.extents.marked("b", 0, core.value) == Extent(0, 2)
    assert [(one.axis, one.value) for one in study.extents.of("b")] == [(0, core.value)]


def test_a_removed_case_comes_back_with_the_classes_of_now(study: Study) -> None:
    organ, core, scar = study.classes
    shown = study.labels.working("a")
    study.changes.remove(["a"])
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    study.changes.restore("a")
    expected = after(shown, {organ.value: core.value})
    np.testing.assert_array_equal(study.labels.working("a"), expected)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", " a", "x" * 201, "CORE"])
def test_a_class_gets_no_odd_name_and_no_name_that_another_has(study: Study, name: str) -> None:
    before = study.classes
    with pytest.raises(UserError):
        change_classes(study, [replace(before[0], name=name), *before[1:]])
    assert study.classes == before


def test_what_does_not_fit_together_changes_nothing(study: Study) -> None:
    before, log = study.classes, study.log.entries()
    for becoming in ({1: 2}, {9: 2}, {3: 9}):
        kept = before if becoming != {3: 9} else before[:2]
        with pytest.raises(ValueError, match="classes that are gone become others that stay"):
            change_classes(study, kept, becoming=becoming)
    assert (study.classes, study.log.entries()) == (before, log)


def masks_in(study: Study) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as connection:
        return connection.execute("SELECT * FROM masks ORDER BY number").fetchall()


def test_another_order_changes_no_byte_of_a_mask_and_no_value(study: Study) -> None:
    masks, labels = masks_in(study), study.labels.working("a")
    first, *others = study.classes
    change_classes(study, [*others, first])
    assert study.classes == (*others, first)
    assert masks_in(study) == masks
    np.testing.assert_array_equal(study.labels.working("a"), labels)
    with Study.open(study.path, writable=False) as again:
        assert again.classes == (*others, first)
        assert again.check().flaws == ()


def test_an_older_study_has_its_classes_by_value(tmp_path: Path) -> None:
    with changing.make_study(tmp_path) as made:
        change_classes(made, made.classes[::-1])
    made_older(made.path, WITH_PLACES - 1)
    with Study.open(made.path, writable=False) as older:
        assert [one.value for one in older.classes] == [1, 2, 3]
    with Study.open(made.path) as newer:
        change_classes(newer, newer.classes[::-1])
        assert [one.value for one in newer.classes] == [3, 2, 1]
