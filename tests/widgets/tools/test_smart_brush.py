import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.widgets.tools.smart_brush import smart_dab

pytestmark = pytest.mark.one_binding

SQUARE = (1.0, 1.0)


def dab(
    image: NDArray[np.generic],
    centre: tuple[int, int],
    radius_mm: float = 10.5,
    spacing_mm: tuple[float, float] = SQUARE,
) -> NDArray[np.bool_]:
    found = np.zeros(image.shape, bool)
    found[smart_dab(image, centre, radius_mm, spacing_mm)] = True
    return found


def disc(shape: tuple[int, int], centre: tuple[int, int], radius: float) -> NDArray[np.bool_]:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def test_where_all_is_alike_a_dab_is_the_whole_disc() -> None:
    image = np.full((50, 60), 7, np.int16)
    assert np.array_equal(dab(image, (20, 30)), disc((50, 60), (20, 30), 10.5))
    noisy = np.random.default_rng(1).normal(100, 10, (50, 60))
    found = dab(noisy, (20, 30)).sum()
    assert found > 0.93 * disc((50, 60), (20, 30), 10.5).sum()


@pytest.mark.parametrize("noise", [0.0, 20.0])
@pytest.mark.parametrize("away", [1, 3, 6])
def test_a_dab_stays_on_its_side_of_an_edge(noise: float, away: int) -> None:
    rng = np.random.default_rng(0)
    image = np.full((60, 60), 100.0)
    image[:, 30:] = 250.0
    image += rng.normal(0, noise, image.shape)
    found = dab(image, (30, 30 - away))
    side = disc((60, 60), (30, 30 - away), 10.5)
    side[:, 30:] = False
    assert (found & ~side).sum() <= 0.03 * side.sum()
    assert (found & side).sum() >= 0.85 * side.sum()


def test_what_is_alike_but_not_connected_stays_out() -> None:
    image = np.zeros((40, 40))
    image[:, 18:22] = 300.0  # a wall with the same on both sides
    found = dab(image, (20, 14))
    assert found[20, 17]
    assert not found[:, 18:].any()


def test_a_dab_is_round_in_mm_and_ends_with_the_slice() -> None:
    image = np.zeros((30, 90), np.float16)
    rows, columns = np.nonzero(dab(image, (15, 45), 9.0, (3.0, 1.0)))
    assert [int(np.ptp(found)) for found in (rows, columns)] == [6, 18]
    corner = dab(image, (0, 89), 5.0)
    assert np.array_equal(corner, disc((30, 90), (0, 89), 5.0))


@pytest.mark.parametrize("outside", [(-1, 5), (5, 40), (30, 5)])
def test_a_cursor_outside_the_slice_paints_nothing(outside: tuple[int, int]) -> None:
    assert not dab(np.zeros((30, 40)), outside).any()


def test_a_dab_is_one_piece_that_holds_the_centre() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 100, (64, 64)), 2)
    for centre in ((5, 5), (30, 40), (63, 0)):
        found = dab(image, centre)
        assert found[centre]
        assert ndimage.label(found)[1] == 1
