"""A program that opens a study in a real window, paints, and lets somebody close the window.

Arguments: the study, how the window is closed, and what runs meanwhile ("nothing", or a training
that "heeds" a stop, takes its "time" about it, or is "deaf"). Prints what happens, one line each.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
from qtpy import API
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.widgets import workbench
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.lifetime.questions import Question

PYQT5 = "pyqt5"


def training(kind: str) -> Callable[[ev.Inbox], Iterator[ev.Event]]:
    def events(inbox: ev.Inbox) -> Iterator[ev.Event]:
        yield ev.RunStarted(1, "cpu", "scripted", 1000, 2, 1, 0)
        while not any(isinstance(r, ev.Stop) for r in inbox.drain(timeout_s=0.01)):
            yield ev.Heartbeat()
        say("asked to stop")
        while kind == "deaf":
            time.sleep(0.1)
        time.sleep(1.5 if kind == "time" else 0.0)
        say("stopped")
        yield ev.Finished(1, 10, True, 1.0)

    return events


def say(text: str) -> None:
    print(text, flush=True)


def close(window: QWidget, viewer: napari.Viewer, how: str) -> None:
    say("closing")
    ways: dict[str, Callable[[], Any]] = {
        "window": window.close,
        "quit": lambda: window.close(quit_app=True, confirm_need=False),  # type: ignore[call-arg]
        "viewer": viewer.close,
        # Not `quit`, which asks the windows in Qt 6.
        "application": lambda: QApplication.exit(0),
    }
    ways[how]()


def answer(dock: MLBSegDock, wanted: list[str]) -> None:
    """Choose what is wanted as soon as it is asked, with a click each."""
    for question in QApplication.topLevelWidgets():
        if isinstance(question, Question) and question.isVisible() and wanted:
            button = question.answers.get(wanted[0])
            if button is not None:
                say(f"chosen: {wanted.pop(0)}")
                button.click()
                return


def main(path: str, how: str, kind: str, *wanted: str) -> None:
    if kind == "heeds":  # at once, which on a busy machine may be late
        workbench.STOP_TIMEOUT_S = 600.0
    viewer = napari.Viewer()
    dock = open_dock(viewer, Path(path))
    window = dock.window()
    assert window is not None
    answers = list(wanted)
    watch = QTimer(window)
    watch.timeout.connect(lambda: answer(dock, answers))
    watch.start(50)

    def work() -> None:
        bench = dock.workbench
        assert bench.annotation is not None
        if kind != "nothing":
            bench.engine = lambda *_: training(kind)
            assert bench.train(Config())
        bench.annotation.go_to(7)
        bench.annotation.layers.working.paint((7, 4, 4), 2)
        if "x" in how:
            viewer.window.remove_dock_widget(dock)
        QTimer.singleShot(300, lambda: close(window, viewer, how.removesuffix(" after x")))

    QTimer.singleShot(500, work)
    napari.run()
    say("over")
    if how == "application" and API == PYQT5:
        # PyQt5's own clean-up at exit visits objects that Qt has deleted, and crashes now and then
        # where windows outlive the application: bare napari 0.9.2 did in 2 of 42 runs on a busy
        # machine. What is ours has ended by now.
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
