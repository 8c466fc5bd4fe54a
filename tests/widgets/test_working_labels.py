import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.widgets.working_labels import WorkingLabels, slice_of

SHAPE = (4, 5, 6)


@given(axis=st.integers(0, 2), data=st.data())
def test_exactly_the_changed_slices_are_edited(axis: int, data: st.DataObject) -> None:
    labels = WorkingLabels(np.zeros(SHAPE, np.uint8))
    chosen = data.draw(st.sets(st.integers(0, SHAPE[axis] - 1)))
    for index in chosen:
        labels.voxels[slice_of(axis, index)][1, 2] = 3
    assert labels.note_edits(axis) == tuple(sorted(chosen))
    for index in chosen:
        labels.mark_saved(axis, index)
    assert labels.note_edits(axis) == ()


def test_what_was_there_before_the_first_edit_is_kept() -> None:
    labels = WorkingLabels(np.ones(SHAPE, np.uint8))
    assert labels.before(0, 2) is None
    for value in (2, 3):
        labels.voxels[2, 1, 1] = value
        labels.note_edits(0)
        labels.mark_saved(0, 2)
    before = labels.before(0, 2)
    assert before is not None
    assert (before == 1).all()


def test_machine_labels_spare_human_touched_and_unsaved_slices() -> None:
    labels = WorkingLabels(np.zeros(SHAPE, np.uint8))
    labels.voxels[0, 0, 0] = 1
    labels.note_edits(0)
    labels.voxels[0, 0, 0] = 0  # undone, but the history still leads through it
    labels.voxels[1, 0, 0] = 1  # unsaved, not even noticed yet
    labels.refresh(0, 0, np.full(SHAPE, 7, np.uint8), human=[(0, 2)])
    assert labels.voxels[0].max() == 0
    assert labels.voxels[1].sum() == 1
    assert labels.voxels[2].max() == 0
    assert (labels.voxels[3] == 7).all()
    assert labels.note_edits(0) == (1,)


@pytest.mark.parametrize("axis", [1, 2])
def test_machine_labels_spare_a_human_slice_that_runs_across(axis: int) -> None:
    labels = WorkingLabels(np.zeros(SHAPE, np.uint8))
    labels.refresh(0, 1, np.full((2, *SHAPE[1:]), 7, np.uint8), human=[(axis, 3)])
    across = slice_of(axis, 3)
    assert labels.voxels[across].max() == 0
    others = np.delete(labels.voxels[1:3], 3, axis=axis)
    assert (others == 7).all()
    assert labels.voxels[0].max() == 0
    assert labels.voxels[3].max() == 0


@given(axis=st.integers(0, 2), data=st.data())
def test_refresh_takes_slices_stacked_on_the_first_axis(axis: int, data: st.DataObject) -> None:
    volume = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)
    labels = WorkingLabels(np.zeros(SHAPE, np.uint8))
    start = data.draw(st.integers(0, SHAPE[axis] - 1))
    stop = data.draw(st.integers(start + 1, SHAPE[axis]))
    fresh = np.moveaxis(volume, axis, 0)[start:stop]
    labels.refresh(axis, start, fresh, human=[])
    moved = np.moveaxis(labels.voxels, axis, 0)
    assert np.array_equal(moved[start:stop], fresh)
    assert moved[:start].max(initial=0) == 0
    assert moved[stop:].max(initial=0) == 0
    assert labels.note_edits(axis) == ()
