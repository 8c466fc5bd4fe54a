import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.masks import PackedMask

VALUES = st.integers(0, 254)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2), elements=VALUES))
def test_unpacking_inverts_packing(mask: NDArray[Any]) -> None:
    for given_mask in (mask, mask.T):
        unpacked = PackedMask.pack(given_mask).unpack(given_mask.shape)
        np.testing.assert_array_equal(unpacked, given_mask)
        assert unpacked.dtype == np.uint8
        unpacked[:] = 0  # it is the caller's own


def test_masks_are_small() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[100:300, 50:400] = 3
    assert len(PackedMask.pack(mask).data) < 2000


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 2), np.uint8)])
def test_only_masks_are_packed(mask: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="2-D and uint8"):
        PackedMask.pack(mask)


@pytest.mark.parametrize(
    "packed",
    [
        PackedMask(2, 2, "|u1", b"no zlib"),
        PackedMask(2, 2, "|u1", PackedMask.pack(np.zeros((2, 3), np.uint8)).data),
        PackedMask(2, 2, "|u1", PackedMask.pack(np.zeros((1, 3), np.uint8)).data),
        PackedMask(2, 2, "|u1", PackedMask.pack(np.zeros((2, 2), np.uint8)).data[:-2]),
        PackedMask(2, 2, "|u1", zlib.compress(bytes([0, 0, 0, 255]))),
        PackedMask(9, 9, "|u1", PackedMask.pack(np.zeros((9, 9), np.uint8)).data),
        PackedMask(2, 2, "<i2", PackedMask.pack(np.zeros((2, 2), np.uint8)).data),
        PackedMask(2, 2, "|O", PackedMask.pack(np.zeros((2, 2), np.uint8)).data),
        PackedMask(2, 2, "|u1", "text"),  # type: ignore[arg-type]
    ],
)
def test_damage_is_explained(packed: PackedMask) -> None:
    with pytest.raises(UserError, match="damaged"):
        packed.unpack((2, 2))


BOMB = """
import resource, sys, zlib
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.masks import PackedMask

data = zlib.compressobj(9)
packed = b"".join(data.compress(bytes(1 << 24)) for _ in range(128)) + data.flush()
room = 1 << 29  # of the two gigabytes that it would become
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
try:
    PackedMask(7, 8, "|u1", packed).unpack((7, 8))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to bound memory")
def test_no_more_is_unpacked_than_a_slice_has_pixels(
    other_process: Callable[..., subprocess.Popen[str]],
) -> None:
    out, _ = other_process(BOMB).communicate(timeout=600)
    assert "damaged (not 56 pixels)" in out
