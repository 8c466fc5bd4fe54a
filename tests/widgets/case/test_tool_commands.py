"""The tools on a case of a real study, on a viewer without a window."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from desk import Desk
from numpy.typing import NDArray

from napari_mlbseg.engine.events import SliceAccepted, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.revisions import Wanted
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.slices import SliceRecord, SliceState
from napari_mlbseg.widgets.case.tool_commands import ToolCommands
from napari_mlbseg.widgets.tools import cleaning
from napari_mlbseg.widgets.tools.interpolation import interpolated

pytestmark = pytest.mark.one_binding

DRAFT, CLEAN = SliceState.DRAFT, SliceState.CLEAN
SKIPPED, UNTOUCHED = SliceState.SKIPPED, SliceState.UNTOUCHED
Labels = NDArray[np.uint8]


# --- cleaning up ----------------------------------------------------------------------------------

CLEANING: dict[str, tuple[Callable[[ToolCommands], None], Callable[[Labels], Labels]]] = {
    "grow": (ToolCommands.grow, lambda labels: cleaning.grow(labels, 2, (1.0, 1.0))),
    "shrink": (ToolCommands.shrink, lambda labels: cleaning.shrink(labels, 2, (1.0, 1.0))),
    "smooth": (ToolCommands.smooth, lambda labels: cleaning.smooth(labels, 2, (1.0, 1.0))),
    "fill holes of": (ToolCommands.fill_holes, lambda labels: cleaning.fill_holes(labels, 2)),
    "remove islands of": (
        lambda tools: tools.remove_islands(5.0),
        lambda labels: cleaning.remove_islands(labels, 2, 5.0, (1.0, 1.0)),
    ),
    "keep the largest piece of": (
        ToolCommands.keep_largest,
        lambda labels: cleaning.keep_largest(labels, 2),
    ),
}


def untidy(desk: Desk) -> Labels:
    labels = desk.disc(40, 14, value=2)
    labels[desk.rows // 2, 40] = 0
    labels[5, 5] = labels[9:13, 9:13] = 2
    labels[80:86, 60:66] = 1
    return labels


@pytest.mark.parametrize("name", CLEANING)
def test_cleaning_up_is_one_step_and_says_how_much_changed(desk: Desk, name: str) -> None:
    command, expected = CLEANING[name]
    desk.draw(7, untidy(desk))
    desk.annotation.paint_with(2)
    before = desk.labels
    command(desk.tools)
    assert np.array_equal(desk.labels[7], expected(before[7]))
    assert np.array_equal(np.delete(desk.labels, 7, 0), np.delete(before, 7, 0))
    count = int((desk.labels[7] != before[7]).sum())
    assert count > 0
    pixels = "1 pixel" if count == 1 else f"{count} pixels"
    assert desk.told[-1] == f"Slice 7, {name} 'class 2': {pixels} changed."
    step = desk.annotation.history.last
    assert step is not None
    assert step.name == f"{name} 'class 2' on slice 7"
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)


def test_cleaning_up_a_clean_slice_makes_it_a_draft_and_undo_makes_it_clean(desk: Desk) -> None:
    desk.draw(7, untidy(desk))
    desk.commands.accept()
    desk.annotation.go_to(7)
    desk.annotation.paint_with(2)
    desk.tools.fill_holes()
    assert desk.state(7) is DRAFT
    desk.commands.undo()
    assert desk.state(7) is CLEAN


def test_where_nothing_changes_there_is_no_step(desk: Desk) -> None:
    desk.draw(7, desk.disc(40))
    last = desk.annotation.history.last
    desk.tools.fill_holes()
    assert desk.told[-1] == "Slice 7, fill holes of 'class 1': nothing to change."
    assert desk.annotation.history.last is last


def test_the_background_cannot_be_cleaned_up(desk: Desk) -> None:
    desk.annotation.paint_with(0)
    with pytest.raises(UserError, match="Choose the class to clean up"):
        desk.tools.grow()


def test_a_slice_across_grows_by_its_longer_side(desk: Desk) -> None:
    desk.annotation.show_axis(1)
    desk.annotation.go_to(40)
    before = desk.labels[:, 40]
    desk.tools.grow()
    assert np.array_equal(desk.labels[:, 40], cleaning.grow(before, 1, (3.0, 1.0)))


# --- between a person's slices --------------------------------------------------------------------


def test_untouched_slices_between_two_become_drafts_in_one_step(desk: Desk) -> None:
    before = desk.labels
    first, last = desk.disc(30), desk.disc(50, 13)
    desk.draw(5, first)
    desk.draw(9, last)
    desk.annotation.go_to(7)
    desk.tools.interpolate(only_here=False)
    assert desk.states() == dict.fromkeys(range(5, 10), DRAFT)
    expected = list(interpolated(first, last, [0.25, 0.5, 0.75], (1.0, 1.0)))
    assert np.array_equal(desk.labels[6:9], expected)
    assert np.array_equal(
        np.delete(desk.labels, range(5, 10), 0), np.delete(before, range(5, 10), 0)
    )
    assert desk.told[-1].startswith("Interpolated slices 6 to 8 between your slices 5 and 9.")
    desk.undone_and_redone()
    assert {k for k, state in desk.states().items() if state is DRAFT} == {5, 9}
    assert np.array_equal(desk.labels[6:9], before[6:9])


def test_one_slice_alone_is_interpolated(desk: Desk) -> None:
    desk.draw(5, desk.disc(30))
    desk.draw(9, desk.disc(50))
    desk.annotation.go_to(8)
    desk.tools.interpolate(only_here=True)
    assert desk.states() == {5: DRAFT, 8: DRAFT, 9: DRAFT}
    assert np.array_equal(
        desk.labels[8], next(interpolated(desk.disc(30), desk.disc(50), [0.75], (1.0, 1.0)))
    )
    with pytest.raises(UserError, match="Slice 8 is draft, and interpolation never replaces"):
        desk.tools.interpolate(only_here=True)


def test_from_a_slice_of_ones_own_both_gaps_are_filled(desk: Desk) -> None:
    for index, x in ((3, 30), (6, 40), (9, 50)):
        desk.draw(index, desk.disc(x))
    desk.annotation.go_to(6)
    desk.tools.interpolate(only_here=False)
    assert desk.states() == dict.fromkeys(range(3, 10), DRAFT)
    assert np.array_equal(desk.labels[6], desk.disc(40))
    assert "between your slices 3 and 6 and 9" in desk.told[-1]


def test_interpolation_leaves_every_slice_of_a_persons_as_it_is(desk: Desk) -> None:
    desk.draw(4, desk.disc(30))
    desk.annotation.go_to(6)
    desk.commands.skip()
    desk.draw(10, desk.disc(50))
    desk.commands.accept()
    revisions = [r.revision for r in desk.study.slices.records()]
    before = desk.labels
    desk.annotation.go_to(7)
    desk.tools.interpolate(only_here=False)
    assert desk.states()[6] is SKIPPED
    assert desk.states()[10] is CLEAN
    for index in (4, 6, 10):
        assert np.array_equal(desk.labels[index], before[index])
    assert {r.revision for r in desk.study.slices.records()} >= set(revisions)
    assert "4 slices from 5 to 9" in desk.told[-1]


def test_interpolation_leaves_what_a_person_painted_across(desk: Desk) -> None:
    desk.draw(5, desk.disc(30))
    desk.draw(9, desk.disc(50))
    desk.paint_across(20, 7)
    desk.annotation.go_to(7)
    desk.tools.interpolate(only_here=False)
    assert desk.state(7) is DRAFT
    expected = next(interpolated(desk.labels[5], desk.labels[9], [0.5], (1.0, 1.0)))
    expected[20] = 2
    assert np.array_equal(desk.labels[7], expected)


@contextmanager
def refused(desk: Desk, index: int) -> Iterator[None]:
    """One slice cannot be saved meanwhile."""
    keep = desk.study.slices.keep

    def kept(wanted: Sequence[Wanted]) -> tuple[SliceRecord, ...]:
        if any(key.index == index for key, _, _ in wanted):
            raise UserError("The disk is full.")
        return keep(wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.study.slices, "keep", kept)
        yield


def test_a_slice_that_could_not_be_saved_is_a_persons_too(desk: Desk) -> None:
    desk.draw(5, desk.disc(30))
    desk.draw(9, desk.disc(50))
    with refused(desk, 7):
        desk.annotation.go_to(7)
        desk.annotation.layers.working.data[7] = desk.disc(20)
        desk.annotation.go_to(6)
        assert list(desk.annotation.unsaved) == [desk.key(7)]
        desk.tools.interpolate(only_here=False)
    assert np.array_equal(desk.labels[7], desk.disc(20))
    between = next(interpolated(desk.disc(30), desk.disc(20), [0.5], (1.0, 1.0)))
    assert np.array_equal(desk.labels[6], between)
    assert desk.states() == {5: DRAFT, 6: DRAFT, 9: DRAFT}


def test_interpolation_needs_slices_on_both_sides(desk: Desk) -> None:
    desk.annotation.go_to(7)
    with pytest.raises(UserError, match="on both sides of slice 7"):
        desk.tools.interpolate(only_here=False)
    desk.draw(5, desk.disc(30))
    desk.annotation.go_to(7)
    with pytest.raises(UserError, match="on both sides of slice 7"):
        desk.tools.interpolate(only_here=True)
    desk.draw(6, desk.disc(30))
    desk.tools.interpolate(only_here=False)
    assert desk.told[-1] == "There is no untouched slice between your slices 5 and 6."


def test_interpolation_shows_no_class_where_it_is_excluded(desk: Desk) -> None:
    both = desk.disc(30, 20)
    both[desk.disc(30, 8) > 0] = 2
    desk.draw(5, both)
    desk.draw(9, desk.disc(30, 20))
    desk.annotation.paint_with(2)
    desk.annotation.go_to(5)
    desk.commands.mark_end(End.LAST)
    desk.annotation.go_to(6)
    desk.tools.interpolate(only_here=False)
    assert not (desk.labels[6:9] == 2).any()
    assert (desk.labels[6] == 1).any()


def test_a_full_disk_half_way_changes_nothing(desk: Desk) -> None:
    desk.draw(5, desk.disc(30))
    desk.draw(9, desk.disc(50))
    before = desk.labels
    desk.annotation.go_to(7)
    with (
        refused(desk, 8),
        pytest.raises(UserError, match="disk is full"),
    ):
        desk.tools.interpolate(only_here=False)
    assert desk.states() == {5: DRAFT, 9: DRAFT}
    assert np.array_equal(desk.labels, before)


# --- regions --------------------------------------------------------------------------------------


@pytest.fixture
def proposed(desk: Desk) -> Labels:
    """What is proposed: the machine's labels with two blocks more, one through slices 4 to 8."""
    labels = desk.study.labels.machine(desk.case.id)
    desk.publish(ArrayName.PREDICTION, np.asarray(labels))
    proposed = np.array(labels)
    proposed[4:9, 2:8, 2:8] = 2
    proposed[6, 2:8, 70:76] = 1
    desk.publish(ArrayName.PROPOSED_LABELS, proposed)
    return proposed


