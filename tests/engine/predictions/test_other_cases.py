"""Cases outside a study, predicted by its network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_study import QUICK, Phantoms, make_phantoms

from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.other_cases import predict_other_cases
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass


def test_same_cases_elsewhere_get_the_same_prediction(phantoms: Phantoms, tmp_path: Path) -> None:
    config = replace(QUICK, base_steps=6, steps=2)
    others = make_phantoms(tmp_path / "others.mlbseg").study
    phantoms.accept("phantom0", 4, 6)
    with pytest.raises(UserError, match="no trained network yet"):
        list(predict_other_cases(phantoms.study, others))
    events = list(Bootstrapper(phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished)
    progress = list(predict_other_cases(phantoms.study, others))
    assert progress[-1] == (24, 24)
    for case in others.cases:
        ours = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        theirs = others.arrays.open(case.id, ArrayName.PREDICTION)[:]
        assert np.mean(np.asarray(ours) == np.asarray(theirs)) > 0.999


def test_cases_with_other_classes_are_refused(phantoms: Phantoms, tmp_path: Path) -> None:
    phantoms.accept("phantom0", 4, 6)
    list(Bootstrapper(phantoms.study, replace(QUICK, base_steps=1, steps=0)).events(Inbox()))
    others = make_phantoms(tmp_path / "others.mlbseg").study
    others.set_classes([*others.classes, LabelClass(9, "vessel", (0, 255, 0))])
    with pytest.raises(UserError, match="trained for the classes 1, 7, but the study has 1, 7, 9"):
        list(predict_other_cases(phantoms.study, others))
