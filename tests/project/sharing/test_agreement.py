"""How far people agree, against MONAI's metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_dice
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.sharing.agreement import agreement, dice, distance_mm
from napari_mlbseg.project.sharing.splitting import split
from napari_mlbseg.project.study import Study

masks = arrays(np.bool_, (9, 11), elements=st.booleans())


@pytest.mark.filterwarnings("ignore:monai.metrics:FutureWarning")  # of what MONAI itself calls
@given(masks, masks, st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
def test_the_figures_are_those_of_monai(
    a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, float]
) -> None:
    if not a.any() or not b.any():
        assert distance_mm(a, b, spacing) is None
        return
    first, second = (torch.from_numpy(np.pad(one, 1))[None, None].float() for one in (a, b))
    assert dice(a, b) == pytest.approx(float(compute_dice(first, second)))
    expected = compute_average_surface_distance(
        first, second, include_background=True, symmetric=True, spacing=list(spacing)
    )
    assert distance_mm(a, b, spacing) == pytest.approx(float(expected), abs=1e-5)
    assert distance_mm(b, a, spacing) == pytest.approx(float(expected), abs=1e-5)


def test_only_masks_that_nobody_had_seen_are_compared(study: Study) -> None:
    """A correction of another's mask tells nothing of how far they agree."""
    key = SliceKey("a", 0, 1)
    study.save_slice(key, np.ones((7, 8), np.uint8), SliceState.CLEAN)
    study.save_slice(key, np.zeros((7, 8), np.uint8), SliceState.CLEAN)
    assert agreement(study) == ()


def test_removed_cases_are_left_out(study: Study, tmp_path: Path) -> None:
    study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    for size, (name, path) in enumerate(split(study, tmp_path, {"Ada": "a", "Ben": "a"}).items()):
        with Study.open(path, author=name) as copy:
            mask = np.zeros((7, 8), np.uint8)
            mask[: size + 2] = 1
            copy.save_slice(SliceKey("a", 0, 1), mask, SliceState.CLEAN)
            study.merge(copy)
    assert len(agreement(study)) == 1
    study.changes.remove(["a"])
    assert agreement(study) == ()
