"""Working labels, as whole arrays, as windows and as slices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.labels import Labels, SliceId, Window, laid_over, machine_array
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

SHAPE = (3, 4, 5)
VALUES = st.integers(0, 254)


@st.composite
def corrected_slices(draw: st.DrawFn) -> tuple[SliceId, Labels]:
    axis = draw(st.integers(0, 2))
    index = draw(st.integers(0, SHAPE[axis] - 1))
    shape = tuple(n for k, n in enumerate(SHAPE) if k != axis)
    return (axis, index), draw(hnp.arrays(np.uint8, shape, elements=VALUES))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    z, y, x = (sorted(draw(st.tuples(*[st.integers(0, n)] * 2))) for n in SHAPE)
    return slice(*z), slice(*y), slice(*x)


@given(
    hnp.arrays(np.uint8, SHAPE, elements=VALUES),
    st.lists(corrected_slices(), max_size=8, unique_by=lambda one: one[0]),
    windows(),
)
def test_the_last_slice_through_a_voxel_decides(
    machine: Labels, slices: list[tuple[SliceId, Labels]], window: Any
) -> None:
    before, masks = machine.copy(), dict(slices)
    labels = laid_over(lambda: machine[window].copy(), window, masks, masks.__getitem__)
    expected = machine.copy()
    for voxel in np.ndindex(*SHAPE):
        for (axis, index), mask in slices:
            if voxel[axis] == index:
                expected[voxel] = mask[tuple(v for k, v in enumerate(voxel) if k != axis)]
    np.testing.assert_array_equal(labels, expected[window])
    np.testing.assert_array_equal(machine, before)


def test_nothing_is_read_that_does_not_show() -> None:
    asked: list[SliceId] = []

    def mask(where: SliceId) -> Labels:
        asked.append(where)
        return np.full([n for k, n in enumerate(SHAPE) if k != where[0]], 1 + len(asked), np.uint8)

    def nobody() -> Labels:
        raise AssertionError("the machine's labels are hidden")

    one = slice(1, 2), slice(0, 4), slice(0, 5)
    slices = [(1, 2), (0, 1), (2, 3), (0, 2)]
    labels = laid_over(nobody, one, slices, mask)
    assert asked == [(0, 1), (2, 3)]  # not what lies under it, nor what does not cross it
    assert (labels[0, :, 3] == 3).all()
    assert (labels[0, :, :3] == 2).all()


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (list(ArrayName), ArrayName.PREDICTION),
        ([ArrayName.IMAGE, ArrayName.INITIAL_LABELS, ArrayName.TRUST], ArrayName.INITIAL_LABELS),
        ([ArrayName.IMAGE, ArrayName.PROPOSED_LABELS], None),
    ],
)
def test_the_prediction_goes_before_the_initial_labels(
    there: list[ArrayName], expected: ArrayName | None
) -> None:
    assert machine_array(there.__contains__) is expected


@pytest.mark.parametrize("machine", [None, ArrayName.INITIAL_LABELS])
def test_a_window_is_the_reader_s_own(
    study: Study, make_case: Callable[..., NewCase], machine: ArrayName | None
) -> None:
    case = study.add_cases([make_case("b", labels=machine is not None)])[0]
    found = study.labels.windows(case.id)
    everything = (slice(None), slice(None), slice(None))
    before = found[everything].copy()
    found[everything][:] = 99
    np.testing.assert_array_equal(found[everything], before)
    np.testing.assert_array_equal(study.labels.machine(case.id), before)


@pytest.mark.parametrize("machine", [None, ArrayName.INITIAL_LABELS, ArrayName.PREDICTION])
def test_working_labels_by_windows_are_those_in_memory(
    study: Study, make_case: Callable[..., NewCase], machine: ArrayName | None
) -> None:
    case = study.add_cases([make_case("b", labels=machine is not None)])[0]
    rng = np.random.default_rng(0)
    if machine is ArrayName.PREDICTION:
        study.arrays.create(case.id, machine)[:] = rng.integers(0, 3, case.geometry.shape)
    for axis, index, state in (
        (0, 2, SliceState.CLEAN),
        (1, 3, SliceState.DRAFT),
        (2, 7, SliceState.CLEAN),
        (0, 4, SliceState.DRAFT),
        (0, 2, SliceState.DRAFT),
    ):
        mask = rng.integers(0, 3, case.slice_shape(axis)).astype(np.uint8)
        study.save_slice(SliceKey(case.id, axis, index), mask, state)
    study.slices.set_state(SliceKey(case.id, 0, 4), SliceState.SKIPPED)
    expected = study.labels.working(case.id)
    found = study.labels.windows(case.id)
    everything = (slice(None), slice(None), slice(None))
    np.testing.assert_array_equal(found[everything], expected)
    window = (slice(1, 4), slice(3, 5), slice(6, 8))
    np.testing.assert_array_equal(found[window], expected[window])
