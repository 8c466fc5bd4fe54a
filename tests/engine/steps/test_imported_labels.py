"""Imported labels that are right as a whole are kept."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from small_study import QUICK, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.predictions.brake import Brake
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.steps.imported_labels import (
    SOFTENING,
    disagreement,
    largest_right_disagreement,
    mostly_right,
    with_right_labels,
)
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName

SIDE = 64


def square(size: int, *, at: int = 8, label: int = 1) -> Tensor:
    plane = torch.zeros(SIDE, SIDE, dtype=torch.long)
    plane[at : at + size, at : at + size] = label
    return plane


def test_disagreement_is_what_is_missing_to_dice() -> None:
    ours, theirs = square(30), square(30, at=14)
    dice: Any = DiceMetric(include_background=True)(theirs[None, None], ours[None, None])
    softened = (1 - float(dice)) * 1800 / (1800 + SOFTENING * SIDE**2)
    assert float(disagreement(ours, theirs)) == pytest.approx(softened)
    assert float(disagreement(ours, ours)) == 0


def test_a_label_of_another_class_disagrees() -> None:
    softened = 900 / (1800 + SOFTENING * SIDE**2)
    assert float(disagreement(square(30), square(30, label=2))) == pytest.approx(softened)


def test_planes_are_judged_one_by_one_and_empty_ones_not_at_all() -> None:
    labels = torch.stack([square(30), square(0), square(30), square(0)])[None]
    others = torch.stack([square(30), square(30), square(0), square(0)])[None]
    found = disagreement(labels, others)
    assert found.shape == (1, 4)
    assert found.isnan().tolist() == [[False, True, False, True]]
    assert float(found[0, 0]) == 0
    assert float(found[0, 2]) > 0.9


def test_pixels_to_be_ignored_do_not_disagree() -> None:
    ours, theirs = square(30), square(30)
    ours[10, :] = IGNORE
    theirs[:, 12] = 2
    theirs[:, 12][ours[:, 12] == 1] = IGNORE
    theirs[:, 12][ours[:, 12] == 0] = IGNORE
    assert float(disagreement(ours, theirs)) == 0


def test_right_labels_do_not_tell_what_a_wrong_one_is_like() -> None:
    assert largest_right_disagreement([]) == pytest.approx(0.25)
    assert largest_right_disagreement([0.0] * 30) == pytest.approx(0.25)
    few, many = ([0.6, 0.4, *[0.0] * count] for count in (3, 30))
    assert largest_right_disagreement(few) == pytest.approx(largest_right_disagreement(many))
    assert largest_right_disagreement([*few, math.nan]) == largest_right_disagreement(few)
    assert largest_right_disagreement([*[0.4] * 1000, *[0.0] * 1000]) == pytest.approx(
        0.2, rel=1e-2
    )
    assert largest_right_disagreement([*[0.1] * 1000, *[0.0] * 1000]) == pytest.approx(
        0.05, rel=2e-2
    )


def test_where_no_label_is_right_hardly_any_is_taken() -> None:
    wrong = np.random.default_rng(0).uniform(0.2, 0.6, 16).tolist()
    limits = [largest_right_disagreement(wrong[:count]) for count in (1, 4, 16)]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] < 0.04
    half = largest_right_disagreement([*wrong, *[0.0] * 16])
    assert largest_right_disagreement([*wrong, *[0.0] * 4]) == pytest.approx(half * 2 * 5 / 22)


def test_where_many_labels_were_accepted_as_they_are_wrong_ones_are_exceptions() -> None:
    assert mostly_right([0.0] * 10 + [0.6] * 6)
    assert mostly_right([0.01] * 6 + [0.5] * 10)
    assert not mostly_right([0.06] * 16)  # all shifted a little
    assert not mostly_right([0.2] * 12)
    assert not mostly_right([0.2] * 12 + [0.0] * 2)
    assert not mostly_right([0.9] * 12 + [math.nan] * 12)  # empty ones are not judged


def test_a_right_label_is_taken_whole_and_a_wrong_one_not_at_all() -> None:
    right, wrong, predicted = square(30), square(12), square(30, at=9)
    labels = torch.stack([right, wrong])
    labels[0, 0, 0] = IGNORE
    found = with_right_labels(torch.stack([predicted] * 2), labels, 0.25)
    expected = right.clone()
    expected[0, 0] = predicted[0, 0]
    assert found[0].equal(expected)
    assert found[1].equal(predicted)


def constant(parameters: object, images: Tensor) -> Tensor:
    """A network that sees class 1 all over."""
    return torch.cat([0 * images[:, :1], 0 * images[:, :1] + 9, 0 * images[:, :1]], dim=1)


@pytest.mark.parametrize("largest", [0.5, None])
def test_a_right_imported_label_is_published_as_it_came(
    tmp_path: Path, largest: float | None
) -> None:
    study = make_phantoms(tmp_path / "rough.mlbseg", cases=1, rough=True).study
    case = study.cases[0]
    everywhere = study.arrays.read(case.id, ArrayName.INITIAL_LABELS, case.axis, 0) * 0 + 1
    nearly, wrong = everywhere.copy(), everywhere * 0
    nearly[:3] = 0
    wrong[:2] = 1
    for index, labels in ((5, nearly), (6, wrong)):
        study.arrays.write(case.id, ArrayName.INITIAL_LABELS, case.axis, index, labels[None])
    _, source = choose_source(study, QUICK, torch.device("cpu"))
    publisher = Publisher(study, source, constant, views=[VIEWS["identity"]], weigh=None)
    brake = Brake(largest_right_disagreement=largest)
    span = Span(case, case.axis, 5, 7)
    publisher.publish(span, parameters={}, direction=None, step=1, brake=brake)
    found = [study.arrays.read(case.id, ArrayName.PREDICTION, case.axis, i) for i in (5, 6)]
    assert (found[0] == (nearly if largest else everywhere)).all()
    assert (found[1] == everywhere).all()


def test_the_clean_slices_tell_how_wrong_wrong_labels_are(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", cases=2, rough=True)
    study = phantoms.study
    phantoms.accept("phantom0", 3, 5, 8)
    trainer = Trainer(study, QUICK)
    trainer.read_clean_slices()
    errors = []
    for key in study.slices.clean():
        rough = study.arrays.read(key.case_id, ArrayName.INITIAL_LABELS, key.axis, key.index)
        both = (torch.from_numpy(mask.astype(int)) for mask in (rough, study.slices.mask(key)))
        errors.append(float(disagreement(*both)))
    assert trainer.largest_right_disagreement == pytest.approx(largest_right_disagreement(errors))
    assert trainer.largest_right_disagreement != pytest.approx(largest_right_disagreement([]))
    uniform = Trainer(study, QUICK.from_dict(QUICK.to_dict() | {"weights": "uniform"}))
    uniform.read_clean_slices()
    assert uniform.largest_right_disagreement is None
