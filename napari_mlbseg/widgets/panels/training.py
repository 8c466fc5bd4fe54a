"""The training panel: starts, pauses and stops the engine, and shows its events."""

import os
from typing import assert_never

from qtpy.QtCore import QCoreApplication, QEvent, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QMessageBox, QProgressBar, QVBoxLayout, QWidget

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.wording import (
    beside_score,
    of_coverage,
    of_dice,
    of_imported_labels_kept,
    of_out_of_time,
)
from napari_mlbseg.widgets.panels.settings_form import SettingsForm, section
from napari_mlbseg.widgets.panels.style import Line, Messages, Note, button, duration, enable
from napari_mlbseg.widgets.panels.target import TargetLine
from napari_mlbseg.widgets.panels.training_plot import TrainingPlot

_PROGRESS = (96, 14)
AT_FIRST = "Accept a few slices, then press Start."
READ_ONLY = "This study is open read-only: look at it, but do not paint or train."


def invitation(accepted: int, *, trained: bool) -> str:
    """Return what is said before a run, in words that fit what the study holds.

    >>> invitation(1, trained=False)
    '1 slice is accepted. Press Start.'
    """
    if not accepted:
        return AT_FIRST
    counted = "1 slice is" if accepted == 1 else f"{accepted} slices are"
    return f"{counted} accepted. " + (
        "Start goes on from the last checkpoint." if trained else "Press Start."
    )


