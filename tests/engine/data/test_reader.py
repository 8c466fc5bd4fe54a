"""Slices as tensors: right whatever was read with them, and read once where the cohort fits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import Phantoms, make_phantoms

from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.nets import device
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey

CPU = torch.device("cpu")


@pytest.fixture
def deep(tmp_path: Path) -> Phantoms:
    """Two rows of chunks along z."""
    return make_phantoms(tmp_path / "deep.mlbseg", cases=1, rough=True, shape=(40, 20, 18))


@pytest.mark.parametrize("limit", [2**29, 1])
@pytest.mark.parametrize(("axis", "index"), [(0, 0), (0, 31), (0, 39), (1, 7), (2, 17)])
def test_slices_are_those_of_the_study(
    deep: Phantoms, monkeypatch: pytest.MonkeyPatch, limit: int, axis: int, index: int
) -> None:
    monkeypatch.setattr(device, "CACHE_BYTES", limit)
    reader, study = Reader(deep.study, CPU), deep.study
    key = SliceKey("phantom0", axis, index)
    raw = study.arrays.read("phantom0", ArrayName.IMAGE, axis, index)
    labels = study.arrays.read("phantom0", ArrayName.INITIAL_LABELS, axis, index)
    for _ in range(2):
        np.testing.assert_array_equal(reader.image(key)[0], reader.normalised(raw, "phantom0"))
        np.testing.assert_array_equal(reader.classes.values[reader.initial_labels(key)], labels)


@pytest.mark.parametrize(("limit", "reads"), [(2**29, 2), (1, 40)])
def test_what_fits_is_read_by_rows_of_chunks(
    deep: Phantoms, monkeypatch: pytest.MonkeyPatch, limit: int, reads: int
) -> None:
    monkeypatch.setattr(device, "CACHE_BYTES", limit)
    asked: list[Any] = []

    def counted(array: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*where: Any) -> Any:
            asked.append(where)
            return array(*where)

        return counting

    reader = Reader(deep.study, CPU)
    monkeypatch.setattr(deep.study.arrays, "open", counted(deep.study.arrays.open))
    for index in range(40):
        reader.image(SliceKey("phantom0", 0, index))
    assert len(asked) == reads
