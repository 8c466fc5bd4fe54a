from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import load_nifti

from napari_mlbseg.samples import SHAPE, make_phantom_cohort, phantom_volume


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("seed", range(12))
def test_rough_labels_are_wrong_to_a_useful_degree(seed: int) -> None:
    phantom = phantom_volume(seed)
    scores = [dice(phantom.truth == k, phantom.rough == k) for k in (1, 2)]
    assert 0.6 <= np.mean(scores) <= 0.8
    assert all(0.5 <= score <= 0.85 for score in scores)


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_finds_the_organ(seed: int) -> None:
    phantom = phantom_volume(seed)
    organ = phantom.truth > 0
    levels = np.percentile(phantom.image, np.arange(0, 100, 5))
    assert max(dice(phantom.image > level, organ) for level in levels) < 0.9


@pytest.mark.parametrize("seed", range(6))
def test_a_lesion_lies_in_the_organ_and_the_organ_in_the_image(seed: int) -> None:
    phantom = phantom_volume(seed)
    for voxels in (phantom.image, phantom.truth, phantom.rough):
        assert voxels.shape == SHAPE
    assert phantom.image.dtype == np.int16
    assert phantom.truth.dtype == phantom.rough.dtype == np.uint8
    assert [set(np.unique(v)) for v in (phantom.truth, phantom.rough)] == [{0, 1, 2}] * 2
    assert 0.02 < np.mean(phantom.truth > 0) < 0.15
    assert 0.002 < np.mean(phantom.truth == 2) < 0.03
    border = np.ones(SHAPE, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert not phantom.truth[border].any()


def test_phantoms_differ_by_seed_and_only_by_seed() -> None:
    first, again, other = phantom_volume(3), phantom_volume(3), phantom_volume(4)
    for name in ("image", "truth", "rough"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_a_cohort_exercises_geometry_and_is_the_same_every_time(tmp_path: Path) -> None:
    cohort = make_phantom_cohort(tmp_path / "one")
    again = make_phantom_cohort(tmp_path / "two")
    names = [f"phantom_{k:02d}.nii.gz" for k in range(1, 5)]
    codes = set()
    for ours, theirs in zip(
        (cohort.images, cohort.labels, cohort.truth),
        (again.images, again.labels, again.truth),
        strict=True,
    ):
        assert sorted(p.name for p in ours.iterdir()) == names
        for name in names:
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
            image = load_nifti(ours / name)
            codes.add(nib.aff2axcodes(image.affine))
            assert np.count_nonzero(np.abs(image.affine[:3, :3]) > 1e-3) > 3
            assert sorted(image.header.get_zooms()) == pytest.approx([1, 1, 3])
    assert len(codes) == 4


def test_seeds_give_other_cohorts(tmp_path: Path) -> None:
    one = make_phantom_cohort(tmp_path / "one", cases=1, seed=1)
    two = make_phantom_cohort(tmp_path / "two", cases=1, seed=2)
    name = "phantom_01.nii.gz"
    assert (one.images / name).read_bytes() != (two.images / name).read_bytes()
