"""The training panel and the form of its settings."""

import dataclasses
import os
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from at_work import heard
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QLineEdit
from real_input import QTest

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.records.reach import Reach
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.widgets.panels.settings_form import FIRST, MORE, SettingsForm, described
from napari_mlbseg.widgets.panels.training import TrainingPanel

LEFT = Qt.MouseButton.LeftButton

pytestmark = pytest.mark.every_binding


def shown(panel: TrainingPanel) -> set[str]:
    buttons = {"start": panel.start, "pause": panel.pause, "stop": panel.stop}
    return {name for name, each in buttons.items() if each.isEnabled()}


RUN = ev.RunStarted(1, "cpu", "unet", 1_200_000, 5, 1, 0)
STEP = ev.StepDone(ev.Stage.BOOTSTRAPPING, 10, 100, {"clean": 0.5, "noisy": 0.7}, 8.04, 200.0)


def test_a_run_from_start_to_end(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    assert shown(panel) == set()
    panel.set_available(True)
    asked = [heard(panel.start_requested), heard(panel.pause_requested)]
    asked += [heard(panel.resume_requested), heard(panel.stop_requested)]
    assert shown(panel) == {"start"}
    qtbot.mouseClick(panel.start, LEFT)
    panel.begin()
    assert shown(panel) == {"pause", "stop"}
    panel.apply(RUN)
    panel.apply(ev.StageStarted(ev.Stage.BOOTSTRAPPING, 100))
    panel.apply(STEP)
    assert "8.0 steps/s" in panel.status.text()
    assert "3 min 20 s left" in panel.status.text()
    assert (panel.progress.value(), panel.progress.maximum()) == (10, 100)
    qtbot.mouseClick(panel.pause, LEFT)
    assert shown(panel) == {"stop"}  # until the engine says that it holds
    panel.apply(ev.Paused())
    assert panel.pause.text() == "Resume"
    qtbot.mouseClick(panel.pause, LEFT)
    panel.apply(ev.Resumed())
    assert panel.pause.text() == "Pause"
    qtbot.mouseClick(panel.stop, LEFT)
    panel.apply(STEP)  # on its way already
    assert "Stopping" in panel.status.text()
    assert shown(panel) == set()
    panel.apply(ev.Finished(1, 11, True, 61.0))
    assert panel.status.text() == "Stopped after 1 min 01 s."
    assert shown(panel) == {"start"}
    assert [len(a) for a in asked] == [1, 1, 1, 1]


def test_the_axis_of_the_losses_has_room_for_its_name(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    assert all(
        not plot.getAxis("left").autoSIPrefix for plot in (panel.plot._losses, panel.plot._scores)
    )


def test_settings_become_a_configuration(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    spare = max(1, (os.cpu_count() or 2) - 1)
    assert panel.config() == dataclasses.replace(Config(), threads=spare)
    choose(panel.form.control("device"), "processor (cpu)")
    type_into(panel.form.control("minutes"), "5")
    type_into(panel.form.control("steps"), "70")
    type_into(panel.form.control("learning_rate"), "0.0002")
    changed = dataclasses.replace(
        Config(), device="cpu", minutes=5.0, steps=70, learning_rate=0.0002, threads=spare
    )
    assert panel.config() == changed
    panel.form.control("resume").click()
    assert panel.config() == dataclasses.replace(changed, resume=False)
    panel.begin()  # for one start only
    assert panel.config() == changed


def type_into(number: QAbstractSpinBox, text: str) -> None:
    number.selectAll()
    QTest.keyClicks(number, text)


def choose(box: QComboBox, text: str) -> None:
    for _ in range(box.count()):
        if box.currentText() != text:
            QTest.keyClick(box, Qt.Key.Key_Down)
    assert box.currentText() == text


def test_the_form_has_the_types_the_defaults_and_the_words_of_the_configuration(
    qtbot: QtBot,
) -> None:
    form = SettingsForm()
    qtbot.addWidget(form)
    said = described(Config.__doc__ or "")
    for name in (*FIRST, *MORE):
        kind, control = get_type_hints(Config)[name], form.control(name)
        if get_origin(kind) is Literal:
            assert [control.itemData(k) for k in range(control.count())] == list(get_args(kind))
        if name != "resume":  # which is shown the other way round
            assert said[name]
            assert control.toolTip().startswith(said[name])


def test_the_curves_come_first_and_the_settings_unfold_below_them(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.resize(340, 200)
    panel.show()
    assert panel.plot.geometry().bottom() < 200
    assert panel.plot.geometry().bottom() < panel.settings.geometry().top()
    assert not panel.form.control("device").isVisible()
    qtbot.mouseClick(panel.settings.toggleButton(), LEFT)
    assert panel.form.control("device").isVisible()


def test_settings_that_change_seldom_are_folded_away(qtbot: QtBot) -> None:
    form = SettingsForm()
    qtbot.addWidget(form)
    form.show()
    assert all(form.control(name).isVisible() for name in FIRST)
    assert not any(form.control(name).isVisible() for name in MORE)
    qtbot.mouseClick(form.more.toggleButton(), LEFT)
    assert all(form.control(name).isVisible() for name in MORE)
    type_into(form.control("seed"), "7")
    choose(form.control("network"), "U-Net++")
    qtbot.mouseClick(form.more.toggleButton(), LEFT)
    assert not any(form.control(name).isVisible() for name in MORE)
    # folded away or not, they count
    assert form.config() == Config(seed=7, network="unet++")


def test_a_model_to_begin_with_is_named_for_one_start(qtbot: QtBot, tmp_path: Path) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(True)
    panel.show()
    qtbot.mouseClick(panel.form.more.toggleButton(), LEFT)
    (line,) = panel.form.control("begin_with").findChildren(QLineEdit)
    assert panel.form.config().begin_with is None
    QTest.keyClicks(line, str(tmp_path))
    asked = heard(panel.start_requested)
    qtbot.mouseClick(panel.start, LEFT)
    assert [config.begin_with for config in asked] == [str(tmp_path)]
    panel.begin()
    panel.apply(ev.Finished(1, 11, True, 61.0))
    assert line.text() == ""
    assert panel.form.config().begin_with is None


def test_settings_cannot_change_while_a_run_uses_them(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(True)
    controls = [panel.form.control(name) for name in (*FIRST, *MORE)]
    assert all(control.isEnabled() for control in controls)
    panel.begin()
    assert not any(control.isEnabled() for control in controls)
    panel.apply(ev.Finished(1, 11, True, 61.0))
    assert all(control.isEnabled() for control in controls)


def test_what_a_docstring_says_of_its_attributes_becomes_plain_text() -> None:
    text = """First line.

    Attributes
    ----------
    one, two
        Of ``both``, see `some.module`. More
        of it.
    three
        Alone.

    Notes
    -----
    None of it.
    """
    said = described(text)
    assert said["one"] == said["two"] == "Of both. More of it."
    assert said["three"] == "Alone."
    assert described("No section.") == {}


def test_every_message_of_a_run_stays_until_the_next(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    for text in ("Smaller batches.", "An older checkpoint.", "Smaller batches."):
        panel.apply(ev.BatchShrunk(2, text))
    assert panel.note.text() == "Smaller batches.\nAn older checkpoint."
    panel.begin()
    assert panel.note.text() == ""


def test_a_failure_is_shown_in_words(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(True)
    panel.begin()
    panel.apply(ev.Failed("The GPU went away.", "Traceback ..."))
    assert panel.status.text() == "The GPU went away."
    assert shown(panel) == {"start"}


def test_curves_follow_the_losses_and_the_validation_dice(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.begin()
    panel.apply(ev.StageStarted(ev.Stage.BASE_MODEL, 50))
    panel.apply(dataclasses.replace(STEP, stage=ev.Stage.BASE_MODEL, step=50))
    # Labelling has steps of its own, which are no optimiser steps.
    panel.apply(ev.StageStarted(ev.Stage.LABELLING, 40))
    panel.apply(ev.StepDone(ev.Stage.LABELLING, 40, 40, {}, 9.0, None))
    panel.apply(ev.StageStarted(ev.Stage.BOOTSTRAPPING, 100))
    panel.apply(STEP)
    panel.apply(dataclasses.replace(STEP, step=20, losses={"clean": float("nan")}))
    panel.apply(ev.ValidationScored(ev.Stage.BOOTSTRAPPING, 20, 0.81, {1: 0.9, 2: 0.72}))
    assert panel.plot.points("clean") == [(50, 0.5), (60, 0.5)]
    assert panel.plot.points("dice") == [(70, 0.81)]
    assert "0.81" in panel.score.text()
    panel.begin()
    assert panel.plot.points("clean") == panel.plot.points("dice") == []


def test_a_long_run_is_drawn_with_no_more_points_than_a_short_one(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.begin()
    for step in range(1, 9001):
        panel.plot.add_step(dataclasses.replace(STEP, step=step, losses={"clean": 1 / step}))
    steps, losses = zip(*panel.plot.points("clean"), strict=True)
    assert 500 <= len(steps) <= 1001
    assert (steps[0], steps[-1]) == (1, 9000)
    assert list(losses) == [1 / step for step in steps]
    assert max(after - before for before, after in pairwise(steps)) <= 9000 / 100


def said(panel: TrainingPanel) -> list[str]:
    labels = (panel.status, panel.run, panel.clean_slices, panel.score, panel.note)
    return [label.text() for label in labels if label.text()]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (RUN, "unet (1.2 M parameters) on cpu"),
        (dataclasses.replace(RUN, resumed_step=7), "resumed at step 7"),
        (ev.CleanSlicesChanged(3, 1), "Clean slices: 3 for training, 1 for validation"),
        (ev.BatchShrunk(2, "Out of memory: smaller batches."), "Out of memory: smaller batches."),
        (ev.Heartbeat(), ""),
        (ev.CheckpointSaved("x", 3), ""),
        (ev.SlicesPublished("a", 0, 0, 3, ("prediction",), 1), ""),
    ],
)
def test_events_are_shown_in_words_or_not_at_all(qtbot: QtBot, event: ev.Event, text: str) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    before = said(panel)
    panel.apply(event)
    if text:
        assert any(text in line for line in said(panel))
    else:
        assert said(panel) == before


def test_a_stage_of_unknown_length_promises_no_end(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(True)
    panel.begin()
    panel.apply(dataclasses.replace(STEP, steps=None, remaining_s=None))
    assert (panel.progress.minimum(), panel.progress.maximum()) == (0, 0)
    assert panel.status.text() == "Bootstrapping: 8.0 steps/s"


def test_the_running_dice_says_what_it_says_nothing_about(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    scored = ev.ValidationScored(ev.Stage.BOOTSTRAPPING, 20, 0.81, {1: 0.81})
    panel.apply(scored)
    alone = panel.score.text()
    assert "no clean slice" not in alone
    seen = Reach("a", 0, 88, ends=(0, 55), in_file=(87, 32))
    panel.apply(ev.CoverageChanged(41, 88, (seen,)))
    unseen = "41 of 88 slices have no clean slice near them: nothing above slice 55 was corrected"
    assert panel.score.text() == f"{alone}, but {unseen}"
    panel.begin()
    assert panel.score.text() == ""
    panel.apply(ev.CoverageChanged(41, 88, (seen,)))
    assert panel.score.text() == unseen
    panel.apply(ev.ImportedLabelsKept(True))
    assert "imported labels" in panel.note.text()
    panel.apply(ev.OutOfTime((SliceKey("a", 0, 1), SliceKey("a", 0, 2))))
    assert "2 slices" in panel.note.text()


def test_a_study_to_look_at_only_asks_for_no_training(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(False, read_only=True)
    assert "read-only" in panel.status.text()
    assert not panel.start.isEnabled()
    panel.set_available(True)
    assert "press Start" in panel.status.text()
    assert panel.start.isEnabled()


def test_what_start_would_begin_with_is_told_until_a_run_is(qtbot: QtBot) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.set_available(True)
    told = []
    for accepted, trained in ((0, False), (1, False), (12, False), (12, True)):
        panel.set_accepted(accepted, trained=trained)
        told.append(panel.status.text())
    assert told == [
        "Accept a few slices, then press Start.",
        "1 slice is accepted. Press Start.",
        "12 slices are accepted. Press Start.",
        "12 slices are accepted. Start goes on from the last checkpoint.",
    ]
    panel.begin()
    panel.set_accepted(13, trained=True)
    assert "Starting" in panel.status.text()
    panel.apply(ev.Finished(1, 11, False, 61.0))
    panel.set_accepted(13, trained=True)
    assert panel.status.text() == "Finished after 1 min 01 s."
    panel.set_available(True)  # another study
    panel.set_accepted(3, trained=False)
    assert panel.status.text() == "3 slices are accepted. Press Start."
    panel.set_available(False, read_only=True)
    panel.set_accepted(3, trained=False)
    assert "read-only" in panel.status.text()


KEY = SliceKey("a", 0, 3)
SCORED = ev.ValidationScored(ev.Stage.BASE_MODEL, 20, 0.81, {1: 0.81}, 0.02, 12)
SAID = [
    (RUN, "run", "unet (1.2 M parameters) on cpu"),
    (dataclasses.replace(RUN, resumed_step=400), "run", ", resumed at step 400"),
    (RUN, "clean_slices", "5 for training, 1 for validation"),
    (ev.StageStarted(ev.Stage.BASE_MODEL, 50), "status", "Base model…"),
    (STEP, "status", "8.0 steps/s, 3 min 20 s left"),
    (dataclasses.replace(STEP, steps=None, remaining_s=None), "status", "8.0 steps/s"),
    (SCORED, "score", "Dice 0.81 (0.77 to 0.85) on 12 validation slices"),
    (dataclasses.replace(SCORED, validation_slices=3), "score", "on 3 validation slices, too few"),
    (ev.CleanSlicesChanged(3, 1), "clean_slices", "3 for training, 1 for validation"),
    (ev.CleanSlicesChanged(3, 0), "clean_slices", "3 for training, none yet for validation"),
    (ev.CoverageChanged(2, 9), "score", "2 of 9 slices have no clean slice near them"),
    (ev.ImportedLabelsKept(True), "note", "still does worse than the imported labels"),
    (ev.OutOfTime((KEY,)), "note", "1 slice of 1 case got no new prediction and keeps its"),
    (ev.BatchShrunk(2, "Out of memory: smaller batches."), "note", "smaller batches."),
    (ev.FellBack("From an older checkpoint.", "x", 3, 1e-3), "note", "an older checkpoint."),
    (ev.OnlyCleanSlicesLeft("No rough labels are left."), "note", "No rough labels are left."),
    (ev.EarlierModelChosen("It begins with the model of a.", True), "note", "the model of a."),
    (ev.Paused(), "status", "Paused."),
    (ev.Resumed(), "status", "Resuming…"),
    (ev.Finished(1, 11, False, 61.0), "status", "Finished after 1 min 01 s."),
    (ev.Failed("The GPU went away.", "Traceback ..."), "status", "The GPU went away."),
]
UNSAID = [
    ev.SlicesPublished("a", 0, 0, 3, ("prediction",), 1),
    ev.CheckpointSaved("x", 3),
    ev.Heartbeat(),
]


def texts(panel: TrainingPanel) -> dict[str, str]:
    names = ("status", "run", "clean_slices", "score", "note")
    return {name: getattr(panel, name).text() for name in names}


def test_every_event_is_listed_here() -> None:
    listed = {type(event) for event, _, _ in SAID} | {type(event) for event in UNSAID}
    assert listed == set(get_args(ev.Event))


@pytest.mark.parametrize(("event", "where", "text"), SAID)
def test_an_event_is_told_in_its_place(
    qtbot: QtBot, event: ev.Event, where: str, text: str
) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.begin()
    before = texts(panel)
    panel.apply(event)
    assert text in texts(panel)[where]
    assert text not in before[where]


@pytest.mark.parametrize("event", UNSAID)
def test_what_needs_no_words_leaves_the_texts_alone(qtbot: QtBot, event: ev.Event) -> None:
    panel = TrainingPanel(target_dice=0.9)
    qtbot.addWidget(panel)
    panel.begin()
    before = texts(panel)
    panel.apply(event)
    assert texts(panel) == before
    assert shown(panel) == {"pause", "stop"}
