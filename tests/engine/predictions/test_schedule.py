"""Which slices are published next."""

from collections.abc import Sequence

import numpy as np
import torch
from small_study import QUICK, Phantoms

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span, spans_of
from napari_mlbseg.engine.predictions.schedule import Schedule
from napari_mlbseg.project.records.slices import SliceKey


def scheduled(phantoms: Phantoms) -> tuple[Schedule, list[list[Span]]]:
    """A schedule, and the spans of each case."""
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": "2d"})
    _, source = choose_source(phantoms.study, config, torch.device("cpu"))
    cases = phantoms.study.cases
    return Schedule(cases, source), [spans_of(source, case) for case in cases]


def names(spans: Sequence[Span]) -> list[tuple[str, int]]:
    return [(span.case.id, span.start) for span in spans]


def test_the_oldest_is_next_and_nothing_is_while_all_are_young(phantoms: Phantoms) -> None:
    schedule, (first, second) = scheduled(phantoms)
    for span in (*first, *second):
        schedule.published(span, step=10)
    assert schedule.stalest_span(40, youngest=50) is None
    schedule.published(second[0], step=0)
    assert schedule.stalest_span(50, youngest=50) == second[0]
    schedule.forget()
    assert schedule.stalest_span(0, youngest=50) == first[0]


def test_a_labelling_makes_predictions_young_but_not_maps(phantoms: Phantoms) -> None:
    schedule, (first, second) = scheduled(phantoms)
    for span in (*first, *second):
        schedule.published(span, step=0)
    schedule.published(second[0], step=10)
    for span in (*first, *second):
        schedule.labelled(span, step=50)
    assert schedule.out_of_date(50) == []
    assert schedule.stalest_span(55, youngest=50) == first[0]
    assert len(list(schedule.in_order_of_need(50, {}))) == len(first) + len(second)


def test_the_case_on_view_ages_faster(phantoms: Phantoms) -> None:
    schedule, (first, second) = scheduled(phantoms)
    for span in first:
        schedule.published(span, step=0)
    for span in second:
        schedule.published(span, step=30)
    assert schedule.stalest_span(60, youngest=10) == first[0]
    schedule.look_at(SliceKey(second[0].case.id, second[0].axis, 5))
    assert schedule.stalest_span(60, youngest=10) == second[0]


def test_the_slice_on_view_counts_along_the_axis_of_its_case(phantoms: Phantoms) -> None:
    schedule, (first, _) = scheduled(phantoms)
    case = first[0].case
    assert schedule.focused_slice() is None
    schedule.look_at(SliceKey(case.id, case.axis, 5))
    assert schedule.focused_slice() == Span(case, case.axis, 5, 6)
    for other in (SliceKey(case.id, (case.axis + 1) % 3, 5), SliceKey("unknown", case.axis, 5)):
        schedule.look_at(other)
        assert schedule.focused_slice() is None


def test_at_the_end_what_is_on_view_comes_first_and_unjudged_slices_last(
    phantoms: Phantoms,
) -> None:
    schedule, (first, second) = scheduled(phantoms)
    schedule.published(first[0], step=9)
    count = second[0].case.geometry.shape[second[0].case.axis]
    nowhere = {first[0].case.id: np.zeros(count, dtype=np.bool_)}
    rest = [span for span in first if span != first[0]]
    found = list(schedule.in_order_of_need(9, nowhere))
    assert names(found) == names([*second, *rest])
    assert [key for span in (*rest, *second) for key in span.keys] == schedule.out_of_date(9)
    order = schedule.in_order_of_need(9, nowhere)
    assert next(order) == second[0]
    schedule.look_at(SliceKey(first[0].case.id, first[0].axis, 0))  # while it is under way
    assert names(list(order)) == names([*rest, *second[1:]])
