import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.widgets.tools.regions import region

pytestmark = pytest.mark.one_binding

Mask = NDArray[np.bool_]
volumes = arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3))


@given(marked=volumes, data=st.data())
def test_a_region_is_a_component_of_the_volume(marked: Mask, data: st.DataObject) -> None:
    z, y, x = (data.draw(st.integers(0, n - 1)) for n in marked.shape)
    found = region(lambda index: marked[index], z, (y, x), range(len(marked)))
    parts, _ = ndimage.label(marked, np.ones((3, 3, 3)))
    expected = (parts == parts[z, y, x]) & marked[z, y, x]
    assert sorted(found) == np.flatnonzero(expected.any(axis=(1, 2))).tolist()
    assert all(np.array_equal(mask, expected[index]) for index, mask in found.items())


@given(marked=volumes, data=st.data())
def test_a_region_of_one_slice_is_a_component_of_that_slice(
    marked: Mask, data: st.DataObject
) -> None:
    z, y, x = (data.draw(st.integers(0, n - 1)) for n in marked.shape)
    asked = []

    def look(index: int) -> Mask:
        asked.append(index)
        return np.asarray(marked[index])

    found = region(look, z, (y, x), range(z, z + 1))
    assert asked == [z]
    parts, _ = ndimage.label(marked[z], np.ones((3, 3)))
    if marked[z, y, x]:
        assert list(found) == [z]
        assert np.array_equal(found[z], parts == parts[y, x])
    else:
        assert found == {}


def test_slices_that_the_region_does_not_come_near_are_not_read() -> None:
    marked = np.zeros((9, 5, 5), bool)
    marked[3:6, 2, 2] = marked[8, 2, 2] = True
    asked = []

    def look(index: int) -> Mask:
        asked.append(index)
        return np.asarray(marked[index])

    assert list(region(look, 4, (2, 2), range(9))) == [3, 4, 5]
    assert sorted(asked) == [2, 3, 4, 5, 6]
