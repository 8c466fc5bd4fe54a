"""What every format shares, against whole arrays in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from orientations import Grid, grids

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.scan import (
    FrameNeededError,
    Scan,
    finite_only,
    frame_of,
    readable,
    require_size,
    scaled,
    usable_geometry,
    whole_numbers,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import Geometry

FILE = Path("/scans/a.file")


def scan_of(array: NDArray[Any], geometry: Geometry, axis: int = 0, thick: int = 2) -> Scan:
    """A file that holds an array, and gives it in slabs along an axis."""

    def stored() -> Iterator[tuple[int, NDArray[Any]]]:
        for start in range(0, array.shape[axis], thick):
            window = [slice(None)] * 3
            window[axis] = slice(start, start + thick)
            yield start, array[tuple(window)]

    return Scan(geometry, array.dtype, SourceInfo("test", b""), axis, stored)


def upright(array: NDArray[Any]) -> Scan:
    x, y, z = array.shape
    return scan_of(array, Geometry.from_affine((x, y, z), np.eye(4)))


def stored_in(scan: Scan) -> NDArray[Any]:
    return np.concatenate([slab for _, slab in scan.stored()], axis=scan.axis)


@given(grid=grids(), axis=st.integers(0, 2), thick=st.integers(1, 4))
def test_slabs_and_the_volume_are_the_array_as_it_is_shown(
    grid: Grid, axis: int, thick: int
) -> None:
    shape, affine = grid
    geometry = Geometry.from_affine(shape, affine)
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    scan = scan_of(array, geometry, axis, thick)
    expected = geometry.to_display(array)
    found = np.full(expected.shape, -1, np.int32)
    for display_axis, first, slab in scan.slabs():
        window = [slice(None)] * 3
        window[display_axis] = slice(first, first + slab.shape[display_axis])
        found[tuple(window)] = slab
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scan.volume().voxels, expected)


def test_a_volume_that_memory_does_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(size: int) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_mlbseg.formats.scan.require_memory", none_left)
    with pytest.raises(UserError, match=r"\(2, 3, 4\) voxels do not fit into memory"):
        upright(np.zeros((2, 3, 4), np.uint8)).volume()


# --- numbers --------------------------------------------------------------------------------------

FLOATS = hnp.arrays(
    np.float32,
    (3, 2, 2),
    elements=st.sampled_from([0.0, 1.5, -3e38, float("nan"), float("inf"), -float("inf")]),
)


@given(FLOATS)
def test_what_is_not_finite_is_counted(array: NDArray[np.float32]) -> None:
    bad = int((~np.isfinite(array)).sum())
    scan = finite_only(FILE, upright(array))
    if bad:
        with pytest.raises(UserError, match=rf"holds {bad:,} voxels .* \(of 12\)"):
            stored_in(scan)
    else:
        np.testing.assert_array_equal(stored_in(scan), array)


def test_what_float32_cannot_hold_counts_as_infinite() -> None:
    array = np.array([1e300, 3.4e38, 1.0]).reshape(1, 1, 3)
    with pytest.raises(UserError, match="holds 1 voxels"):
        stored_in(finite_only(FILE, upright(array)))


def test_whole_numbers_need_no_look() -> None:
    scan = upright(np.zeros((2, 2, 2), np.int16))
    assert finite_only(FILE, scan) is scan


@given(
    array=hnp.arrays(np.int32, (3, 2, 2), elements=st.integers(-(2**31), 2**31 - 1)),
    slope=st.floats(-100, 100),
    inter=st.floats(-2000, 2000),
)
@example(array=np.full((3, 2, 2), 2**24 + 1, np.int32), slope=1.0, inter=-(2.0**24))
def test_scaling_rounds_once(array: NDArray[np.int32], slope: float, inter: float) -> None:
    scan = upright(array)
    found = scaled(scan, slope, inter)
    if (slope, inter) == (1.0, 0.0):
        assert found is scan
        return
    assert found.dtype == np.float32
    expected = (array.astype(np.float64) * slope + inter).astype(np.float32)
    np.testing.assert_array_equal(stored_in(found), expected)


VALUES = st.sampled_from([0, 1, 254, 255, 256, -1, 0.5, 1.99999, 2.001, -0.00001, 255.00001, 1e9])


@given(hnp.arrays(np.float64, (3, 2, 2), elements=VALUES))
def test_labels_are_whole_numbers_up_to_255(array: NDArray[np.float64]) -> None:
    labels = whole_numbers(FILE, upright(array))
    wrong = [v for v in array.ravel() if abs(v - round(v)) > 0.02 or not 0 <= round(v) <= 255]
    if wrong:
        with pytest.raises(UserError, match=rf"{len(wrong):,} of its 12 voxels") as caught:
            stored_in(labels)
        assert f"{min(wrong):.6g}" in str(caught.value)
    else:
        found = stored_in(labels)
        assert found.dtype == np.uint8
        assert found.ravel().tolist() == [round(v) for v in array.ravel()]
        rounded = [v for v in array.ravel() if abs(v - round(v)) > 1e-4]
        assert [f"{len(rounded)} labels" in note for note in labels.found_later()] == (
            [True] if rounded else []
        )


def test_labels_may_be_scaled() -> None:
    stored = np.array([0, 10, 20], np.int16).reshape(1, 1, 3)
    assert stored_in(whole_numbers(FILE, upright(stored), 0.1, 1.0)).ravel().tolist() == [1, 2, 3]
    with pytest.raises(UserError, match="not whole"):
        stored_in(whole_numbers(FILE, upright(stored), 0.15, 0.0))


# --- headers --------------------------------------------------------------------------------------


def test_one_frame_needs_no_choice_and_several_do() -> None:
    assert frame_of(FILE, Choice(), 1, (4, 4)) == 0
    assert frame_of(FILE, Choice(5), 1, (4, 4)) == 0
    assert [frame_of(FILE, Choice(n), 3, (4, 4, 3)) for n in range(3)] == [0, 1, 2]
    with pytest.raises(FrameNeededError, match=r"from 0 to 2 .* --frame") as caught:
        frame_of(FILE, Choice(), 3, (4, 4, 3))
    assert caught.value.frames == 3
    for wrong in (-1, 3):
        with pytest.raises(UserError, match=f"frame {wrong} was chosen"):
            frame_of(FILE, Choice(wrong), 3, (4, 4, 3))


FLAT = np.diag([1.0, 1.0, 0.0, 1.0])
TWICE = np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [FLAT, TWICE, np.eye(4) * np.nan, np.diag([1, np.inf, 1, 1])])
def test_voxels_without_a_size_or_a_direction_are_refused(affine: NDArray[np.float64]) -> None:
    with pytest.raises(UserError, match=r"a\.file has no usable geometry"):
        usable_geometry(FILE, (2, 3, 4), affine)


@given(grids())
def test_any_other_grid_is_taken_as_it_is(grid: Grid) -> None:
    shape, affine = grid
    assert usable_geometry(FILE, shape, affine) == Geometry.from_affine(shape, affine)


@pytest.mark.parametrize("shape", [(), (0, 2, 2), (3, -1, 2)])
def test_sizes_that_are_none_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="damaged header"):
        require_size(FILE, shape, 1, 10**9)


def test_a_small_file_cannot_announce_a_large_volume() -> None:
    """Something compresses well, but nothing this well."""
    require_size(FILE, (400, 400, 400), 1, 400**3)
    require_size(FILE, (400, 400, 400), 1, 4000)
    with pytest.raises(UserError, match=r"400 x 400 x 4000 voxels .* stores 10 bytes"):
        require_size(FILE, (400, 400, 4000), 1, 10)


# --- what libraries say ---------------------------------------------------------------------------


class PanicException(BaseException):
    pass


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError(5, "Input/output error"), "cannot be read as TIFF: Input/output error."),
        (OSError("no such thing\nat all"), "cannot be read as TIFF: no such thing."),
        (OSError(), "cannot be read as TIFF: ."),
        (MemoryError(), "asks for too much memory"),
        (ValueError("bad\nmore"), "not a valid TIFF file: what it holds is damaged"),
        (KeyError(), "not a valid TIFF file: what it holds is damaged"),
        (PanicException("bad"), "not a valid TIFF file: what it holds is damaged"),
        (NotImplementedError("bad"), "in a way of TIFF that is not supported. Save it again"),
        (ImportError("bad"), "in a way of TIFF that is not supported. Save it again"),
    ],
)
def test_whatever_a_library_says_names_the_file(raised: BaseException, said: str) -> None:
    with pytest.raises(UserError) as caught, readable(FILE, "TIFF"):
        raise raised
    assert str(FILE) in str(caught.value)
    assert said in str(caught.value)
    assert "bad" not in str(caught.value)
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [UserError("own words"), KeyboardInterrupt(), GeneratorExit()])
def test_own_words_and_interrupts_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, readable(FILE, "TIFF"):
        raise raised
    assert caught.value is raised
