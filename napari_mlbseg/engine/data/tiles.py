"""The layers of a volume that a tiled prediction of some of its layers needs."""


def layers_needed(low: int, high: int, *, total: int, tile: int, stride: int) -> tuple[int, int]:
    """The layers ``start <= z < stop`` covered by the tiles that touch ``low <= z < high``.

    Tiles start at 0, `stride`, 2 `stride` and so on; the last one ends with the volume. Tiling the
    result alone puts the same tiles over ``low <= z < high``, so a volume can be predicted a few
    layers at a time, with the same result as if it had been predicted as a whole.
    """
    first = max(0, ((low - tile) // stride + 1) * stride)
    first = min(first, total - tile)
    if total - tile < high:
        return first, total
    last = (high - 1) // stride * stride
    return first, min(last + tile, total)


def one_tile_around(layer: int, *, total: int, tile: int) -> tuple[int, int]:
    """The layers of a single tile with `layer` in its middle, as far as the volume allows."""
    start = min(max(layer - tile // 2, 0), total - tile)
    return start, start + tile