def test_a_click_takes_the_proposed_labels_of_one_region(desk: Desk, proposed: Labels) -> None:
    before = desk.labels
    desk.annotation.go_to(6)
    desk.tools.fix_region((6, 3, 3), ArrayName.PROPOSED_LABELS)
    expected = before.copy()
    expected[6, 2:8, 2:8] = 2
    assert np.array_equal(desk.labels, expected)
    assert desk.states() == {6: DRAFT}
    assert desk.told[-1] == "36 pixels on slice 6 took the proposed labels."
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)


def test_through_the_slices_untouched_ones_alone_are_fixed_in_one_step(
    desk: Desk, proposed: Labels
) -> None:
    desk.annotation.go_to(8)
    desk.commands.accept()
    before = desk.labels
    desk.annotation.go_to(6)
    desk.tools.fix_region((6, 3, 3), ArrayName.PROPOSED_LABELS, through=True)
    expected = before.copy()
    expected[4:8, 2:8, 2:8] = 2
    assert np.array_equal(desk.labels, expected)
    assert desk.states() == {4: DRAFT, 5: DRAFT, 6: DRAFT, 7: DRAFT, 8: CLEAN}
    assert desk.told[-1] == "144 pixels on slices 4 to 7 took the proposed labels."
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)
    assert desk.state(8) is CLEAN


