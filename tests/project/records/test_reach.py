"""What nobody corrected, in words."""

from pathlib import Path

import pytest
from small_study import make_phantoms

from napari_mlbseg.project.records.coverage import looked_at_everywhere
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.reach import Reach, beyond_in_words, reaches


def reach(first: int | None, last: int = 0, *, slices: int = 88, axis: int = 0) -> Reach:
    """A case whose file counts slices the other way round."""
    if first is None:
        return Reach("a", axis, slices, None, None)
    return Reach("a", axis, slices, (first, last), (slices - 1 - first, slices - 1 - last))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], ""),
        ([reach(0, 87)], ""),
        ([reach(None)], "nothing was corrected yet"),
        ([reach(0, 55)], "nothing above slice 55 was corrected"),
        ([reach(35, 87)], "nothing below slice 35 was corrected"),
        ([reach(35, 55)], "nothing below slice 35 or above slice 55 was corrected"),
        ([reach(35, 55, axis=1)], "nothing before slice 35 or after slice 55 was corrected"),
        (
            [reach(0, 55), reach(0, 50), reach(0, 87)],
            "in 2 of 3 cases nothing above slices 50 to 55 (depending on the case) was corrected",
        ),
        (
            [reach(35, 87), reach(0, 55), reach(None)],
            "in 1 of 3 cases nothing below slice 35 was corrected; in 1 of 3 cases nothing above "
            "slice 55 was corrected; in 1 of 3 cases nothing was corrected",
        ),
    ],
)
def test_what_lies_beyond_in_words(found: list[Reach], words: str) -> None:
    assert beyond_in_words(found) == words


def test_the_file_may_count_the_other_way_round() -> None:
    words = beyond_in_words([reach(35, 55)], in_file=True)
    assert words == "nothing below slice 52 or above slice 32 was corrected"


def test_a_mark_at_an_end_leaves_nothing_unsaid_on_its_side(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "s.mlbseg", cases=1)
    study, (case,) = phantoms.study, phantoms.study.cases
    phantoms.accept(case.id, 5, 7)

    def said() -> str:
        certified = study.extents.certified()
        found = looked_at_everywhere(study.cases, study.slices.clean(), certified)
        (reach,) = reaches(study.cases, found)
        assert reach.ends is not None
        low, high = (case.geometry.file_index(case.axis, i) for i in reach.ends)
        assert reach.in_file == (low, high)
        return beyond_in_words([reach])

    assert said() == "nothing below slice 5 or above slice 7 was corrected"
    for value in (1, 7):
        study.extents.mark(case.id, 0, value, Extent(last=9))
    assert said() == "nothing below slice 5 was corrected"
