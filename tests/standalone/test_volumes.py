"""What goes around an exported network of volumes, against the engine's code and MONAI's."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mlbseg.engine.nets import tiling
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.views import averaged_views
from napari_mlbseg.engine.steps import predict
from napari_mlbseg.standalone.image import Grids, Preparation, Shape, layout_of, scale_of
from napari_mlbseg.standalone.volumes import hardened, on_grid, probabilities, tiled

PLAIN = Preparation((16, 16, 16), (2.0, 1.0, 1.0), 1, (0, 7), "z", (0, 100))


@given(
    tile=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    more=st.lists(st.integers(0, 14), min_size=3, max_size=3),
)
@settings(max_examples=40)
def test_tiles_are_put_together_as_monai_does(tile: list[int], more: list[int]) -> None:
    space = [side + rest for side, rest in zip(tile, more, strict=True)]
    image = np.random.default_rng(0).normal(size=(1, 1, *space)).astype(np.float32)

    def seen(part: torch.Tensor) -> torch.Tensor:
        # What a tile says depends on where in the tile a voxel lies, and on the tile's borders.
        return torch.cat([part.cumsum(2).cumsum(4), part.flip(3)], dim=1)

    expected = tiling.tiled(seen, torch.from_numpy(image), tile=tuple(tile)).numpy()
    found = tiled(lambda part: seen(torch.from_numpy(part)).numpy(), image, tuple(tile))
    assert np.allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_volumes_are_predicted_as_the_engine_does() -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=3, dims=3).eval()
    image = 2 * torch.randn(1, 1, 40, 48, 37)
    views, tile = averaged_views(["identity", "zoom_in", "zoom_out", "flip_x"]), (16, 32, 32)
    parameters = dict(network.named_parameters())
    expected = predict.probabilities(as_model(network), parameters, image, views=views, tile=tile)

    def said(part: Grids) -> Grids:
        with torch.no_grad():
            logits: Grids = network(torch.from_numpy(part)).numpy()
        return logits

    found = probabilities(said, image.numpy(), tile=tile, views=[view.name for view in views])
    assert np.abs(found - expected.numpy()).max() <= 1e-5


def distance_from(centre: tuple[float, ...], shape: Shape, spacing: tuple[float, ...]) -> Grids:
    """In mm, at voxels around the origin."""
    places = [(np.arange(n) + 0.5 - n / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    apart = [p - c for p, c in zip(np.meshgrid(*places, indexing="ij"), centre, strict=True)]
    found: Grids = np.sqrt(np.square(apart).sum(axis=0)).astype(np.float32)
    return found


def test_a_ball_lies_where_it_was_on_the_grid_and_after_it() -> None:
    # Rows much finer than the grid are averaged down first; the grid is as large as the volume.
    shape, spacing, centre = (30, 120, 40), (1.5, 0.3, 0.8), (3.0, -2.0, 1.0)
    grid_shape = (23, 36, 32)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -spacing[2]], [0, -spacing[1], 0], [spacing[0], 0, 0]]
    volume = distance_from(centre, shape, spacing)
    expected = distance_from(centre, grid_shape, PLAIN.resolution_mm)
    _, _, mean, std = scale_of(volume, PLAIN.percentiles)
    found = on_grid(volume, affine, PLAIN) * std + mean
    assert found.shape == (1, 1, *grid_shape)
    inner = (0, 0, *[slice(1, -1)] * 3)  # beyond the volume its border goes on
    assert np.abs(found - expected)[inner].max() < 0.5
    assert np.abs(found - expected)[inner].mean() < 0.05

    organ = np.clip(0.5 + (8 - expected) / 8, 0, 1).astype(np.float32)
    labels = hardened(np.stack([1 - organ, organ])[None], layout_of(shape, affine, "z"), PLAIN)
    sure = np.abs(volume - 8) > 0.2
    assert np.array_equal(labels[sure], np.where(volume < 8, 7, 0)[sure])
    assert (labels > 0).sum() > 1000


def test_the_grid_of_a_small_volume_has_room_for_a_tile() -> None:
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -1.0], [0, -1.0, 0], [1.0, 0, 0]]
    volume = distance_from((0, 0, 0), (5, 30, 9), (1.0, 1.0, 1.0))
    assert on_grid(volume, affine, PLAIN).shape == (1, 1, 16, 30, 16)
