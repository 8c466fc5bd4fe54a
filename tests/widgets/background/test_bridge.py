import itertools
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication

from napari_mlbseg.engine import events as ev
from napari_mlbseg.errors import UserError
from napari_mlbseg.widgets.background import task as background
from napari_mlbseg.widgets.background.bridge import EngineBridge, EventSource
from napari_mlbseg.widgets.background.task import BackgroundTask

PATIENCE_S = 600.0


def collect(qtbot: QtBot, source: EventSource) -> list[ev.Event]:
    bridge = EngineBridge()
    told: list[ev.Event] = []
    bridge.told.connect(told.append)
    bridge.start(source)
    qtbot.waitUntil(lambda: not bridge.running)
    return told


def test_events_arrive_in_order_and_on_the_main_thread(qtbot: QtBot) -> None:
    threads: list[Any] = []

    def source(_: ev.Inbox) -> Iterator[ev.Event]:
        threads.append(threading.current_thread())
        for step in range(500):
            yield ev.CleanSlicesChanged(step, 0)
        yield ev.Finished(1, 500, False, 1.0)

    bridge = EngineBridge()
    told: list[ev.Event] = []
    homes: list[bool] = []
    app = QApplication.instance()
    assert app is not None
    bridge.told.connect(told.append)
    bridge.told.connect(lambda _: homes.append(QThread.currentThread() is app.thread()))
    bridge.start(source)
    qtbot.waitUntil(lambda: not bridge.running)
    assert told[:-1] == [ev.CleanSlicesChanged(step, 0) for step in range(500)]
    assert isinstance(told[-1], ev.Finished)
    assert all(homes)
    assert threads[0] is not threading.main_thread()


def test_a_runtime_error_is_told_as_a_failure(qtbot: QtBot) -> None:
    def source(_: ev.Inbox) -> Iterator[ev.Event]:
        yield ev.Heartbeat()
        raise RuntimeError("CUDA is unhappy")

    last = collect(qtbot, source)[-1]
    assert isinstance(last, ev.Failed)
    assert "CUDA is unhappy" in last.message
    assert "Traceback" not in last.message
    assert "RuntimeError" in last.details


def test_what_a_user_can_mend_is_told_as_it_is(qtbot: QtBot) -> None:
    def source(_: ev.Inbox) -> Iterator[ev.Event]:
        raise UserError("Accept a slice first.")

    assert collect(qtbot, source) == [ev.Failed("Accept a slice first.", "")]


def test_an_end_without_a_last_event_is_a_failure(qtbot: QtBot) -> None:
    told = collect(qtbot, lambda _: iter([ev.Heartbeat()]))
    assert isinstance(told[-1], ev.Failed)


def listen_until_stopped(inbox: ev.Inbox) -> Iterator[ev.Event]:
    while True:
        for request in inbox.drain(timeout_s=0.02):
            match request:
                case ev.Stop():
                    yield ev.Finished(1, 7, True, 0.5)
                    return
                case ev.Pause():
                    yield ev.Paused()
                case _:
                    yield ev.Resumed()
        yield ev.Heartbeat()


def test_requests_reach_the_engine_and_stop_waits_for_its_end(qtbot: QtBot) -> None:
    bridge = EngineBridge()
    told: list[ev.Event] = []
    bridge.told.connect(told.append)
    bridge.send(ev.Pause())  # nobody there: dropped
    bridge.start(listen_until_stopped)
    bridge.send(ev.Pause())
    qtbot.waitUntil(lambda: ev.Paused() in told)
    assert bridge.stop(timeout_s=PATIENCE_S)
    assert not bridge.running
    assert told[-1] == ev.Finished(1, 7, True, 0.5)
    assert told.count(ev.Paused()) == 1


def test_only_one_run_at_a_time(qtbot: QtBot) -> None:
    bridge = EngineBridge()
    bridge.start(listen_until_stopped)
    with pytest.raises(UserError, match="already running"):
        bridge.start(listen_until_stopped)
    assert bridge.stop(timeout_s=PATIENCE_S)
    bridge.start(listen_until_stopped)
    assert bridge.stop(timeout_s=PATIENCE_S)


def test_a_stuck_engine_does_not_hold_the_window(qtbot: QtBot) -> None:
    release = threading.Event()

    def stuck(_: ev.Inbox) -> Iterator[ev.Event]:
        release.wait()
        yield ev.Finished(1, 0, True, 0.0)

    bridge = EngineBridge()
    bridge.start(stuck)
    assert not bridge.stop(timeout_s=0.2)  # comes back although nothing has released it
    assert bridge.running
    release.set()
    qtbot.waitUntil(lambda: not bridge.running)


def test_a_talkative_engine_leaves_the_window_alive(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to be told, the window gets its turn within the share for it."""
    ticks, share = itertools.count(), background._BUDGET_S
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 1000)  # telling takes a millisecond
    monkeypatch.setattr(background, "time", clock)
    monkeypatch.setattr(background, "_POLL_MS", 1)
    ended = threading.Event()

    def talk(_: ev.Inbox) -> Iterator[ev.Event]:
        for step in range(1000):
            yield ev.CleanSlicesChanged(step, 0)
        yield ev.Finished(1, 0, False, 0.0)
        ended.set()

    told: list[ev.Event] = []
    at_once: list[int] = []
    deliver = BackgroundTask._deliver

    def watched(task: BackgroundTask) -> None:
        before = len(told)
        deliver(task)
        at_once.append(len(told) - before)

    monkeypatch.setattr(BackgroundTask, "_deliver", watched)
    bridge = EngineBridge()
    bridge.told.connect(told.append)
    bridge.start(talk)
    assert ended.wait(PATIENCE_S)  # all of it is waiting by now
    qtbot.waitUntil(lambda: not bridge.running)
    assert len(told) == 1001
    assert 1 < max(at_once) <= 1000 * share