def test_a_skipped_slice_stops_a_region(desk: Desk, proposed: Labels) -> None:
    desk.annotation.go_to(5)
    desk.commands.skip()
    desk.annotation.go_to(6)
    desk.tools.fix_region((6, 3, 3), ArrayName.PROPOSED_LABELS, through=True)
    assert desk.states() == {5: SKIPPED, 6: DRAFT, 7: DRAFT, 8: DRAFT}


def test_a_region_leaves_what_a_person_painted_across_other_slices(
    desk: Desk, proposed: Labels
) -> None:
    before = desk.labels
    proposed[4:9, 2:8, 2:8] = 1
    desk.publish(ArrayName.PROPOSED_LABELS, proposed)
    desk.paint_across(5, 7)
    desk.annotation.go_to(6)
    desk.tools.fix_region((6, 3, 3), ArrayName.PROPOSED_LABELS, through=True)
    expected = before.copy()
    expected[4:9, 2:8, 2:8] = 1
    expected[:, 5] = before[:, 5]
    expected[7, 5] = 2
    expected[6, 2:8, 2:8] = 1  # on view: what is seen can be changed
    assert np.array_equal(desk.labels, expected)


def test_other_sources_give_back_what_was_there(desk: Desk, proposed: Labels) -> None:
    before = desk.labels
    painted = before[6].copy()
    painted[40:44, 40:44] = 2 - painted[40:44, 40:44] // 2
    painted[0:3, 60:63] = 1
    desk.draw(6, painted)
    for source, (y, x) in (
        (ArrayName.PREDICTION, (41, 41)),
        (ArrayName.INITIAL_LABELS, (1, 61)),
    ):
        desk.tools.fix_region((6, y, x), source)
    assert np.array_equal(desk.labels, before)
    assert desk.told[-1] == "9 pixels on slice 6 took the initial labels."


