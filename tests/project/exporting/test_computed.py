"""Maps that pass through the disk on their way into files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.computed import kept_meanwhile
from napari_mlbseg.project.study import Study


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blocks_of_slices_become_volumes_that_are_gone_afterwards(
    study: Study, tmp_path: Path, axis: int
) -> None:
    study.set_axis("a", axis)
    case = study.case("a")
    shape = case.geometry.shape
    expected = np.random.default_rng(axis).random((2, *shape)).astype(np.float32)
    slices = np.moveaxis(expected, axis + 1, 0)
    blocks = ((start, slices[start : start + 4]) for start in range(0, shape[axis], 4))
    folder = tmp_path / "out"
    folder.mkdir()
    with kept_meanwhile(blocks, case, [3, 9], folder) as maps:
        assert [path.name[0] for path in folder.iterdir()] == ["."]
        assert list(maps) == [3, 9]
        for found, wanted in zip(maps.values(), expected, strict=True):
            np.testing.assert_array_equal(found[:, :, :], wanted)
            np.testing.assert_array_equal(found[1:3, 2:, :4], wanted[1:3, 2:, :4])
    assert list(folder.iterdir()) == []


def test_a_folder_without_room_is_a_user_error(study: Study, tmp_path: Path) -> None:
    def full() -> Iterator[Any]:
        raise OSError(28, "No space left on device")
        yield

    with (
        pytest.raises(UserError, match=r"No space left on device.*more space"),
        kept_meanwhile(full(), study.case("a"), [1], tmp_path),
    ):
        pass
    assert not list(tmp_path.glob(".probabilities*"))
