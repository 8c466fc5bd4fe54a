"""Better rough labels for cases of a study: what a person corrected lies over them as before."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from changing import SHAPE, accept, make_study, write, write_labels
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.relabelling import relabel
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

KEY = SliceKey("a", 0, 1)
PREDICTION = np.full(SHAPE, 2, np.uint8)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        for name in (ArrayName.PREDICTION, ArrayName.PSEUDO_LABELS, ArrayName.TRUST):
            made.arrays.create("a", name, [(0, PREDICTION)], axis=0)
        yield made


def voxels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(load_nifti(path).dataobj).astype(np.uint8).T


def test_new_labels_take_the_place_of_all_that_the_machine_made(
    study: Study, tmp_path: Path
) -> None:
    mask = study.slices.mask(KEY)
    better = write_labels(tmp_path / "better", "a", 8)
    changed = relabel(study, tmp_path / "better")
    assert [case.labels_path for case in changed.cases] == [better]
    expected = voxels(better)
    assert not np.array_equal(expected, voxels(tmp_path / "rough" / "a.nii.gz"))
    np.testing.assert_array_equal(study.labels.machine("a"), expected)
    expected[1] = mask
    np.testing.assert_array_equal(study.labels.working("a"), expected)
    arrays = {name for name in ArrayName if study.arrays.exists("a", name)}
    assert arrays == {ArrayName.IMAGE, ArrayName.INITIAL_LABELS}
    assert len(list((study.path / "arrays" / "a").iterdir())) == 2
    assert [one.action for one in study.log.entries()][-1] == "relabel case"


def test_only_chosen_cases_get_labels_and_the_first_ones_too(study: Study, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_labels(tmp_path / "better", name, 8)
    assert study.case("b").labels_path is None
    [changed] = relabel(study, tmp_path / "better", ["b"]).cases
    assert (changed.id, changed.labels_path) == ("b", tmp_path / "better" / "b.nii.gz")
    assert study.arrays.has("a", ArrayName.PREDICTION)
    assert study.arrays.has("b", ArrayName.INITIAL_LABELS)


def test_labels_are_found_by_the_name_of_a_case_and_by_that_of_its_image(
    study: Study, tmp_path: Path
) -> None:
    study.changes.rename("a", "baseline")
    study.changes.rename("b", "a b")
    write_labels(tmp_path / "better", "baseline", 8)
    write_labels(tmp_path / "better", "b", 9)
    changed = relabel(study, tmp_path / "better")
    assert {case.id: case.labels_path for case in changed.cases} == {
        "a": tmp_path / "better" / "baseline.nii.gz",
        "b": tmp_path / "better" / "b.nii.gz",
    }


def test_one_file_is_for_one_case_and_its_values_may_be_renumbered(
    study: Study, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.nii.gz", np.full(SHAPE, 255, np.uint8))
    with pytest.raises(UserError, match="Name the one case"):
        relabel(study, path)
    with pytest.raises(UserError, match="renumber 255=1"):
        relabel(study, path, ["b"])
    relabel(study, path, ["b"], choice=Choice(renumber=((255, 3),)))
    assert (study.labels.machine("b") == 3).all()
    study.arrays.remove("b", ArrayName.INITIAL_LABELS)
    rebuild_arrays(study.cases, study.arrays)
    assert (study.labels.machine("b") == 3).all()


def test_what_cannot_be_used_leaves_its_case_as_it_was(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "better" / "a.nii.gz", np.full(SHAPE, 9, np.uint8))
    write_labels(tmp_path / "better", "b", 9)
    changed = relabel(study, tmp_path / "better")
    assert [case.id for case in changed.cases] == ["b"]
    [failure] = changed.failures
    assert "unknown labels: 9" in failure.reason
    np.testing.assert_array_equal(study.labels.machine("a"), PREDICTION)
    before = study.log.entries()
    for names, why in ((["a"], "unknown labels"), (["c"], "no case 'c'")):
        with pytest.raises(UserError, match=why):
            relabel(study, tmp_path / "better", names)
        assert study.log.entries() == before
    np.testing.assert_array_equal(study.labels.machine("a"), PREDICTION)
    # Those of another case are not taken for its own, although there is but one file.
    with pytest.raises(UserError, match="has no labels for b"):
        relabel(study, tmp_path / "rough", ["b"])


def test_labels_may_be_replaced_again_and_again(study: Study, tmp_path: Path) -> None:
    for seed in (8, 9):
        path = write_labels(tmp_path / f"better{seed}", "a", seed)
        relabel(study, path.parent)
        accept(study, "a", 2, seed=seed)
    expected = voxels(path)
    expected[1], expected[2] = study.slices.mask(KEY), study.slices.mask(SliceKey("a", 0, 2))
    study.close()
    with Study.open(study.path) as again:
        np.testing.assert_array_equal(again.labels.working("a"), expected)
