"""One case at work, on a viewer without a window."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from at_work import heard
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_mlbseg.engine.events import SliceAccepted, SliceReopened, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.case.stored import StoredArray

pytestmark = pytest.mark.one_binding

DRAFT, CLEAN = SliceState.DRAFT, SliceState.CLEAN
SKIPPED, UNTOUCHED = SliceState.SKIPPED, SliceState.UNTOUCHED


class Desk:
    """An annotation with everything that it told."""

    def __init__(self, viewer: ViewerModel, study: Study) -> None:
        self.study = study
        self.case = study.cases[0]
        self.annotation = Annotation(viewer, study, self.case)
        self.layer = self.annotation.layers.working
        self.requests: list[Any] = []
        self.failures: list[str] = []
        self.told: list[str] = []
        self.annotation.request.connect(self.requests.append)
        self.annotation.told.connect(self.told.append)
        self.annotation.failed.connect(self.failures.append)

    def key(self, index: int, axis: int | None = None) -> SliceKey:
        return SliceKey(self.case.id, self.case.axis if axis is None else axis, index)

    def paint(self, index: int, y: int = 4, x: int = 4, value: int = 2) -> None:
        self.annotation.go_to(index)
        self.layer.paint((index, y, x), value)

    def state(self, index: int, axis: int | None = None) -> SliceState:
        record = self.study.slices.record(self.key(index, axis))
        return record.state if record else UNTOUCHED

    def publish(self, start: int, block: NDArray[np.uint8]) -> None:
        name = ArrayName.PREDICTION
        if not self.study.arrays.has(self.case.id, name):
            machine = self.study.labels.machine(self.case.id)
            self.study.arrays.create(self.case.id, name)[:] = machine  # as the engine begins one
        self.study.arrays.write(self.case.id, name, 0, start, block)
        event = SlicesPublished(self.case.id, 0, start, start + len(block), (name.value,), 1)
        self.annotation.published(event)

    def ones(self, count: int) -> NDArray[np.uint8]:
        return np.ones((count, *self.case.geometry.shape[1:]), np.uint8)


@pytest.fixture
def desk(qtbot: QtBot, viewer: ViewerModel, study: Study) -> Iterator[Desk]:
    made = Desk(viewer, study)
    made.layer.brush_size = 5
    yield made
    made.annotation.close()
    assert made.failures == []


def test_the_slice_that_is_accepted_next_is_read_ahead(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (6, 7):
        desk.annotation.go_to(index)
        desk.annotation.commands.skip()
    expected: list[tuple[int, int]] = []
    monkeypatch.setattr(StoredArray, "expect", lambda self, *where: expected.append(where))
    desk.annotation.go_to(5)
    assert set(expected) == {(0, 8)}


def test_a_draft_that_is_painted_on_is_saved_without_drawing_it_again(desk: Desk) -> None:
    told, drawn = heard(desk.annotation.slices_changed), []
    desk.paint(7)
    desk.layer.events.set_data.connect(lambda event: drawn.append(event))
    desk.annotation.flush()
    assert told == [[desk.key(7)]]  # untouched before
    desk.paint(7, y=12)
    drawn.clear()
    desk.annotation.flush()
    assert np.array_equal(desk.study.slices.mask(desk.key(7)), desk.layer.data[7])
    assert (told, drawn) == ([[desk.key(7)]], [])
    desk.annotation.commands.undo()
    assert drawn


def test_painting_is_saved_by_itself(qtbot: QtBot, desk: Desk) -> None:
    desk.paint(7)
    qtbot.waitUntil(lambda: desk.state(7) is DRAFT)
    assert np.array_equal(desk.study.slices.mask(desk.key(7)), desk.layer.data[7])
    assert len(desk.study.slices.records()) == 1


def test_undo_is_noticed_and_gives_the_slice_back(qtbot: QtBot, desk: Desk) -> None:
    desk.paint(7)
    qtbot.waitUntil(lambda: desk.state(7) is DRAFT)
    desk.layer.undo()
    qtbot.waitUntil(lambda: desk.state(7) is UNTOUCHED)
    desk.layer.redo()
    qtbot.waitUntil(lambda: desk.state(7) is DRAFT)


def test_leaving_a_slice_saves_it_at_once(desk: Desk) -> None:
    desk.paint(7)
    desk.annotation.go_to(8)
    assert desk.state(7) is DRAFT


def test_closing_saves_at_once(qtbot: QtBot, viewer: ViewerModel, study: Study) -> None:
    desk = Desk(viewer, study)
    desk.paint(3)
    desk.annotation.close()
    assert desk.state(3) is DRAFT
    assert len(viewer.layers) == 0


def test_a_fill_through_the_volume_drafts_every_slice_it_changed(desk: Desk) -> None:
    before = np.asarray(desk.layer.data)
    desk.layer.n_edit_dimensions = 3
    desk.layer.brush_size = 15
    desk.layer.paint((10, 4, 4), 2)
    desk.annotation.flush()
    changed = {i for i in range(len(before)) if (before[i] != desk.layer.data[i]).any()}
    assert len(changed) > 1
    assert {r.key.index for r in desk.study.slices.records(state=DRAFT)} == changed


def test_accept_makes_clean_tells_the_engine_and_goes_on(desk: Desk) -> None:
    desk.paint(5)
    desk.annotation.commands.accept()
    assert desk.state(5) is CLEAN
    assert desk.requests == [SliceAccepted(desk.key(5))]
    assert desk.annotation.key == desk.key(6)
    assert np.array_equal(desk.study.slices.mask(desk.key(5)), desk.layer.data[5])


def test_an_untouched_slice_can_be_accepted_as_it_is_shown(desk: Desk) -> None:
    desk.annotation.go_to(6)
    desk.annotation.commands.accept()
    assert np.array_equal(desk.study.slices.mask(desk.key(6)), desk.layer.data[6])


def test_accept_passes_over_what_is_done(desk: Desk) -> None:
    last = desk.case.geometry.shape[0] - 1
    desk.annotation.go_to(last)
    desk.annotation.commands.accept()
    assert desk.annotation.key.index == 0
    for index in (1, 0):
        desk.annotation.go_to(index)
        desk.annotation.commands.accept()
    assert desk.annotation.key.index == 2


def test_painting_on_a_clean_slice_reopens_it(qtbot: QtBot, desk: Desk) -> None:
    desk.annotation.go_to(5)
    desk.annotation.commands.accept()
    desk.paint(5)
    qtbot.waitUntil(lambda: desk.state(5) is DRAFT)
    assert desk.requests == [SliceAccepted(desk.key(5)), SliceReopened(desk.key(5))]


def test_reopen_takes_acceptance_and_skipping_back(desk: Desk) -> None:
    desk.annotation.go_to(5)
    desk.annotation.commands.accept()
    desk.annotation.go_to(5)
    desk.annotation.commands.reopen()
    assert desk.state(5) is DRAFT
    assert desk.requests[-1] == SliceReopened(desk.key(5))
    desk.annotation.go_to(6)
    desk.annotation.commands.skip()
    assert desk.state(6) is SKIPPED
    desk.annotation.go_to(6)
    desk.annotation.commands.reopen()
    assert desk.state(6) is UNTOUCHED


def test_revert_takes_the_prediction_and_undo_the_paint_back(desk: Desk) -> None:
    machine = desk.layer.data[5].copy()
    desk.paint(5)
    painted = desk.layer.data[5].copy()
    desk.annotation.commands.revert()
    assert np.array_equal(desk.layer.data[5], machine)
    assert desk.state(5) is UNTOUCHED
    desk.layer.undo()
    desk.annotation.flush()
    assert np.array_equal(desk.layer.data[5], painted)
    assert desk.state(5) is DRAFT
    desk.layer.undo()
    desk.annotation.flush()
    assert desk.state(5) is UNTOUCHED


def test_skip_shows_the_machine_s_labels_again(desk: Desk) -> None:
    machine = desk.layer.data[5].copy()
    desk.paint(5)
    desk.annotation.commands.skip()
    assert desk.state(5) is SKIPPED
    assert np.array_equal(desk.layer.data[5], machine)
    assert np.array_equal(desk.study.labels.working(desk.case.id), np.asarray(desk.layer.data))
    assert desk.annotation.key.index == 6


@pytest.mark.parametrize("step", [-1, 1])
def test_copy_from_a_neighbour_is_one_undo_step_and_a_draft(desk: Desk, step: int) -> None:
    desk.paint(5 + step, 30, 30)
    desk.annotation.go_to(5)
    before = desk.layer.data[5].copy()
    desk.annotation.commands.copy_from(step)
    assert np.array_equal(desk.layer.data[5], desk.layer.data[5 + step])
    assert desk.state(5) is DRAFT
    desk.layer.undo()
    assert np.array_equal(desk.layer.data[5], before)


def test_there_is_nothing_to_copy_beyond_the_ends(desk: Desk) -> None:
    desk.annotation.go_to(0)
    with pytest.raises(UserError, match="no slice"):
        desk.annotation.commands.copy_from(-1)


def test_predictions_reach_the_slices_without_human_work(qtbot: QtBot, desk: Desk) -> None:
    desk.paint(5)
    desk.paint(6)
    desk.annotation.commands.accept()
    before = np.asarray(desk.layer.data)
    desk.publish(4, desk.ones(4))
    assert (desk.layer.data[4] == 1).all()
    assert (desk.layer.data[7] == 1).all()
    for index in (3, 5, 6, 8):
        assert np.array_equal(desk.layer.data[index], before[index])
    assert {r.key.index for r in desk.study.slices.records()} == {5, 6}


def test_undo_after_a_prediction_leaves_the_slice_as_the_study_has_it(
    qtbot: QtBot, desk: Desk
) -> None:
    desk.paint(5)
    desk.publish(0, desk.ones(10))
    qtbot.waitUntil(lambda: bool((desk.layer.data[9] == 1).all()))
    desk.layer.undo()
    assert desk.state(5) is UNTOUCHED
    assert (desk.layer.data[:10] == 1).all()
    assert np.array_equal(desk.study.labels.working(desk.case.id), np.asarray(desk.layer.data))


def test_redo_after_a_prediction_brings_back_what_was_painted_over(
    qtbot: QtBot, desk: Desk
) -> None:
    desk.paint(5)
    painted = desk.layer.data[5].copy()
    desk.layer.undo()
    desk.publish(0, 2 * desk.ones(10))
    qtbot.waitUntil(lambda: bool((desk.layer.data[9] == 2).all()))
    desk.layer.redo()
    assert np.array_equal(desk.layer.data[5], painted)
    assert desk.state(5) is DRAFT
    desk.layer.undo()
    assert (desk.layer.data[5] == 2).all()
    assert desk.state(5) is UNTOUCHED


def test_the_slice_on_view_is_served_at_once(desk: Desk, viewer: ViewerModel) -> None:
    desk.annotation.go_to(20)
    desk.publish(0, desk.ones(24))
    assert (viewer.layers["prediction"].data[20] == 1).all()
    assert (desk.layer.data[20] == 1).all()


def test_another_axis_rolls_the_view_and_owns_its_edits(desk: Desk, viewer: ViewerModel) -> None:
    desk.annotation.show_axis(1)
    assert viewer.dims.order[0] == 1
    desk.annotation.go_to(30)
    desk.layer.paint((10, 30, 4), 2)
    desk.annotation.flush()
    assert [r.key for r in desk.study.slices.records()] == [desk.key(30, axis=1)]
    mask = desk.study.slices.mask(desk.key(30, axis=1))
    assert np.array_equal(mask, desk.layer.data[:, 30])


def test_rolling_in_napari_is_followed(desk: Desk, viewer: ViewerModel) -> None:
    desk.paint(5)
    viewer.dims.roll()
    assert desk.state(5) is DRAFT  # saved along the axis it was painted on
    assert desk.annotation.key.axis == viewer.dims.order[0] != 0


def test_coming_back_shows_what_was_left(viewer: ViewerModel, study: Study, qtbot: QtBot) -> None:
    first = Desk(viewer, study)
    first.paint(5)
    first.annotation.commands.accept()
    first.paint(9)
    left = np.asarray(first.layer.data)
    first.annotation.close()
    second = Desk(viewer, study)
    assert np.array_equal(np.asarray(second.layer.data), left)
    assert second.annotation.state(second.key(5)) is CLEAN
    assert second.annotation.state(second.key(9)) is DRAFT
    second.layer.undo()  # nothing of the first visit can come back
    assert np.array_equal(np.asarray(second.layer.data), left)
    second.annotation.close()


def test_undo_of_accept_goes_there_and_takes_it_back_alone(desk: Desk) -> None:
    desk.paint(5)
    painted = desk.layer.data[5].copy()
    desk.annotation.commands.accept()
    desk.paint(9)
    desk.annotation.go_to(12)
    desk.layer.undo()
    assert (desk.annotation.key.index, desk.state(9), desk.state(5)) == (9, UNTOUCHED, CLEAN)
    desk.layer.undo()
    assert (desk.annotation.key.index, desk.state(5)) == (5, DRAFT)
    assert np.array_equal(desk.layer.data[5], painted)
    assert desk.requests == [SliceAccepted(desk.key(5)), SliceReopened(desk.key(5))]
    desk.layer.redo()
    assert (desk.annotation.key.index, desk.state(5)) == (5, CLEAN)
    assert desk.requests[2:] == [SliceAccepted(desk.key(5))]
    assert desk.told == [
        "Undone: paint on slice 9.",
        "Undone: accept slice 5.",
        "Redone: accept slice 5.",
    ]


def test_undo_of_a_dab_on_a_clean_slice_gives_back_what_was_accepted(
    qtbot: QtBot, desk: Desk
) -> None:
    desk.paint(5)
    desk.annotation.commands.accept()
    accepted = desk.layer.data[5].copy()
    desk.paint(5, 4, 60, 1)
    qtbot.waitUntil(lambda: desk.state(5) is DRAFT)
    desk.layer.undo()
    assert desk.state(5) is CLEAN
    assert np.array_equal(desk.study.slices.mask(desk.key(5)), accepted)
    assert np.array_equal(desk.layer.data[5], accepted)
    accepts, reopens = SliceAccepted(desk.key(5)), SliceReopened(desk.key(5))
    assert desk.requests == [accepts, reopens, accepts]
    states = [record.state for record in desk.study.slices.history(desk.key(5))]
    assert states == [DRAFT, CLEAN, DRAFT, CLEAN]  # every revision is still there


def test_a_stroke_that_is_given_up_leaves_a_clean_slice_clean(qtbot: QtBot, desk: Desk) -> None:
    desk.annotation.go_to(5)
    desk.annotation.commands.accept()
    desk.annotation.go_to(5)
    shown = desk.layer.data[5].copy()
    desk.layer.data[5, 4, 4] = 2  # as a brush does while the button is down
    qtbot.waitUntil(lambda: desk.state(5) is DRAFT)
    desk.layer.data[5, 4, 4] = shown[4, 4]
    qtbot.waitUntil(lambda: desk.state(5) is CLEAN)
    assert np.array_equal(desk.study.slices.mask(desk.key(5)), shown)
    assert desk.annotation.history.last is not None
    assert desk.annotation.history.last.name == "accept slice 5"


COMMANDS: dict[str, Callable[[SliceCommands], object]] = {
    "accept slice 5": SliceCommands.accept,
    "reopen slice 5": SliceCommands.reopen,
    "skip slice 5": SliceCommands.skip,
    "revert slice 5": SliceCommands.revert,
    "copy to slice 5": lambda commands: commands.copy_from(1),
    "take proposed labels on slice 5": lambda commands: commands.take_proposed_labels(0.5),
}


@pytest.mark.parametrize("begin", [UNTOUCHED, DRAFT, CLEAN, SKIPPED])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_goes_back_and_forth(desk: Desk, begin: SliceState, name: str) -> None:
    desk.annotation.go_to(5)
    Proposals(desk, 5)
    desk.paint(6, 20, 20)
    if begin in (DRAFT, CLEAN):
        desk.paint(5, 30, 30)
    desk.annotation.go_to(5)
    if begin is CLEAN:
        desk.annotation.commands.accept()
    elif begin is SKIPPED:
        desk.annotation.commands.skip()
    desk.annotation.go_to(5)

    def stands() -> tuple[SliceState, bytes]:
        assert np.array_equal(desk.study.labels.working(desk.case.id), np.asarray(desk.layer.data))
        return desk.state(5), desk.layer.data[5].tobytes()

    desk.annotation.flush()
    steps, before = desk.annotation.history.last, stands()
    COMMANDS[name](desk.annotation.commands)
    after, done = stands(), desk.annotation.history.last
    if before == after:
        assert done is steps  # nothing was changed, and nothing is undone
        return
    assert done is not None
    assert done.name == name
    for _ in range(2):
        desk.annotation.go_to(9)
        desk.layer.undo()
        assert (stands(), desk.annotation.key.index) == (before, 5)
        desk.annotation.go_to(9)
        desk.layer.redo()
        assert (stands(), desk.annotation.key.index) == (after, 5)


def test_undo_turns_to_the_axis_that_it_acts_on(desk: Desk, viewer: ViewerModel) -> None:
    before = np.asarray(desk.layer.data)
    desk.annotation.go_to(5)
    desk.annotation.show_axis(1)
    desk.annotation.go_to(30)
    desk.layer.paint((10, 30, 4), 2)
    desk.annotation.show_axis(0)
    desk.annotation.go_to(7)
    desk.layer.undo()
    assert desk.annotation.key == desk.key(30, axis=1)
    assert viewer.dims.order[0] == 1
    assert desk.state(30, axis=1) is UNTOUCHED
    assert np.array_equal(np.asarray(desk.layer.data), before)


def test_undo_restores_slices_that_cross_in_the_window_and_in_the_study(desk: Desk) -> None:
    looks = [np.asarray(desk.layer.data)]
    for axis, index, place, value in (
        (0, 10, (10, 30, 4), 2),
        (1, 30, (10, 30, 4), 1),
        (0, 10, (10, 30, 40), 2),
        (2, 4, (10, 30, 4), 2),
        (1, 30, (12, 30, 60), 2),
    ):
        desk.annotation.show_axis(axis)
        desk.annotation.go_to(index)
        desk.layer.paint(place, value)
        looks.append(np.asarray(desk.layer.data))
    for _ in range(2):
        for look in reversed(looks[:-1]):
            desk.layer.undo()
            assert np.array_equal(np.asarray(desk.layer.data), look)
            assert np.array_equal(desk.study.labels.working(desk.case.id), look)
        for look in looks[1:]:
            desk.layer.redo()
            assert np.array_equal(np.asarray(desk.layer.data), look)
            assert np.array_equal(desk.study.labels.working(desk.case.id), look)


def test_undo_of_a_fill_through_the_volume_is_one_step(desk: Desk) -> None:
    before = np.asarray(desk.layer.data)
    desk.annotation.go_to(10)
    desk.layer.n_edit_dimensions = 3
    desk.layer.brush_size = 15
    desk.layer.paint((10, 4, 4), 2)
    desk.annotation.go_to(2)
    desk.layer.undo()
    assert desk.annotation.key.index == 10
    assert desk.told == ["Undone: paint on slices 8 to 12."]
    assert np.array_equal(np.asarray(desk.layer.data), before)
    assert desk.study.slices.records(state=DRAFT) == ()


def test_there_may_be_nothing_to_undo_or_redo(desk: Desk) -> None:
    desk.layer.undo()
    desk.layer.redo()
    assert desk.told == [
        "There is nothing to undo in this case.",
        "There is nothing to redo in this case.",
    ]
    assert desk.study.slices.records() == ()


def test_what_cannot_be_undone_can_be_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.paint(5)
    desk.annotation.commands.accept()

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(desk.study.slices, "keep", full)
        desk.layer.undo()
    assert desk.failures == ["Could not undo accept slice 5: no space left"]
    assert desk.state(5) is CLEAN
    desk.layer.undo()
    assert desk.state(5) is DRAFT
    desk.failures.clear()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_commands_act_on_a_slice_on_view_only(desk: Desk, viewer: ViewerModel, name: str) -> None:
    desk.paint(5)
    desk.annotation.flush()
    records = desk.study.slices.records()

    def refused(words: str) -> None:
        with pytest.raises(UserError, match=words):
            COMMANDS[name](desk.annotation.commands)
        assert desk.study.slices.records() == records
        assert desk.annotation.key.index == 5

    viewer.dims.ndisplay = 3
    refused(r"Go back to 2-D .* to \w+")
    viewer.dims.ndisplay = 2
    desk.layer.visible = False
    refused(r'Show the layer "working labels" .* to \w+')
    desk.layer.visible = True
    viewer.layers.remove(desk.layer)
    refused("Choose the case again")


def test_a_view_beyond_the_case_shows_no_slice_to_accept(desk: Desk, viewer: ViewerModel) -> None:
    layer = viewer.add_image(np.zeros((90, 20, 20)), scale=desk.layer.scale, units="mm")
    viewer.dims.set_point(0, layer.data_to_world((80, 0, 0))[0])
    with pytest.raises(UserError, match="Move to a slice of the case"):
        desk.annotation.commands.accept()
    assert desk.study.slices.records() == ()


@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_undo_goes_back_to_2d_and_shows_the_labels(desk: Desk, viewer: ViewerModel) -> None:
    desk.paint(5)
    desk.annotation.go_to(9)
    viewer.dims.ndisplay = 3
    desk.annotation.commands.undo()
    assert (viewer.dims.ndisplay, desk.annotation.key.index) == (2, 5)
    assert desk.layer.mode == "paint"  # the tool stays in hand
    assert desk.state(5) is UNTOUCHED
    desk.layer.visible = False
    desk.annotation.commands.redo()
    assert desk.layer.visible
    assert desk.layer.mode == "paint"


def test_values_without_a_class_never_become_clean_and_block_no_other_slice(desk: Desk) -> None:
    desk.annotation.go_to(5)
    desk.layer.data[5, 7, 8:11] = 77  # by a script; the brush cannot
    desk.paint(6)
    desk.annotation.commands.accept()
    assert desk.state(6) is CLEAN
    desk.annotation.go_to(5)
    with pytest.raises(UserError, match=r"3 pixels of it, the first at row 7, column 8 .* 77"):
        desk.annotation.commands.accept()
    assert desk.state(5) is DRAFT  # nothing is lost
    assert desk.layer.data[5, 7, 8] == 77


def test_what_cannot_be_saved_holds_no_other_slice_back(desk: Desk) -> None:
    desk.annotation.go_to(4)
    desk.layer.data[4, 7, 8] = 255  # not even a draft can hold this
    desk.layer.data[6, 7, 8] = 2
    desk.annotation.flush()
    assert desk.state(6) is DRAFT
    assert [key.index for key in desk.annotation.unsaved] == [4]
    desk.layer.data[4, 7, 8] = 1
    desk.annotation.flush()
    assert desk.state(4) is DRAFT
    assert not desk.annotation.unsaved


def test_a_study_for_reading_cannot_be_painted(
    viewer: ViewerModel, study: Study, qtbot: QtBot
) -> None:
    with Study.open(study.path, writable=False) as reading:
        desk = Desk(viewer, reading)
        assert not desk.layer.editable
        desk.annotation.flush()
        desk.annotation.close()
        assert reading.slices.records() == ()


def test_a_failure_to_save_is_told_and_nothing_is_forgotten(
    viewer: ViewerModel, study: Study, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(viewer, study)

    def full(*_: object) -> None:
        raise UserError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(study.slices, "keep", full)
        desk.paint(5)
        desk.annotation.flush()
    assert desk.annotation.unsaved == {desk.annotation.key: "The disk is full."}
    desk.annotation.flush()
    assert desk.state(5) is DRAFT
    desk.annotation.close()


class Proposals:
    """Trust and votes of a slice: three pixels are doubted, the rest is borne out."""

    def __init__(self, desk: Desk, index: int) -> None:
        self.shown = desk.layer.data[index]
        shape = desk.case.geometry.shape
        trust = np.ones(shape, np.float16)
        votes = np.zeros(shape, np.uint8)
        trust[index, 3, 3:6] = (0.1, 0.2, 0.45)
        votes[index, 3, 3:6] = 2
        desk.publish(index, self.shown[np.newaxis])
        for name, block in ((ArrayName.TRUST, trust), (ArrayName.PROPOSED_LABELS, votes)):
            desk.study.arrays.create(desk.case.id, name)
            desk.study.arrays.write(desk.case.id, name, 0, 0, block)
        event = SlicesPublished(desk.case.id, 0, 0, shape[0], ("trust", "proposed_labels"), 1)
        desk.annotation.published(event)

    def after(self, columns: slice) -> NDArray[np.uint8]:
        taken: NDArray[np.uint8] = self.shown.copy()
        taken[3, columns] = 2
        return taken


@pytest.mark.parametrize(("below", "columns"), [(0.15, slice(3, 4)), (0.5, slice(3, 6))])
def test_proposals_are_taken_where_trust_is_low_as_a_draft_with_undo(
    desk: Desk, below: float, columns: slice
) -> None:
    desk.annotation.go_to(5)
    proposals = Proposals(desk, 5)
    assert proposals.shown[3, 3:6].max() == 0
    assert desk.annotation.commands.take_proposed_labels(below) == len(range(*columns.indices(9)))
    np.testing.assert_array_equal(desk.layer.data[5], proposals.after(columns))
    assert desk.state(5) is DRAFT
    np.testing.assert_array_equal(desk.study.slices.mask(desk.key(5)), desk.layer.data[5])
    desk.layer.undo()
    desk.annotation.flush()
    np.testing.assert_array_equal(desk.layer.data[5], proposals.shown)
    assert desk.state(5) is UNTOUCHED


def test_proposals_leave_alone_what_a_person_painted(desk: Desk) -> None:
    desk.annotation.go_to(5)
    proposals = Proposals(desk, 5)
    desk.layer.data_setitem((np.array([5]), np.array([3]), np.array([4])), 1)
    assert desk.annotation.commands.take_proposed_labels(0.5) == 2
    expected = proposals.after(slice(3, 6))
    expected[3, 4] = 1
    np.testing.assert_array_equal(desk.layer.data[5], expected)


def test_without_a_training_nothing_is_proposed(desk: Desk) -> None:
    with pytest.raises(UserError, match="no proposed labels yet"):
        desk.annotation.commands.take_proposed_labels(0.5)


def test_objections_follow_what_is_published(desk: Desk, viewer: ViewerModel) -> None:
    layer = viewer.layers["trust"]
    assert not layer.visible
    desk.annotation.go_to(5)
    Proposals(desk, 5)
    desk.annotation.layers.toggle(ArrayName.TRUST)
    assert layer.visible
    np.testing.assert_allclose(layer.data[5, 3, 3:6], (0.1, 0.2, 0.45), atol=1e-3)
    colors = layer.colormap.map(np.array([0.0, 0.25, 0.5, 1.0]))
    light = colors[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(light[:3]) < 0).all()  # lightness alone tells how low the trust is
    assert colors[0, 3] == 1
    assert colors[2:, 3].max() == 0


def test_a_map_that_is_not_there_yet_shows_nothing_and_says_so(
    desk: Desk, viewer: ViewerModel
) -> None:
    name, layer = ArrayName.TRUST, viewer.layers["trust"]
    assert np.isnan(layer.data[3]).all()  # 0 would be the lowest trust
    assert np.isnan(np.asarray(layer.data)).all()
    desk.annotation.toggle_map(name)
    assert layer.visible
    assert desk.told == ["The map 'trust' is not computed yet; the training makes it."]
    desk.annotation.toggle_map(name)
    shape = desk.case.geometry.shape
    desk.study.arrays.create(desk.case.id, name, [(0, np.ones(shape, np.float16))], axis=0)
    desk.annotation.published(SlicesPublished(desk.case.id, 0, 0, shape[0], (name.value,), 1))
    desk.annotation.toggle_map(name)
    assert (layer.data[3] == 1).all()
    assert len(desk.told) == 1


def test_weights_on_view_are_stretched_to_what_there_is(desk: Desk, viewer: ViewerModel) -> None:
    name, annotation = ArrayName.META_WEIGHTS_INITIAL, desk.annotation
    layer = viewer.layers["meta-weights: initial labels"]
    shape = desk.case.geometry.shape
    reach = np.linspace(0.1, 0.9, shape[0])  # another one on each slice

    def stretched() -> float:
        low, high = layer.contrast_limits
        assert low + high == pytest.approx(2)
        return float(1 - low)

    def publish(far: NDArray[Any]) -> None:
        weights = np.ones(shape, np.float16)
        weights[:, ::2] -= far[:, None, None].astype(np.float16)
        desk.study.arrays.create(desk.case.id, name, [(0, weights)], axis=0)
        annotation.published(SlicesPublished(desk.case.id, 0, 0, shape[0], (name.value,), 1))

    annotation.go_to(3)
    publish(reach)
    annotation.layers.toggle(name)
    assert stretched() == pytest.approx(reach[3], rel=0.01)
    annotation.go_to(9)
    assert stretched() == pytest.approx(reach[9], rel=0.01)
    publish(reach / 2)
    assert stretched() == pytest.approx(reach[9] / 2, rel=0.01)
    annotation.layers.toggle(name)
    annotation.go_to(3)
    assert stretched() == pytest.approx(reach[9] / 2, rel=0.01)  # nobody sees it
    layer.visible = True  # the eye of the layer
    assert stretched() == pytest.approx(reach[3] / 2, rel=0.01)
