"""Which values a mask may hold, against a look at every pixel."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.values import require_classes

SLICE = "Slice 7 of heart"
MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
                   elements=st.sampled_from([0, 1, 7, 9, 255]))  # fmt: skip


def classes(*values: int) -> list[LabelClass]:
    return [LabelClass(value, f"class {value}", (value, 0, 0)) for value in values]


@given(mask=MASKS, known=st.sets(st.sampled_from([1, 7, 9]), min_size=1))
def test_the_first_pixel_of_no_class_is_named(mask: NDArray[np.uint8], known: set[int]) -> None:
    wrong = [
        (row, column, int(mask[row, column]))
        for row in range(mask.shape[0])
        for column in range(mask.shape[1])
        if int(mask[row, column]) not in {0, *known}
    ]
    if not wrong:
        require_classes(mask, classes(*known), SLICE)
        return
    row, column, value = wrong[0]
    count = "1 pixel" if len(wrong) == 1 else f"{len(wrong)} pixels"
    said = f"row {row}, column {column} with the value {value}"
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        require_classes(mask, classes(*known), SLICE)
    assert f"Slice 7 of heart cannot become clean: {count} of it" in str(caught.value)


@given(MASKS)
def test_without_classes_every_mask_is_taken(mask: NDArray[np.uint8]) -> None:
    require_classes(mask, [], SLICE)
