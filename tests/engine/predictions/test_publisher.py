"""How often the network looks at what it publishes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.nets.views import averaged_views
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study


@pytest.mark.parametrize(
    ("dimensions", "identity_view_only", "passes"),
    [("2d", False, 3), ("2d", True, 3), ("3d", False, 3), ("3d", True, 1)],
)
def test_only_a_hasty_look_at_a_volume_is_not_averaged_over_views(
    tmp_path: Path, dimensions: str, identity_view_only: bool, passes: int
) -> None:
    seen: list[Tensor] = []

    def model(parameters: object, images: Tensor) -> Tensor:
        seen.append(images)
        return torch.cat([images[:, :1], -images[:, :1], images[:, :1]], dim=1)

    shape, spacing_mm = (16, 34, 32), (1.0, 1.0, 1.0)
    path = tmp_path / "solid.mlbseg"
    study = make_phantoms(path, cases=1, rough=True, shape=shape, spacing_mm=spacing_mm).study
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": dimensions})
    _, source = choose_source(study, config, torch.device("cpu"))
    publisher = Publisher(study, source, model, views=averaged_views(config.views), weigh=None)
    case = study.cases[0]
    span = Span(case, case.axis, 5, 7)
    publisher.publish(
        span, parameters={}, direction=None, step=1, identity_view_only=identity_view_only
    )
    assert len(seen) == passes


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_equal_weights_are_equal_up_to_the_edge(tmp_path: Path, dimensions: str) -> None:
    def model(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        return parameters["bias"] + 0 * images[:, :1].expand(-1, 3, *images.shape[2:])

    shape, spacing_mm = (16, 68, 60), (1.0, 1.0, 1.0)  # finer than the grid
    path = tmp_path / "solid.mlbseg"
    study = make_phantoms(path, cases=1, rough=True, shape=shape, spacing_mm=spacing_mm).study
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": dimensions})
    _, source = choose_source(study, config, torch.device("cpu"))
    views = averaged_views(config.views)
    publisher = Publisher(study, source, model, views=views, weigh=lambda z, s: torch.ones_like(z))
    case, bias = study.cases[0], {"bias": torch.zeros(1)}
    publisher.publish(Span(case, case.axis, 0, 16), parameters=bias, direction=bias, step=1)
    for name in (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO):
        weights = np.asarray(study.arrays.open(case.id, name)[:], dtype=float)
        np.testing.assert_allclose(weights, 1.0, atol=2e-3)


def stripes(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """A network that calls everything the first class."""
    return torch.stack([images[:, 0] * 0 + n for n in (0, 1, 0)], dim=1) + 0 * parameters["bias"]


def publisher_of(study: Study, *, weigh: bool = False) -> Publisher:
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": "2d"})
    _, source = choose_source(study, config, torch.device("cpu"))
    scores = (lambda z, s: torch.ones_like(z)) if weigh else None
    return Publisher(study, source, stripes, views=averaged_views(config.views), weigh=scores)


BIAS = {"bias": torch.zeros(1)}


def test_a_prediction_begins_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1, rough=True).study
    case, read = study.cases[0], study.arrays.read
    initial = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])

    def fails_in_the_middle(case_id: str, name: ArrayName, axis: int, index: int) -> object:
        if index == 9:
            raise OSError("the disk is full")
        return read(case_id, name, axis, index)

    span = Span(case, case.axis, 2, 4)
    with monkeypatch.context() as broken:
        broken.setattr(study.arrays, "read", fails_in_the_middle)
        with pytest.raises(OSError, match="full"):
            publisher_of(study).publish(span, parameters=BIAS, direction=None, step=1)
    assert not study.arrays.has(case.id, ArrayName.PREDICTION)
    np.testing.assert_array_equal(study.labels.machine(case.id), initial)
    publisher_of(study).publish(span, parameters=BIAS, direction=None, step=1)
    prediction = study.labels.machine(case.id)
    assert (prediction[2:4] == 1).all()
    np.testing.assert_array_equal(np.delete(prediction, [2, 3], 0), np.delete(initial, [2, 3], 0))


def test_slices_that_were_not_weighed_yet_vote_for_nothing_and_have_no_weights(
    tmp_path: Path,
) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1, rough=True).study
    case = study.cases[0]
    span = Span(case, case.axis, 2, 4)
    publisher_of(study, weigh=True).publish(span, parameters=BIAS, direction=BIAS, step=1)
    votes = np.asarray(study.arrays.open(case.id, ArrayName.PROPOSED_LABELS)[:])
    prediction = np.asarray(study.arrays.open(case.id, ArrayName.PREDICTION)[:])
    np.testing.assert_array_equal(np.delete(votes, [2, 3], 0), np.delete(prediction, [2, 3], 0))
    for name in (ArrayName.TRUST, ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO):
        known = np.isfinite(np.asarray(study.arrays.open(case.id, name)[:])).all(axis=(1, 2))
        assert np.flatnonzero(known).tolist() == [2, 3]


def test_a_case_is_labelled_as_a_whole(tmp_path: Path) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1).study
    case, arrays = study.cases[0], (ArrayName.INITIAL_LABELS, ArrayName.PREDICTION)
    publisher = publisher_of(study)
    *first, last = Span(case, case.axis, 0, 12).parts(3)
    for span in first:
        event = publisher.label(span, parameters=BIAS, step=1, arrays=arrays)
        assert event.arrays == ()
        assert not any(study.arrays.has(case.id, name) for name in arrays)
    event = publisher.label(last, parameters=BIAS, step=1, arrays=arrays)
    assert (event.arrays, event.start, event.stop) == (tuple(map(str, arrays)), 0, 12)
    for name in arrays:
        assert (np.asarray(study.arrays.open(case.id, name)[:]) == 1).all()


def test_a_case_that_was_given_up_leaves_nothing_in_the_next_one(tmp_path: Path) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg").study
    publisher, arrays = publisher_of(study), [ArrayName.INITIAL_LABELS]
    first, second = study.cases
    for start, stop in ((0, 5), (5, 7)):
        publisher.label(Span(first, 0, start, stop), parameters=BIAS, step=1, arrays=arrays)
    publisher.label(Span(second, 0, 0, 12), parameters=BIAS, step=2, arrays=arrays)
    labels = np.asarray(study.arrays.open(second.id, ArrayName.INITIAL_LABELS)[:])
    assert (labels == 1).all()
    assert not study.arrays.has(first.id, ArrayName.INITIAL_LABELS)


@pytest.mark.parametrize(("quick", "passes"), [(True, 1), (False, 3)])
def test_a_quick_labelling_looks_once(tmp_path: Path, quick: bool, passes: int) -> None:
    seen: list[Tensor] = []

    def model(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        seen.append(images)
        return stripes(parameters, images)

    study = make_phantoms(tmp_path / "s.mlbseg", cases=1).study
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": "2d"})
    _, source = choose_source(study, config, torch.device("cpu"))
    publisher = Publisher(study, source, model, views=averaged_views(config.views), weigh=None)
    case, arrays = study.cases[0], [ArrayName.INITIAL_LABELS]
    span = Span(case, case.axis, 0, 12)
    publisher.label(span, parameters=BIAS, step=1, arrays=arrays, quick=quick)
    assert len(seen) == passes


def test_a_publisher_keeps_to_the_axis_that_it_began_with(tmp_path: Path) -> None:
    shape = (12, 12, 12)
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1, rough=True, shape=shape).study
    case = study.cases[0]
    initial = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
    publisher = publisher_of(study)
    study.set_axis(case.id, 2)
    publisher.publish(Span(case, 0, 2, 4), parameters=BIAS, direction=None, step=1)
    prediction = study.labels.machine(case.id)
    np.testing.assert_array_equal(np.delete(prediction, [2, 3], 0), np.delete(initial, [2, 3], 0))
