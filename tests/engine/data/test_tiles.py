"""Layers that a tiled prediction needs, against all tiles of the volume."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from napari_mlbseg.engine.data.tiles import layers_needed, one_tile_around
from napari_mlbseg.engine.nets.tiling import OVERLAP, tiled


def tiles(total: int, tile: int, stride: int) -> list[int]:
    """Where MONAI's tiles begin: the last one is pulled back to end with the volume."""
    starts = [min(s, total - tile) for s in range(0, total, stride)]
    return sorted(set(starts[: starts.index(total - tile) + 1]))


@given(st.data())
def test_the_layers_hold_the_same_tiles_as_the_volume(data: st.DataObject) -> None:
    tile = data.draw(st.integers(2, 40))
    stride = data.draw(st.integers(1, tile))
    total = data.draw(st.integers(tile, 200))
    low = data.draw(st.integers(0, total - 1))
    high = data.draw(st.integers(low + 1, total))
    start, stop = layers_needed(low, high, total=total, tile=tile, stride=stride)
    assert 0 <= start <= low < high <= stop <= total

    def over(starts: list[int]) -> list[int]:
        return [s for s in starts if s < high and s + tile > low]

    whole = over(tiles(total, tile, stride))
    assert over([start + s for s in tiles(stop - start, tile, stride)]) == whole
    assert start == whole[0]
    assert stop == whole[-1] + tile


@given(st.integers(1, 40), st.integers(0, 100), st.data())
def test_one_tile_has_the_layer_in_its_middle(tile: int, more: int, data: st.DataObject) -> None:
    layer = data.draw(st.integers(0, tile + more - 1))
    start, stop = one_tile_around(layer, total=tile + more, tile=tile)
    assert stop - start == tile
    assert 0 <= start <= layer < stop <= tile + more
    if 0 < start < more:
        assert layer - start == tile // 2


def test_one_tile_is_the_whole_and_few_layers_are_a_part_of_it() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(1, 3, 3, padding=1)

    def network(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return convolution(images), images - images.mean()

    volume = torch.randn(1, 1, 40, 16, 24)
    for at_once, by_tile in zip(
        network(volume), tiled(network, volume, tile=(40, 16, 24)), strict=True
    ):
        torch.testing.assert_close(by_tile, at_once)
    tile = (16, 16, 16)
    whole = tiled(network, volume, tile=tile)[0]
    assert not torch.allclose(whole, network(volume)[0])
    start, stop = layers_needed(21, 24, total=40, tile=16, stride=int(16 * (1 - OVERLAP)))
    assert (start, stop) == (8, 32)
    part = tiled(network, volume[:, :, start:stop], tile=tile)[0]
    torch.testing.assert_close(part[:, :, 21 - start : 24 - start], whole[:, :, 21:24])
