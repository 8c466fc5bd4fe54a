"""What goes around an exported network of slices, against geometry."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_mlbseg.standalone as standalone
from napari_mlbseg.standalone.image import Preparation, layout_of, scale_of
from napari_mlbseg.standalone.slices import Slices, hardened

PLAIN = Preparation((32, 32), (1.0, 1.0), 3, (0, 1), "z", (0.5, 99.5))


@given(
    count=st.integers(1, 200),
    spacing=st.floats(0.2, 5.0),
    resolution=st.floats(0.5, 3.0),
)
def test_pixels_of_the_grid_lie_where_they_should(
    count: int, spacing: float, resolution: float
) -> None:
    # A slice whose intensity is the position in mm along its columns.
    position = (np.arange(count) + 0.5 - count / 2) * spacing
    volume = np.broadcast_to(position, (1, 2, count)).astype(np.float32)
    affine = np.array([[0, 0, -spacing], [0, -1.0, 0], [1.0, 0, 0]])
    prepared = Preparation((32, 32), (resolution, resolution), 1, (0, 1), "z", (0, 100))
    low, high, mean, std = scale_of(volume, prepared.percentiles)
    grid = Slices(volume, affine, prepared).grids(0, 1)[0, 0] * std + mean
    expected = (np.arange(32) + 0.5 - 16) * resolution
    inside = np.abs(expected) < max(0, (count / 2) * spacing - 2 * max(resolution, spacing))
    assert np.allclose(grid[:, inside], expected[inside], atol=1e-3 * max(1, high - low))


def test_a_boundary_comes_back_to_where_it_was() -> None:
    layout = layout_of((1, 60, 50), np.diag([1.0, 1.0, 1.0]), "x")
    edge_mm = 3.3
    steps = (np.arange(32) + 0.5 - 16) * PLAIN.resolution_mm[1]
    organ = np.clip(0.5 + (edge_mm - steps) / 8, 0, 1)[None, :].repeat(32, 0)
    probabilities = np.stack([1 - organ, organ])[None].astype(np.float32)
    labels = hardened(probabilities, layout, PLAIN)[0]
    columns = (np.arange(layout.shape[2]) + 0.5 - layout.shape[2] / 2) * layout.spacing_mm[2]
    assert np.array_equal(labels, np.broadcast_to(columns < edge_mm, labels.shape))


def test_neighbours_become_channels_and_the_ends_repeat() -> None:
    volume = np.zeros((3, 32, 32), np.float32) + np.array([0, 1, 2], np.float32)[:, None, None]
    affine = np.array([[0, 0, -1.0], [0, -1.0, 0], [1.0, 0, 0]])
    _, _, mean, std = scale_of(volume, PLAIN.percentiles)
    found = Slices(volume, affine, PLAIN).grids(0, 3)[:, :, 5, 5] * std + mean
    assert np.allclose(found, [[0, 0, 1], [0, 1, 2], [1, 2, 2]], atol=1e-6)


def test_the_licence_that_leaves_is_the_licence() -> None:
    shipped = Path(standalone.__file__).parent / "LICENSE"
    own = Path(standalone.__file__).parents[2] / "LICENSE"
    if not own.exists():
        pytest.skip("installed without its repository")
    assert shipped.read_text() == own.read_text()
