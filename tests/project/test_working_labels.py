import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume


def mask_of(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


def test_another_axis_keeps_the_slices_of_the_old_one(study: Study) -> None:
    mask = mask_of((7, 8))
    study.save_slice(SliceKey("a", 0, 2), mask, SliceState.CLEAN)
    study.set_axis("a", 2)
    across = mask_of((6, 7), seed=1)
    study.save_slice(SliceKey("a", 2, 5), across, SliceState.CLEAN)
    assert study.case("a").axis == 2
    assert study.slices.clean() == (SliceKey("a", 0, 2), SliceKey("a", 2, 5))
    labels = study.labels.working("a")
    np.testing.assert_array_equal(labels[:, :, 5], across)
    np.testing.assert_array_equal(labels[2, :, :5], mask[:, :5])


def test_what_is_seen_is_prediction_then_initial_labels_then_nothing(
    study: Study, make_case: Callable[..., Any]
) -> None:
    study.add_cases([make_case("b", labels=True)])
    assert not study.labels.machine("a").any()
    initial = make_case("b", labels=True).labels.voxels
    np.testing.assert_array_equal(study.labels.machine("b"), initial)
    study.arrays.create("b", ArrayName.PREDICTION)
    study.arrays.write("b", ArrayName.PREDICTION, 0, 4, np.full((1, 7, 8), 9, np.uint8))
    study.save_slice(SliceKey("b", 0, 4), np.full((7, 8), 2, np.uint8), SliceState.DRAFT)
    study.save_slice(SliceKey("b", 0, 5), np.full((7, 8), 3, np.uint8), SliceState.CLEAN)
    study.save_slice(SliceKey("b", 0, 0), np.full((7, 8), 4, np.uint8), SliceState.DRAFT)
    study.slices.set_state(SliceKey("b", 0, 0), SliceState.SKIPPED)
    assert study.labels.machine("b")[4].min() == 9
    assert [int(v) for v in study.labels.working("b")[:, 0, 0]] == [0, 0, 0, 0, 2, 3]


ACTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(2, 4),
        st.sampled_from(["draft", "clean", "skip", "accept"]),
        st.integers(1, 254),
    ),
    max_size=12,
)


@settings(max_examples=20)
@given(acts=ACTS)
@example(acts=[(2, 2, "draft", 1), (0, 2, "clean", 2), (2, 2, "accept", 0)])
@example(acts=[(2, 2, "draft", 1), (1, 2, "draft", 2), (0, 2, "draft", 3)])
def test_of_two_slices_that_cross_the_one_revised_last_is_seen(acts: Any) -> None:
    shape = (6, 7, 8)
    newest: dict[tuple[int, int], tuple[str, int]] = {}  # ordered by the last revision
    with (
        tempfile.TemporaryDirectory() as folder,
        Study.create(Path(folder) / "s.mlbseg") as study,
    ):
        geometry = Geometry.from_affine((8, 7, 6), np.diag([-1.0, -1.0, 1.0, 1.0]))
        image, source = Volume(np.zeros(shape, np.int16), geometry), SourceInfo("nifti", b"")
        study.add_cases([NewCase("a", Path("a.nii"), image, source)])
        for axis, index, act, value in acts:
            key = SliceKey("a", axis, index)
            _, old = newest.get((axis, index), ("", 0))
            if act in {"draft", "clean"}:
                mask = np.full([n for k, n in enumerate(shape) if k != axis], value, np.uint8)
                study.save_slice(key, mask, SliceState(act))
                old = value
            elif act == "accept" and old:
                study.slices.set_state(key, SliceState.CLEAN)
            elif act == "skip":
                study.slices.set_state(key, SliceState.SKIPPED)
            else:
                continue
            newest.pop((axis, index), None)
            newest[axis, index] = (act, old)
        labels = study.labels.working("a")
    for voxel in np.ndindex(*shape):
        crossing = [
            value
            for (axis, index), (act, value) in newest.items()
            if voxel[axis] == index and act != "skip"
        ]
        assert labels[voxel] == (crossing[-1] if crossing else 0)