def test_a_region_takes_no_class_where_it_is_excluded(desk: Desk, proposed: Labels) -> None:
    initial = np.asarray(desk.study.arrays.open(desk.case.id, ArrayName.INITIAL_LABELS)[6])
    y, x = np.argwhere(initial == 1)[0].tolist()
    desk.annotation.go_to(5)
    desk.commands.mark_end(End.LAST)
    painted = desk.labels[6]
    painted[y, x] = 2
    desk.draw(6, painted)
    desk.tools.fix_region((6, y, x), ArrayName.INITIAL_LABELS)
    assert desk.labels[6, y, x] == 0


def test_where_nothing_differs_nothing_happens(desk: Desk, proposed: Labels) -> None:
    desk.annotation.go_to(6)
    desk.tools.fix_region((6, 90, 80), ArrayName.PROPOSED_LABELS)
    assert desk.told == ["Nothing to fix there: slice 6 shows the proposed labels already."]
    with pytest.raises(UserError, match="inside the image"):
        desk.tools.fix_region((6, -1, 3), ArrayName.PROPOSED_LABELS)
    assert desk.annotation.history.last is None


def test_what_is_not_there_cannot_be_taken(desk: Desk) -> None:
    with pytest.raises(UserError, match="There are no proposed labels yet"):
        desk.tools.fix_region((6, 3, 3), ArrayName.PROPOSED_LABELS)
    with pytest.raises(UserError, match="There is no prediction yet"):
        desk.tools.fix_region((6, 3, 3), ArrayName.PREDICTION)


# --- on to the neighbours -------------------------------------------------------------------------


