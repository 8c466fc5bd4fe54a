"""When suggestions are looked for, and when those that are there are kept."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pytestqt.qtbot import QtBot

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.predictions.suggestions import Suggestion, suggest
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.extents import End, Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs, suggester
from napari_mlbseg.widgets.background.suggester import BATCH, SHOWN, Suggester
from napari_mlbseg.widgets.background.task import Report

pytestmark = pytest.mark.one_binding


@pytest.fixture
def study(study: Study) -> Study:
    """A study in which no end is asked for, because a person said that everything may be shown."""
    for case in study.cases:
        last = case.geometry.shape[case.axis] - 1
        for label in study.classes:
            study.extents.mark(case.id, case.axis, label.value, Extent(0, last))
    return study


class Looks:
    """Counts how often it is looked for suggestions, and can hold what was found or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None
        self.found, self.ended = threading.Event(), threading.Event()
        self._real = jobs.suggesting
        monkeypatch.setattr(jobs, "suggesting", self._job)

    def _job(self, path: object, count: int) -> Callable[[Report], tuple[Suggestion, ...]]:
        self.count += 1

        def work(report: Report) -> tuple[Suggestion, ...]:
            try:
                found = self._real(path, count)(report)  # type: ignore[arg-type]
                self.found.set()
                self.go_on.wait()
                if self.error is not None:
                    raise self.error
                return found
            finally:
                self.ended.set()

        return work


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    monkeypatch.setattr(suggester, "_AFTER_MS", 10)
    monkeypatch.setattr(suggester, "REST", 0.0)
    made = Looks(monkeypatch)
    # A clock by which a look takes two seconds and everything else no time.
    monkeypatch.setattr(suggester, "time", SimpleNamespace(monotonic=lambda: 2.0 * made.count))
    return made


@pytest.fixture
def watching(qtbot: QtBot, looks: Looks, study: Study) -> Iterator[Suggester]:
    made = Suggester()
    made.set_study(study)
    qtbot.waitUntil(lambda: bool(made.best))
    yield made
    looks.go_on.set()
    made.set_study(None)


def quiet(qtbot: QtBot, watching: Suggester) -> None:
    """Wait until nothing is looked for, nor will be."""
    qtbot.waitUntil(lambda: not watching.looking and not watching._timer.isActive())


def say(watching: Suggester, study: Study, key: SliceKey, state: SliceState) -> None:
    if state in (SliceState.CLEAN, SliceState.DRAFT):
        shown = study.arrays.read(key.case_id, ArrayName.INITIAL_LABELS, key.axis, key.index)
        study.save_slice(key, shown, state)
    else:
        study.slices.set_state(key, state)
    watching.slices_changed([key])


def published(study: Study, share: float) -> list[ev.SlicesPublished]:
    return [
        ev.SlicesPublished(c.id, 0, 0, round(share * c.geometry.shape[0]), ("prediction",), 1)
        for c in study.cases
    ]


def test_it_suggests_what_the_command_does(watching: Suggester, study: Study) -> None:
    assert list(watching.best) == suggest(study, SHOWN)


def test_a_batch_is_used_up_before_another_is_looked_for(
    qtbot: QtBot, watching: Suggester, looks: Looks, study: Study
) -> None:
    batch = [one.key for one in suggest(study, BATCH)]
    for done, key in enumerate(batch[: BATCH - SHOWN], start=1):
        state = SliceState.SKIPPED if done % 3 == 0 else SliceState.CLEAN
        say(watching, study, key, state)
        assert [one.key for one in watching.best] == batch[done : done + SHOWN]
    quiet(qtbot, watching)
    assert looks.count == 1
    say(watching, study, batch[BATCH - SHOWN], SliceState.CLEAN)
    qtbot.waitUntil(lambda: len(watching.best) == SHOWN)
    assert looks.count == 2
    assert not {one.key for one in watching.best} & set(study.slices.clean())


def test_what_a_person_does_elsewhere_counts_once_it_is_clean(
    qtbot: QtBot, watching: Suggester, looks: Looks, study: Study
) -> None:
    taken = {one.key.index for one in suggest(study, BATCH)}
    key = SliceKey("phantom_01", 0, min(set(range(40)) - taken))
    for state in (SliceState.DRAFT, SliceState.SKIPPED):
        say(watching, study, key, state)
    quiet(qtbot, watching)
    assert looks.count == 1
    say(watching, study, key, SliceState.CLEAN)
    qtbot.waitUntil(lambda: looks.count == 2)
    quiet(qtbot, watching)
    say(watching, study, key, SliceState.DRAFT)  # reopened
    qtbot.waitUntil(lambda: looks.count == 3)


def test_predictions_count_once_half_of_them_are_other_ones(
    qtbot: QtBot, watching: Suggester, looks: Looks, study: Study
) -> None:
    for _ in range(5):  # the same slices again and again, as for the one on view
        for event in published(study, 0.3):
            watching.hear(event)
    quiet(qtbot, watching)
    assert looks.count == 1
    for event in published(study, 0.8):
        watching.hear(event)
    qtbot.waitUntil(lambda: looks.count == 2)
    quiet(qtbot, watching)
    watching.hear(ev.Finished(1, 10, False, 1.0))  # with nothing new since
    quiet(qtbot, watching)
    assert looks.count == 2
    watching.hear(published(study, 0.1)[0])
    watching.hear(ev.Finished(1, 10, False, 1.0))
    qtbot.waitUntil(lambda: looks.count == 3)


