from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.volume import Geometry, Volume


@given(
    hnp.arrays(
        np.int16, hnp.array_shapes(min_dims=3, max_dims=3), elements=st.integers(-2000, 3000)
    )
)
def test_intensity_agrees_with_its_definition(voxels: NDArray[Any]) -> None:
    found = Intensity.of(voxels)
    low, high = np.percentile(voxels, (0.5, 99.5))
    if low == high:
        low, high = voxels.min(), voxels.max()
    clipped = np.clip(voxels.astype(float), low, high)
    assert (found.low, found.high) == (low, high)
    assert found.mean == pytest.approx(clipped.mean(), abs=1e-6)
    assert found.std > 0
    if clipped.std() > 1e-3:
        assert found.std == pytest.approx(clipped.std(), rel=1e-4)


def test_a_small_object_in_an_even_background_is_not_clipped_away() -> None:
    voxels = np.zeros((10, 20, 20), np.int16)
    voxels[5, 5, 5:8] = 100
    found = Intensity.of(voxels)
    assert (found.low, found.high) == (0.0, 100.0)
    assert found.std == pytest.approx(voxels.std())


def test_intensity_over_several_pieces() -> None:
    voxels = np.random.default_rng(0).normal(1e4, 3, (9, 700, 700)).astype(np.float32)
    found = Intensity.of(voxels)
    assert found.mean == pytest.approx(1e4, abs=0.1)
    assert found.std == pytest.approx(np.clip(voxels, found.low, found.high).std(dtype=float))


def test_voxels_that_are_not_finite_do_not_count() -> None:
    voxels = np.array([[[1.0, np.nan, 3.0, np.inf]]])
    assert Intensity.of(voxels) == Intensity.of(np.array([[[1.0, 3.0]]]))
    with pytest.raises(UserError, match="no finite voxel"):
        Intensity.of(np.full((2, 2, 2), np.nan))


def test_a_constant_image_has_a_positive_spread() -> None:
    assert Intensity.of(np.full((2, 2, 2), 7)) == Intensity(7.0, 7.0, 7.0, 1.0)


@pytest.mark.parametrize(
    "fields",
    [
        *((0, "x", (0, 0, 0)), (255, "x", (0, 0, 0)), (1, " ", (0, 0, 0)), (1, "x", (0, 0, 256))),
        *((1, "x", (0, 0, 0), 0), (1, "x", (0, 0, 0), -1)),
    ],
)
def test_a_class_has_a_value_a_name_and_a_colour(fields: tuple[Any, ...]) -> None:
    with pytest.raises(UserError):
        LabelClass(*fields)


def new_case(labels: np.ndarray) -> NewCase:
    def volume(voxels: np.ndarray) -> Volume:
        return Volume(voxels, Geometry.from_affine(voxels.shape[::-1], np.diag([-1, -1, 1, 1])))

    image, source = volume(np.zeros((2, 3, 4))), SourceInfo("nifti", b"")
    return NewCase("a", Path("a.nii"), image, source, Path("l.nii"), volume(labels))


@pytest.mark.parametrize(
    "labels",
    [np.zeros((2, 3, 5), np.uint8), np.full((2, 3, 4), 255, np.uint8), np.full((2, 3, 4), -1)],
)
def test_labels_fit_their_image(labels: NDArray[Any]) -> None:
    with pytest.raises(UserError, match=r"l\.nii"):
        new_case(labels)
    assert new_case(np.full((2, 3, 4), 254)).labels is not None


def test_padding_is_left_out_unless_nothing_else_is_there() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(40, 12, (6, 20, 20)).astype(np.int16)
    padded = np.concatenate([plain, np.full((2, 20, 20), -3024, np.int16)])
    for kind in (np.int16, np.int32, np.float32):
        assert Intensity.of(padded.astype(kind), (-3024, -3024)) == Intensity.of(plain.astype(kind))
    assert Intensity.of(padded, (-4000, -3000)) == Intensity.of(plain)
    assert Intensity.of(padded[-2:], (-3024, -3024)).low == -3024
