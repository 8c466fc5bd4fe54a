"""Label values and class indices stand for each other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mlbseg.engine.data.classes import Classes
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

KEY = SliceKey("scan", 0, 5)


@pytest.fixture
def classes(tmp_path: Path) -> Classes:
    with Study.create(tmp_path / "s.mlbseg") as study:
        study.set_classes([LabelClass(v, f"class {v}", (1, 2, 3)) for v in (7, 1, 254)])
        return Classes(study, torch.device("cpu"))


def test_labels_come_back_from_their_indices(classes: Classes) -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 1, 7, 254], np.uint8), (6, 9))
    found = classes.indices(labels, KEY)
    assert found.dtype == torch.int64
    assert set(found.flatten().tolist()) == {0, 1, 2, 3}
    back = classes.values[found.numpy()]
    assert back.dtype == np.uint8
    assert np.array_equal(back, labels)
    assert classes.values[0] == 0


def test_a_label_of_no_class_is_named_with_its_slice(classes: Classes) -> None:
    labels = np.array([[0, 1], [9, 8]], np.uint8)
    with pytest.raises(UserError, match=r"Slice 5 of scan holds the label \[8, 9\], which is no"):
        classes.indices(labels, KEY)
