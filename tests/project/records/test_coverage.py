"""Which slices count as looked at: near a clean slice, along the axis, also of a case alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_phantoms

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.coverage import (
    BETWEEN_MM,
    BETWEEN_SHARE,
    looked_at,
    looked_at_everywhere,
    near,
)
from napari_mlbseg.project.records.slices import SliceKey

positions = st.lists(st.floats(0, 400), min_size=1, max_size=8)


def cases_of(path: Path, *shapes: tuple[int, int, int]) -> list[Case]:
    """One case for each shape, 1 mm apart along the axis, with names that differ."""
    found = []
    for number, shape in enumerate(shapes):
        with make_phantoms(
            path / f"{number}.mlbseg", cases=1, shape=shape, spacing_mm=(1.0, 1.0, 1.0)
        ).study as study:
            case = study.cases[0]
        found.append(
            Case(
                f"case{number}",
                case.image_path,
                None,
                case.source,
                case.geometry,
                case.intensity,
                0,
                case.name,
            )
        )
    return found


@given(positions)
def test_a_clean_slice_itself_was_looked_at(clean: list[float]) -> None:
    assert near(np.array(clean), np.array(clean)).all()


@given(positions, st.floats(0.01, 50))
def test_beyond_the_clean_slices_nobody_looked(clean: list[float], further: float) -> None:
    beyond = np.array([min(clean) - further, max(clean) + further])
    assert not near(beyond, np.array(clean)).any()


@given(st.lists(st.floats(-10, 410), min_size=1, max_size=30), positions)
def test_near_is_what_comparing_each_with_each_finds(at: list[float], clean: list[float]) -> None:
    at_mm, clean_mm = np.array(at), np.array(clean)
    distance = np.abs(at_mm[:, None] - clean_mm).min(axis=1)
    reach = max(BETWEEN_MM, BETWEEN_SHARE * (clean_mm.max() - clean_mm.min())) + 1e-6
    inside = (at_mm >= clean_mm.min() - 1e-6) & (at_mm <= clean_mm.max() + 1e-6)
    assert near(at_mm, clean_mm).tolist() == (inside & (distance <= reach)).tolist()


def test_without_clean_slices_nobody_looked_anywhere() -> None:
    assert not near(np.arange(50.0), np.array([])).any()


@given(positions)
def test_further_from_the_clean_slices_is_never_nearer(clean: list[float]) -> None:
    """Going away from the outermost ones, and from one towards the middle of a gap."""
    for edge, step in ((min(clean), -0.5), (max(clean), 0.5)):
        going = near(edge + step * np.arange(100.0), np.array(clean))
        assert (np.diff(going.astype(int)) <= 0).all()
    for low, high in zip(sorted(clean), sorted(clean)[1:], strict=False):
        going = near(np.linspace(low, (low + high) / 2, 50), np.array(clean))
        assert (np.diff(going.astype(int)) <= 0).all()


@given(positions, st.floats(0, 400))
def test_another_clean_slice_takes_nothing_away(clean: list[float], another: float) -> None:
    at = np.linspace(-20, 420, 300)
    before, after = near(at, np.array(clean)), near(at, np.array([*clean, another]))
    assert (after | ~before).all()


def test_a_wide_gap_between_clean_slices_is_not_covered_by_its_edges() -> None:
    found = near(np.arange(101.0), np.array([0.0, 100.0]))
    assert found[:13].all()
    assert not found[13:88].any()


def test_heights_of_cases_alike_are_compared_and_others_not(tmp_path: Path) -> None:
    shapes = (40, 30, 30), (42, 36, 32), (80, 30, 30), (40, 30, 60)
    cases = cases_of(tmp_path, *shapes)
    clean = [SliceKey("case0", 0, i) for i in (10, 16, 22, 28)]
    found = looked_at_everywhere(cases, clean)
    assert np.flatnonzero(found["case0"]).tolist() == list(range(10, 29))
    assert np.flatnonzero(found["case1"]).tolist() == list(range(11, 30))
    assert not found["case2"].any()  # twice as long
    assert not found["case3"].any()  # twice as wide


@pytest.mark.parametrize("axis", [0, 2])
def test_only_slices_along_the_axis_count(tmp_path: Path, axis: int) -> None:
    (case,) = cases_of(tmp_path, (40, 30, 30))
    clean = [SliceKey("case0", 0, 10), SliceKey("case0", 0, 20), SliceKey("case0", 2, 4)]
    found = np.flatnonzero(looked_at(case, [case], clean, axis))
    assert found.tolist() == (list(range(10, 21)) if axis == 0 else [4])


def test_slices_outside_of_marked_ends_count_like_clean_ones(tmp_path: Path) -> None:
    case, other = cases_of(tmp_path, (100, 10, 10), (100, 10, 10))
    clean = [SliceKey(case.id, 0, i) for i in (45, 55)]
    reach = int(BETWEEN_SHARE * (99 - 45))
    empty = np.arange(100) > 70
    certified = {(case.id, 0): empty}
    seen = looked_at(case, [case], clean, certified=certified)
    assert np.flatnonzero(~seen).tolist() == list(range(45))  # nothing is known below
    assert reach < 70 - 55  # so what lies between is known only because of the end
    assert looked_at(other, [case, other], clean, certified=certified).tolist() == seen.tolist()
    assert looked_at(case, [case], clean, axis=1, certified=certified).tolist() == [False] * 10
    everywhere = looked_at_everywhere([case, other], clean, certified)
    assert everywhere[other.id].tolist() == seen.tolist()


@given(
    st.lists(st.integers(0, 99), max_size=6),
    *[st.integers(-1, 100)] * 4,
)
def test_another_mark_never_takes_anything_away(
    clean: list[int], first: int, last: int, higher: int, lower: int
) -> None:
    """Neither a first mark nor one that certifies more slices."""
    index = np.arange(100)
    some = (index < first) | (index > last)
    more = some | (index < higher) | (index > lower)

    def seen(certified: np.ndarray) -> np.ndarray:
        known = np.array([*clean, *np.flatnonzero(certified).tolist()], np.float64)
        return near(index.astype(np.float64) + 0.5, known + 0.5)

    nothing = np.zeros(100, dtype=bool)
    assert (seen(nothing) <= seen(some)).all()
    assert (seen(some) <= seen(more)).all()
    assert seen(more)[more].all()
