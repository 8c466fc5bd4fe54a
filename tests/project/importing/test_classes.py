from pathlib import Path

import numpy as np
import pytest
from small_study import make_phantoms

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.classes import change_classes, named
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
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
