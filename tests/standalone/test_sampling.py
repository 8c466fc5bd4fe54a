"""Resampling as matrices, against interpolation one line at a time."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_mlbseg.standalone.sampling import linear, to_grid, to_pixels
from napari_mlbseg.standalone.views import View, other_views

counts, spacings = st.integers(1, 40), st.floats(0.2, 5)


def values(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(count).normal(size=count)


@given(count=counts, positions=st.lists(st.floats(-50, 90), min_size=1, max_size=20))
def test_weights_are_those_of_linear_interpolation(count: int, positions: list[float]) -> None:
    at = np.array(positions)
    line = values(count)
    expected = np.interp(at, np.arange(count), line)
    np.testing.assert_allclose(linear(at, count) @ line, expected, atol=1e-9)


@example(count=19, spacing=0.75, size=3, resolution=3.5)
@given(count=counts, spacing=spacings, size=counts, resolution=spacings)
def test_the_grid_and_the_pixels_share_their_centre(
    count: int, spacing: float, size: int, resolution: float
) -> None:
    """A ramp in mm stays a ramp as far as both reach, and what is even stays even."""
    there, back = (
        to_grid(count, spacing, size, resolution),
        to_pixels(count, spacing, size, resolution),
    )
    assert (there.shape, back.shape) == ((size, count), (count, size))
    for matrix in (there, back):
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
        assert matrix.min() >= 0
    pixels = (np.arange(count) + 0.5 - count / 2) * spacing
    grid = (np.arange(size) + 0.5 - size / 2) * resolution
    inside = np.abs(pixels) <= np.abs(grid).max()
    np.testing.assert_allclose((back @ grid)[inside], pixels[inside], atol=1e-3)
    # The last block of pixels that are averaged may be a part, padded with the border; it counts
    # as far as the middle of the block before it.
    by = max(1, int(resolution / spacing + 1e-6))
    inside = np.abs(grid) <= np.abs(pixels).max() - 1.5 * by * spacing
    np.testing.assert_allclose((there @ pixels)[inside], grid[inside], atol=1e-3)


@pytest.mark.parametrize("by", [2, 3, 5])
def test_fine_pixels_are_averaged_and_none_is_left_out(by: int) -> None:
    line = values(12 * by)
    expected = line.reshape(12, by).mean(axis=1)
    np.testing.assert_allclose(to_grid(12 * by, 1.0, 12, float(by)) @ line, expected, atol=1e-5)


# --- views ----------------------------------------------------------------------------------------

SIZE = (12, 17)


def view(name: str) -> View:
    (found,) = other_views([name], SIZE)
    return found


@pytest.mark.parametrize(("name", "axis"), [("flip_y", 0), ("flip_x", 1)])
def test_a_mirrored_view_is_the_mirrored_image(name: str, axis: int) -> None:
    image = np.random.default_rng(0).normal(size=SIZE)
    one = view(name)
    seen = one.rows @ image @ one.columns.T
    np.testing.assert_allclose(seen, np.flip(image, axis), atol=1e-5)
    np.testing.assert_allclose(one.rows_back @ seen @ one.columns_back.T, image, atol=1e-5)
    assert one.known.all()


@pytest.mark.parametrize("name", ["zoom_in", "zoom_out"])
def test_a_zoomed_view_comes_back_where_it_saw_the_image(name: str) -> None:
    """Of a plane, which interpolation does not blur."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    image = 0.3 * y - 0.7 * x + 2
    one = view(name)
    seen = one.rows @ image @ one.columns.T
    back = one.rows_back @ seen @ one.columns_back.T
    known = one.known.astype(bool)
    if name == "zoom_in":  # its edge lies within the image
        assert 0 < known.sum() < known.size
        assert not known[0].any()
        assert not known[:, 0].any()
    else:  # it looks beyond the edge of the image, where the border goes on
        assert known.all()
        known[[0, 1, -2, -1]] = known[:, [0, 1, -2, -1]] = False
    assert known[SIZE[0] // 2, SIZE[1] // 2]
    np.testing.assert_allclose(back[known], image[known], atol=1e-4)


def test_the_image_itself_is_no_other_view() -> None:
    assert other_views(["identity"], SIZE) == []
    assert len(other_views(["flip_x", "identity", "zoom_in"], SIZE)) == 2