def test_looking_takes_a_small_share_of_the_time(
    qtbot: QtBot,
    watching: Suggester,
    looks: Looks,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggester, "REST", 10.0)
    watching.refresh()
    qtbot.waitUntil(lambda: looks.count == 2)
    quiet(qtbot, watching)
    for event in published(study, 1.0):
        watching.hear(event)
    assert watching._timer.interval() == 20_000  # ten times the two seconds that a look took
    for key in [one.key for one in suggest(study, BATCH)]:  # unless nothing is left to do
        say(watching, study, key, SliceState.SKIPPED)
    qtbot.waitUntil(lambda: looks.count == 3)


def test_a_slice_that_is_accepted_meanwhile_is_not_suggested(
    qtbot: QtBot, watching: Suggester, looks: Looks, study: Study
) -> None:
    looks.go_on.clear()
    looks.found.clear()
    watching.refresh()
    qtbot.waitUntil(looks.found.is_set)
    best = watching.best[0].key
    say(watching, study, best, SliceState.CLEAN)
    looks.go_on.set()
    qtbot.waitUntil(lambda: not watching.looking)
    assert best not in {one.key for one in watching.best}


def test_closing_the_study_ends_a_look_and_drops_what_it_finds(
    qtbot: QtBot, watching: Suggester, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggester, "_STOP_S", 0.01)
    looks.go_on.clear()
    looks.ended.clear()
    watching.refresh()
    qtbot.waitUntil(lambda: looks.count == 2)
    task = watching._task
    assert task is not None
    watching.set_study(None)
    assert list(watching.best) == []
    with qtbot.waitSignal(task.ended):
        looks.go_on.set()
    assert looks.ended.is_set()
    assert list(watching.best) == []
    assert not watching.looking


def test_a_failed_look_keeps_the_batch_and_says_why(
    qtbot: QtBot, watching: Suggester, looks: Looks
) -> None:
    before = list(watching.best)
    looks.error = UserError("The image of phantom_01 is gone.")
    watching.refresh()
    qtbot.waitUntil(lambda: bool(watching.problem))
    assert watching.problem == "The image of phantom_01 is gone."
    assert list(watching.best) == before
    looks.error = None
    watching.refresh()
    qtbot.waitUntil(lambda: not watching.problem)


def test_the_next_suggestion_follows_the_slice_on_view(watching: Suggester) -> None:
    keys = [one.key for one in watching.best]
    assert watching.after(None) == keys[0]
    assert watching.after(SliceKey("phantom_01", 2, 3)) == keys[0]
    assert watching.after(keys[3]) == keys[4]
    assert watching.after(keys[-1]) == keys[0]
    watching.set_study(None)
    assert watching.after(keys[0]) is None


def unmark(watching: Suggester, study: Study, *case_ids: str) -> None:
    for case_id in case_ids:
        for label in study.classes:
            study.extents.clear(case_id, study.case(case_id).axis, label.value)
        watching.extent_changed(case_id)


def ends(watching: Suggester) -> list[tuple[str, End, tuple[int, ...]]]:
    return [(s.key.case_id, s.asks_for, s.classes) for s in watching.best if s.asks_for]


def test_an_end_is_asked_for_until_it_is_marked(
    qtbot: QtBot, watching: Suggester, looks: Looks, study: Study
) -> None:
    assert ends(watching) == []
    case, values = study.cases[0], tuple(label.value for label in study.classes)
    assert len(values) > 1
    unmark(watching, study, case.id)
    qtbot.waitUntil(lambda: len(ends(watching)) == 2)
    assert ends(watching) == [(case.id, End.FIRST, values), (case.id, End.LAST, values)]
    quiet(qtbot, watching)
    looks.go_on.clear()  # what follows is known at once, before anything is looked for again
    key = next(one.key for one in watching.best if one.asks_for is End.LAST)
    for done, value in enumerate(values, start=1):
        study.extents.mark(case.id, case.axis, value, Extent(last=key.index))
        watching.extent_changed(case.id)
        left = [(case.id, End.LAST, values[done:])] if values[done:] else []
        assert ends(watching) == [(case.id, End.FIRST, values), *left]
    looks.go_on.set()
    quiet(qtbot, watching)
    assert ends(watching) == [(case.id, End.FIRST, values)]


def test_accepting_the_slice_of_an_end_does_not_mark_it(
    qtbot: QtBot, watching: Suggester, study: Study
) -> None:
    unmark(watching, study, study.cases[0].id)
    qtbot.waitUntil(lambda: len(ends(watching)) == 2)
    asked = ends(watching)
    say(watching, study, watching.best[0].key, SliceState.CLEAN)
    quiet(qtbot, watching)
    assert [one[:2] for one in ends(watching)] == [one[:2] for one in asked]


def test_both_ends_on_one_slice_do_not_keep_anybody_there(
    watching: Suggester, study: Study
) -> None:
    first, other = watching.best[0], watching.best[1]
    assert first.asks_for is None
    watching._batch = (
        replace(first, asks_for=End.FIRST, classes=(1,)),
        replace(first, asks_for=End.LAST, classes=(1,)),
        other,
    )
    assert watching.after(None) == first.key
    assert watching.after(first.key) == other.key
