from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import DTypeLike, NDArray

from napari_mlbseg.project.records.percentiles import distribution_of, parts_of

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    elements = None
    if dtype.kind == "f":
        elements = {
            "allow_nan": False,
            "allow_infinity": False,
            "min_value": -1e6,
            "max_value": 1e6,
        }
        return draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3), elements=elements))
    # Beyond 2 ** 52 numpy interpolates in rounded numbers.
    whole: Any = dtype
    low, high = max(np.iinfo(whole).min, -(2**50)), min(np.iinfo(whole).max, 2**50)
    return draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3), elements=st.integers(low, high))
    )


@settings(max_examples=200)
@given(arrays(), st.lists(st.floats(0, 100), min_size=1, max_size=3))
def test_percentiles_are_those_of_numpy(voxels: NDArray[Any], percents: list[float]) -> None:
    found = distribution_of(voxels).percentiles(percents)
    expected = np.percentile(voxels.astype(float), percents)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_large_images_take_several_parts(dtype: DTypeLike) -> None:
    voxels = np.random.default_rng(0).normal(0, 1000, (7, 900, 900)).astype(dtype)
    assert len(list(parts_of(voxels)())) > 1
    found = distribution_of(voxels)
    low, high = found.percentiles((0.5, 99.5))
    assert (low, high) == pytest.approx(tuple(np.percentile(voxels, (0.5, 99.5))), rel=1e-6)
    clipped = np.clip(voxels.astype(float), low, high)
    mean, std = found.clipped_moments(low, high)
    assert mean == pytest.approx(clipped.mean(), abs=1e-6)
    assert std == pytest.approx(clipped.std())