def corrected(desk: Desk, brighter: int = 0) -> tuple[Labels, int]:
    """Slice 7 with a block of class 2 more; those around it look and are labelled as it was."""
    machine = np.array(desk.study.labels.machine(desk.case.id))
    machine[:] = machine[7]
    stored = desk.study.arrays.open(desk.case.id, ArrayName.IMAGE)
    image = np.broadcast_to(np.asarray(stored[7]), stored.shape).copy()
    image[[6, 8]] += np.array(brighter, image.dtype)
    stored[:] = image
    desk.publish(ArrayName.PREDICTION, machine)
    desk.annotation.published(SlicesPublished(desk.case.id, 0, 0, len(image), ("image",), 1))
    desk.annotation.go_to(7)
    desk.annotation.layers.working.data[7, 10:20, 10:20] = 2
    after = desk.labels[7]
    return after, int((after != machine[7]).sum())


def test_a_correction_is_passed_on_to_untouched_neighbours_in_one_step(desk: Desk) -> None:
    desk.annotation.go_to(10)
    desk.commands.skip()
    desk.draw(4, desk.disc(40))
    after, count = corrected(desk)
    before = desk.labels
    desk.tools.pass_on()
    expected = before.copy()
    expected[[5, 6, 8, 9]] = after
    assert np.array_equal(desk.labels, expected)
    assert desk.states() == {4: DRAFT, **dict.fromkeys(range(5, 10), DRAFT), 10: SKIPPED}
    assert desk.told[-1].startswith(
        f"{4 * count} pixels of the correction passed on to 4 slices from 5 to 9, as drafts."
    )
    step = desk.annotation.history.last
    assert step is not None
    assert step.name == "pass slice 7 on to 4 slices from 5 to 9"
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)


def test_passing_on_leaves_what_a_person_painted_across(desk: Desk) -> None:
    desk.annotation.show_axis(1)
    desk.annotation.go_to(12)
    desk.annotation.layers.working.data[8, 12, 80:82] = 2
    desk.annotation.show_axis(0)
    after, _ = corrected(desk)
    before = desk.labels
    desk.tools.pass_on()
    assert np.array_equal(desk.labels[8, 12], before[8, 12])
    assert np.array_equal(desk.labels[8, 13:20, :40], after[13:20, :40])
    assert not np.array_equal(desk.labels[8], before[8])


def test_slices_that_look_different_take_nothing(desk: Desk) -> None:
    corrected(desk, brighter=100)
    desk.tools.pass_on()
    assert desk.told[-1] == "The correction of slice 7 fits none of its untouched neighbours."
    assert desk.states() == {7: DRAFT}


def test_where_nothing_was_corrected_there_is_nothing_to_pass_on(desk: Desk) -> None:
    desk.annotation.go_to(7)
    with pytest.raises(UserError, match="nothing to pass on: slice 7 shows what the machine says"):
        desk.tools.pass_on()


# --- several slices -------------------------------------------------------------------------------


def test_a_range_is_accepted_as_shown_in_one_step(desk: Desk) -> None:
    desk.annotation.go_to(4)
    desk.commands.skip()
    desk.draw(6, desk.disc(30))
    desk.annotation.go_to(7)
    desk.commands.accept()
    before, requests = desk.labels, len(desk.requests)
    desk.annotation.go_to(3)
    desk.tools.accept_range(8)
    assert desk.states() == {3: CLEAN, 4: SKIPPED, 5: CLEAN, 6: CLEAN, 7: CLEAN, 8: CLEAN}
    assert np.array_equal(desk.labels, before)
    assert desk.told[-1] == "Accepted 4 slices from slice 3 to 8. Left: 1 clean, 1 skipped."
    accepted = [r.key.index for r in desk.requests[requests:] if isinstance(r, SliceAccepted)]
    assert accepted == [3, 5, 6, 8]
    desk.undone_and_redone()
    left = {k: s for k, s in desk.states().items() if s is not UNTOUCHED}
    assert left == {4: SKIPPED, 6: DRAFT, 7: CLEAN}


def test_a_range_beyond_a_marked_end_says_that_the_extent_is_wider(desk: Desk) -> None:
    desk.annotation.go_to(8)
    desk.commands.mark_end(End.LAST)
    desk.draw(10, desk.disc(40))
    desk.tools.accept_range(9)
    assert "They show 'class 1' beyond a marked end" in desk.told[-1]


# --- locked classes -------------------------------------------------------------------------------


