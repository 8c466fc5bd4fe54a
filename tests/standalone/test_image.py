"""How exported models read a volume, against the code of the project."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.standalone.image import layout_of, scale_of
from napari_mlbseg.volume import Geometry


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    spacing = draw(st.sampled_from([(1.0, 1.0, 1.0), (0.5, 2.0, 0.7), (3.0, 3.0, 1.0)]))
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    return Geometry.from_affine(shape, affine)


@given(geometry=geometries())
def test_volumes_are_cut_as_the_project_does(geometry: Geometry) -> None:
    volume = np.arange(np.prod(geometry.file_shape)).reshape(geometry.file_shape)
    shown = geometry.to_display(volume)
    for axis, name in ((geometry.default_axis, "largest_spacing"), (0, "z"), (1, "y"), (2, "x")):
        layout = layout_of(volume.shape, np.asarray(geometry.affine), name)
        assert np.array_equal(layout.stack(volume), np.moveaxis(shown, axis, 0))
        assert np.array_equal(layout.unstack(layout.stack(volume)), volume)
        rest = [mm for k, mm in enumerate(geometry.spacing_mm) if k != axis]
        assert layout.spacing_mm == pytest.approx((geometry.spacing_mm[axis], *rest))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("kind", ["noise", "mostly background", "constant"])
def test_intensities_are_measured_as_the_project_does(dtype: type, kind: str) -> None:
    rng = np.random.default_rng(0)
    volume: NDArray[Any] = np.full((7, 30, 31), 3, dtype=dtype)
    if kind == "noise":
        volume = rng.normal(100, 20, volume.shape).clip(0, 250).astype(dtype)
    elif kind == "mostly background":
        volume[3, 4, 5] = 90
    expected = Intensity.of(volume)
    found = scale_of(volume, (0.5, 99.5))
    assert found == pytest.approx(
        (expected.low, expected.high, expected.mean, expected.std), rel=1e-6, abs=1e-6
    )


def test_what_is_no_volume_of_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="three axes"):
        layout_of((3, 4, 5, 2), np.eye(4), "z")
    with pytest.raises(ValueError, match="not finite"):
        scale_of(np.array([[[1.0, np.nan]]]), (0.5, 99.5))
