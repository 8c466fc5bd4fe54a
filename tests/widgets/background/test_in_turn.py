"""Work in turn: done at once if possible, never dropped, always in order."""

from collections.abc import Callable, Iterator
from threading import Event, current_thread, main_thread

import pytest
from pytestqt.qtbot import QtBot

from napari_mlbseg.errors import UserError
from napari_mlbseg.widgets.background import in_turn
from napari_mlbseg.widgets.background.in_turn import Done, InTurn

pytestmark = pytest.mark.one_binding


@pytest.fixture
def turns(qtbot: QtBot) -> Iterator[InTurn]:
    made = InTurn("turns")
    yield made
    made.give_up()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Closed for now; whoever waits behind it is not waited for."""
    monkeypatch.setattr(in_turn, "_PATIENCE_S", 0.0)
    made = Event()
    yield made
    made.set()


def behind(gate: Event, value: int) -> Callable[[], int]:
    def work() -> int:
        gate.wait()
        return value

    return work


def test_what_is_done_at_once_is_like_a_call(turns: InTurn) -> None:
    landed: list[object] = []
    assert turns.put(lambda: current_thread() is main_thread(), landed.append) == Done(False)
    turns.do(lambda: 7, landed.append)
    assert (landed, turns.waiting) == ([7], 0)


def test_what_fails_at_once_raises_and_is_gone(turns: InTurn) -> None:
    def refused() -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        turns.put(refused, print)
    assert turns.put(lambda: 1, print) == Done(1)
    assert turns.settle(0)


def test_all_that_waits_is_done_in_order_and_told_on_the_main_thread(
    qtbot: QtBot, turns: InTurn, gate: Event
) -> None:
    landed: list[tuple[int, bool]] = []
    counts: list[int] = []
    turns.changed.connect(lambda: counts.append(turns.waiting))
    for value in range(4):
        work = behind(gate, value)
        assert turns.put(work, lambda v: landed.append((v, current_thread() is main_thread()))) is (
            None
        )
    assert counts == []  # whoever asked has to take note of it first
    qtbot.waitUntil(lambda: counts == [4])
    assert not turns.settle(0)
    assert landed == []
    gate.set()
    qtbot.waitUntil(lambda: not turns.waiting)
    assert landed == [(value, True) for value in range(4)]
    assert counts[-1] == 0


def test_what_waits_is_tried_again_until_it_is_done_and_the_others_wait_for_it(
    turns: InTurn, gate: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_turn, "_FIRST_PAUSE_S", 0.001)
    tries: list[str] = []
    done: list[str] = []

    def stubborn() -> str:
        gate.wait()
        tries.append(turns.problem)
        if len(tries) < 4:
            raise OSError("busy")
        return "first"

    turns.put(stubborn, done.append)
    turns.put(lambda: "second", done.append)
    gate.set()
    assert turns.settle(600)
    assert tries == ["", "busy", "busy", "busy"]
    assert done == ["first", "second"]
    assert turns.problem == ""


def test_nothing_is_done_once_it_was_given_up(turns: InTurn, gate: Event) -> None:
    done: list[int] = []
    turns.put(behind(gate, 1), done.append)
    turns.put(lambda: done.append(2), print)
    turns.give_up()
    gate.set()
    assert not turns.settle(0.05)
    assert (done, turns.waiting) == ([], 2)