def test_no_command_replaces_a_pixel_of_a_locked_class(desk: Desk, proposed: Labels) -> None:
    case_id = desk.case.id
    desk.study.arrays.create(case_id, ArrayName.TRUST)
    doubtful = np.zeros(desk.case.geometry.shape, np.float16)
    desk.study.arrays.write(case_id, ArrayName.TRUST, 0, 0, doubtful)
    desk.annotation.published(
        SlicesPublished(case_id, 0, 0, len(doubtful), (ArrayName.TRUST.value,), 1)
    )
    mine = desk.disc(40, 14, value=2)
    mine[desk.rows // 2 - 4 : desk.rows // 2 + 4, 34:46] = 0
    mine[:40, 42:60] = mine[2:12, 6:12] = 1
    for index in (4, 6):
        desk.draw(index, np.zeros_like(mine))
    desk.draw(5, mine)
    desk.annotation.paint_with(2)
    desk.marks.switch_lock(1)
    locked = desk.labels == 1
    commands: dict[str, Callable[[], object]] = {
        "grow": desk.tools.grow,
        "smooth": desk.tools.smooth,
        "fill": lambda: desk.annotation.layers.working.fill((5, 2, 42), 2),
        "dab": lambda: desk.annotation.layers.working.paint((5, 30, 44), 0),
        "copy": lambda: desk.commands.copy_from(1),
        "proposed": lambda: desk.commands.take_proposed_labels(0.5),
        "fix": lambda: desk.tools.fix_region((5, 4, 4), ArrayName.PROPOSED_LABELS),
        "revert": desk.commands.revert,
    }
    for name, command in commands.items():
        before = desk.labels
        command()
        assert (desk.labels[locked] == 1).all(), name
        if not np.array_equal(desk.labels, before):
            desk.commands.undo()
            assert np.array_equal(desk.labels, before), name
    desk.commands.copy_from(1)
    assert desk.told[-1] == (
        f"Copied slice 6 to slice 5. {int(locked[5].sum())} pixels whose class is locked stayed."
    )
    assert np.array_equal(desk.labels[5], np.where(locked[5], 1, 0))
    desk.commands.revert()  # without the locked pixels it would be untouched
    assert desk.state(5) is DRAFT
    with pytest.raises(UserError, match="locked"):
        desk.tools.fix_region((5, 4, 8), ArrayName.PROPOSED_LABELS)
    desk.marks.switch_lock(1)
    desk.commands.revert()
    assert desk.state(5) is UNTOUCHED


def test_interpolation_tells_what_a_lock_kept(desk: Desk) -> None:
    for index in (4, 6):
        desk.draw(index, desk.disc(40, value=2))
    kept = desk.labels[5] == 1
    assert kept.any()
    desk.marks.switch_lock(1)
    desk.annotation.go_to(5)
    desk.tools.interpolate(only_here=False)
    assert (desk.labels[5][kept] == 1).all()
    assert "whose class is locked stayed" in desk.told[-1]


def test_passing_on_tells_what_a_lock_kept(desk: Desk) -> None:
    after, _ = corrected(desk)
    kept = after == 1
    desk.annotation.layers.working.data[7] = np.where(kept, 2, after)
    desk.marks.switch_lock(1)
    desk.tools.pass_on()
    assert kept.any()
    assert (desk.labels[8][kept] == 1).all()
    assert (desk.labels[8, 10:20, 10:20] == 2).all()
    assert "whose class is locked stayed" in desk.told[-1]


# --- copying --------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_a_copy_leaves_what_was_painted_across(desk: Desk, own: bool) -> None:
    if own:
        desk.draw(5, desk.disc(20))
    desk.draw(6, desk.disc(40))
    desk.paint_across(30, 5)
    before = desk.labels
    desk.annotation.go_to(5)
    for _ in range(2):  # a second copy finds a slice of its own on top of those across
        desk.commands.copy_from(1)
        now = desk.labels[5]
        assert np.array_equal(now[30], before[5, 30])
        assert np.array_equal(np.delete(now, 30, 0), np.delete(before[6], 30, 0))
    assert "pixels that you painted across it stayed" in desk.told[-1]
    desk.commands.undo()
    assert np.array_equal(desk.labels, before)