class TrainingPanel(QWidget):
    """Controls and progress of the engine.

    Attributes
    ----------
    line
        Start, pause, stop, and how far the run is: always on view.
    target
        The Dice to reach, and how far it is; above the plot.
    settings
        The section with the settings, below the plot; it unfolds.

    Signals
    -------
    start_requested(Config), pause_requested(), resume_requested(), stop_requested()
        Requests to the engine.
    """

    start_requested = Signal(object)
    pause_requested = Signal()
    resume_requested = Signal()
    stop_requested = Signal()

    def __init__(self, *, target_dice: float) -> None:
        super().__init__()
        self._available = self._running = self._paused = False
        self._scored: ev.ValidationScored | None = None
        self._unseen, self._invitation = "", AT_FIRST
        self.start = button(
            "Start", "Train on the clean slices, starting from the last checkpoint", self._start
        )
        self.pause = button("Pause", "Pause within a second; nothing is lost", self._pause)
        self.stop = button("Stop", "Save a checkpoint and stop, within a second", self._stop)
        self.form = SettingsForm()
        self.settings = section("Settings", "Show or hide the settings of a training", self.form)
        self.progress = QProgressBar()
        self.progress.setToolTip("Steps of the current stage")
        self.line = QWidget()
        self.status = Line("What the engine is doing", AT_FIRST)
        self.run = Note("Network, device and checkpoint of this run")
        self.clean_slices = Note("Clean slices that this run uses")
        self.score = Line("Dice on validation slices, which the network never learns from")
        self.note = Messages("What else happened in this run")
        self.plot = TrainingPlot()
        self.target = TargetLine(target_dice)
        self._lay_out()
        self._show_buttons()

    def set_available(self, available: bool, *, read_only: bool = False) -> None:
        """Set whether there is a study to train on, or one that may only be looked at."""
        self._available = available
        self._invite(READ_ONLY if read_only else AT_FIRST)
        self._show_buttons()

    def set_accepted(self, accepted: int, *, trained: bool) -> None:
        """Tell what Start would begin with, unless a run or its end is told of."""
        if self.status.text() == self._invitation != READ_ONLY:
            self._invite(invitation(accepted, trained=trained))

    def config(self) -> Config:
        """Return the settings shown."""
        # One core is left to the window.
        return self.form.config(threads=max(1, (os.cpu_count() or 2) - 1))

    def apply(self, event: ev.Event) -> None:
        """Show an engine event."""
        match event:
            case ev.RunStarted():
                self._show_run(event)
            case ev.StageStarted():
                self.plot.start_stage(event)
                self._show_progress(0, event.steps)
                self._say(f"{event.stage.value.capitalize()}…")
            case ev.StepDone():
                self.plot.add_step(event)
                self._show_step(event)
            case ev.ValidationScored():
                self.plot.add_score(event)
                self._scored = event
                self._show_score()
            case ev.CoverageChanged():
                self._unseen = of_coverage(event)
                self._show_score()
            case ev.CleanSlicesChanged():
                self._show_clean_slices(event.training_slices, event.validation_slices)
            case ev.ImportedLabelsKept():
                self.note.say(of_imported_labels_kept(event))
            case ev.OutOfTime():
                self.note.say(of_out_of_time(event))
            case (
                ev.BatchShrunk()
                | ev.FellBack()
                | ev.OnlyCleanSlicesLeft()
                | ev.EarlierModelChosen()
            ):
                self.note.say(event.message)
            case ev.Paused() | ev.Resumed():
                self._paused = isinstance(event, ev.Paused)
                self._say("Paused." if self._paused else "Resuming…")
                self._show_buttons()
            case ev.Finished():
                ending = "Stopped" if event.stopped else "Finished"
                self._end(f"{ending} after {duration(event.seconds)}.")
            case ev.Failed():
                self._end(event.message)
            case ev.SlicesPublished() | ev.CheckpointSaved() | ev.Heartbeat():
                pass
            case _:
                assert_never(event)

    def let_go(self) -> None:
        """Destroy form and plot while Python lives: what their libraries keep would outlive it."""
        for each in (self.form, self.plot):
            each.deleteLater()
            QCoreApplication.sendPostedEvents(each, QEvent.Type.DeferredDelete)

    def begin(self) -> None:
        """Show that a run was requested; its first event takes a moment."""
        self._running, self._paused = True, False
        self.form.begin()
        self.plot.clear()
        self._scored, self._unseen = None, ""
        self._show_score()
        self.note.say("")
        self._show_progress(0, None)
        self._say("Starting: loading the neural network library…")
        self._show_buttons()

    def ask_afresh(self) -> QMessageBox:
        """Ask for confirmation that the trained network may be forgotten."""
        box = QMessageBox(self)
        box.setWindowTitle("Start afresh")
        box.setText("Forget what the network has learnt so far, and train from the beginning?")
        box.setInformativeText(
            "Your slices and the imported labels stay, and so do the predictions until the new"
            " training has better ones."
        )
        box.addButton("Start afresh", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
        return box

    # --- inside ----------------------------------------------------------------------------------

    def _invite(self, text: str) -> None:
        self._invitation = text
        if not self._running:
            self._say(text)

    def _start(self) -> None:
        self.start_requested.emit(self.config())

    def _pause(self) -> None:
        self.pause.setEnabled(False)
        (self.resume_requested if self._paused else self.pause_requested).emit()

    def _stop(self) -> None:
        enable([self.pause, self.stop], False)
        self._say("Stopping: saving a checkpoint…")
        self.stop_requested.emit()

    def _end(self, text: str) -> None:
        self._running, self._paused = False, False
        self._show_progress(0, 1)
        self._say(text)
        self._show_buttons()

    def _say(self, text: str) -> None:
        self.status.say(text)

    def _show_run(self, event: ev.RunStarted) -> None:
        size = f"{event.parameters / 1e6:.1f} M parameters"
        resumed = f", resumed at step {event.resumed_step}" if event.resumed_step else ""
        self.run.say(f"{event.network} ({size}) on {event.device}{resumed}")
        self._show_clean_slices(event.training_slices, event.validation_slices)

    def _show_clean_slices(self, training: int, validation: int) -> None:
        several = validation or "none yet"
        self.clean_slices.say(f"Clean slices: {training} for training, {several} for validation")

    def _show_step(self, event: ev.StepDone) -> None:
        self._show_progress(event.step, event.steps)
        left = "" if event.remaining_s is None else f", {duration(event.remaining_s)} left"
        if not self._paused and self.stop.isEnabled():
            self._say(f"{event.stage.value.capitalize()}: {event.steps_per_s:.1f} steps/s{left}")

    def _show_score(self) -> None:
        """Show the validation Dice beside what it says nothing about; without one, that alone."""
        if (event := self._scored) is None:
            self.score.say(self._unseen)
            return
        classes = ", ".join(f"{value}: {dice:.2f}" for value, dice in event.dice_per_class.items())
        each = f"  (class {classes})" if len(event.dice_per_class) > 1 else ""
        kept = (
            ""
            if event.shown
            else "  worse than before: the better network is still used for predictions"
        )
        self.score.say(f"{of_dice(event)}{each}{kept}{beside_score(self._unseen)}")

    def _show_progress(self, step: int, steps: int | None) -> None:
        self.progress.setRange(0, steps or 0)
        self.progress.setValue(step)
        self.progress.setFormat("%v of %m" if self._running else "")

    def _show_buttons(self) -> None:
        self.start.setEnabled(self._available and not self._running)
        enable([self.pause, self.stop], self._running)
        self.pause.setText("Resume" if self._paused else "Pause")
        self.form.allow(not self._running)
        self.progress.setVisible(self._running)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(4)
        for each in (self.start, self.pause, self.stop):
            row.addWidget(each)
        under = QVBoxLayout(self.line)
        under.setContentsMargins(0, 0, 0, 0)
        under.setSpacing(2)
        under.addLayout(row)
        status = QHBoxLayout()
        status.addWidget(self.status, 1)
        status.addWidget(self.progress)
        under.addLayout(status)
        under.addWidget(self.score)
        self.progress.setFixedSize(*_PROGRESS)  # no higher than the text: nothing moves
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 4)
        layout.setSpacing(3)
        layout.addWidget(self.target)
        layout.addWidget(self.plot, 1)
        for below in (self.settings, self.note, self.clean_slices, self.run):
            layout.addWidget(below)
