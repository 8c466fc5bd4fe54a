"""What a file may ask for, against the packers themselves and against slow counting."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.zstd import Zstd

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import (
    MOST_AT_ONCE,
    MOST_BYTES_PER_BYTE,
    MOST_VOXELS,
    chunks_in,
    require_memory,
    require_part,
    require_slices,
    require_unpacks_to,
    times,
    zstd_size,
)

FILE = Path("/scans/a.file")
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "lzma": lzma.compress,
}
PUT_TOGETHER = ("gzip", "bzip2", "lzma")
contents = st.builds(lambda piece, n: piece * n, st.binary(max_size=30), st.integers(0, 200))


@given(content=contents, packer=st.sampled_from(sorted(PACK)), less=st.integers(-3, 3))
def test_a_part_is_refused_where_it_unpacks_to_more_than_was_said(
    content: bytes, packer: str, less: int
) -> None:
    said = max(0, len(content) - less)
    packed = PACK[packer](content)
    if len(content) > said:
        with pytest.raises(UserError, match=f"unpacks to more than the {said:,} bytes"):
            require_unpacks_to(FILE, packed, packer, said, most=0)
    else:
        require_unpacks_to(FILE, packed, packer, said, most=0)


@given(parts=st.lists(contents, min_size=1, max_size=4), packer=st.sampled_from(PUT_TOGETHER))
def test_parts_that_were_put_together_count_together(parts: list[bytes], packer: str) -> None:
    packed = b"".join(PACK[packer](part) for part in parts)
    whole = sum(map(len, parts))
    require_unpacks_to(FILE, packed, packer, whole, most=0)
    if whole:
        with pytest.raises(UserError, match="unpacks to more"):
            require_unpacks_to(FILE, packed, packer, whole - 1, most=0)


@given(content=contents, packer=st.sampled_from(sorted(PACK)), cut=st.integers(1, 20))
def test_what_is_cut_off_is_left_to_the_reader(content: bytes, packer: str, cut: int) -> None:
    require_unpacks_to(FILE, PACK[packer](content)[:-cut], packer, len(content), most=0)


def test_small_parts_are_taken_without_a_look() -> None:
    """Not even what is no such part at all is looked at."""
    for packer, most in MOST_BYTES_PER_BYTE.items():
        require_unpacks_to(FILE, bytes(10), packer, 0, most=10 * most)


@pytest.mark.parametrize("packer", ["packbits", "lzf"])
def test_where_nothing_can_be_unpacked_piece_by_piece_the_worst_is_taken(packer: str) -> None:
    worst = 10 * MOST_BYTES_PER_BYTE[packer]
    with pytest.raises(UserError, match=f"parts of {worst:,} bytes"):
        require_unpacks_to(FILE, bytes(10), packer, 10**9, most=worst - 1)


# --- Zstandard ------------------------------------------------------------------------------------


@given(content=contents)
def test_the_size_in_a_frame_is_the_one_that_it_unpacks_to(content: bytes) -> None:
    packed = bytes(Zstd().encode(content)) if content else b""
    assert zstd_size(packed) == len(content)


@pytest.mark.parametrize(("kind", "octets"), [(0, 1), (1, 2), (2, 4), (3, 8)])
@pytest.mark.parametrize(("dictionary", "more"), [(0, 0), (1, 1), (2, 2), (3, 4)])
@pytest.mark.parametrize("single", [True, False])
def test_every_kind_of_frame_says_its_size(
    kind: int, octets: int, dictionary: int, more: int, single: bool
) -> None:
    """By the layout of RFC 8878: window, dictionary, size; two octets leave out the first 256."""
    number = 7 if octets == 1 else 300
    descriptor = bytes([kind << 6 | single << 5 | dictionary])
    window = b"" if single else b"\x60"
    said = number.to_bytes(octets, "little")
    frame = b"\x28\xb5\x2f\xfd" + descriptor + window + bytes([9] * more) + said + bytes(8)
    expected = {0: number if single else None, 1: number + 256}.get(kind, number)
    assert zstd_size(frame) == expected


def test_a_frame_that_says_too_much_is_refused_unseen() -> None:
    packed = bytes(Zstd().encode(bytes(5000)))
    require_unpacks_to(FILE, packed, "zstd", 5000, most=0)
    with pytest.raises(UserError, match="unpacks to more than the 4,999 bytes"):
        require_unpacks_to(FILE, packed, "zstd", 4999, most=0)


def test_what_is_no_frame_is_left_to_the_reader() -> None:
    assert zstd_size(b"") == zstd_size(b"\x28\xb5\x2f\xfd\x00") == zstd_size(b"no frame") == 0


# --- sizes ----------------------------------------------------------------------------------------


def test_the_largest_that_is_taken_and_one_more() -> None:
    require_slices(FILE, (MOST_VOXELS,), MOST_AT_ONCE)
    require_part(FILE, MOST_AT_ONCE)
    with pytest.raises(UserError, match=r"a\.file is too large or its header is damaged"):
        require_slices(FILE, (MOST_VOXELS + 1,), MOST_AT_ONCE)
    with pytest.raises(UserError, match=f"slices of {MOST_AT_ONCE + 1:,} bytes"):
        require_slices(FILE, (1,), MOST_AT_ONCE + 1)
    with pytest.raises(UserError, match="smaller chunks"):
        require_part(FILE, MOST_AT_ONCE + 1)


def test_no_more_than_half_of_the_memory_is_asked_for() -> None:
    require_memory(1 << 20)
    with pytest.raises(MemoryError):
        require_memory(1 << 60)


def test_sizes_are_written_as_people_write_them() -> None:
    assert times((2, 3, 4)) == "2 x 3 x 4"
    assert times(()) == ""


@st.composite
def windows(
    draw: st.DrawFn,
) -> tuple[tuple[int | slice, ...], tuple[int, ...], tuple[int, ...]]:
    """An index or some of the voxels along each axis, the shape and the chunks of an array."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    chunks = tuple(draw(st.integers(1, 11)) for _ in shape)
    window: list[int | slice] = []
    for n in shape:
        first, last = sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))))
        whole = st.sampled_from([slice(None), slice(first, None), slice(None, last + 1)])
        window.append(draw(st.one_of(st.just(first), st.just(slice(first, last + 1)), whole)))
    return tuple(window), shape, chunks


@given(windows())
def test_the_chunks_of_a_window_are_those_of_its_voxels(
    drawn: tuple[tuple[int | slice, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    window, shape, chunks = drawn
    asked = np.zeros(shape, bool)
    asked[window] = True
    expected = {tuple(int(p) // side for p, side in zip(place, chunks, strict=True))
                for place in np.argwhere(asked)}  # fmt: skip
    found = list(chunks_in(window, shape, chunks))
    assert len(found) == len(set(found))
    assert set(found) == expected
