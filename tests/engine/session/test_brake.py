"""Imported labels are never made worse unseen: they stand where nobody looked, or all over."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import CoverageChanged, Event, Finished, ImportedLabelsKept, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.predictions.brake import Brake, brake_for
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.guard import Guard
from napari_mlbseg.engine.session.imported import Beside, ImportedLabels
from napari_mlbseg.engine.steps.imported_labels import (
    difference,
    largest_mending_difference,
    smallest_nonsense_difference,
    without_nonsense,
)
from napari_mlbseg.engine.steps.score import Agreement
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case
from napari_mlbseg.project.exporting.provenance import provenance_path

BROAD = (24, 40, 36)
"""So many slices that most lie beyond the clean ones."""


def everything(parameters: object, images: Tensor) -> Tensor:
    """A network that sees class 1 all over."""
    return torch.cat([0 * images[:, :1], 0 * images[:, :1] + 9, 0 * images[:, :1]], dim=1)


def publisher_of(phantoms: Phantoms) -> Publisher:
    _, source = choose_source(phantoms.study, QUICK, torch.device("cpu"))
    return Publisher(phantoms.study, source, everything, views=[VIEWS["identity"]], weigh=None)


def published(phantoms: Phantoms, case_id: str, brake: Brake) -> np.ndarray:
    case = phantoms.study.case(case_id)
    span = Span(case, case.axis, 0, case.geometry.shape[case.axis])
    publisher_of(phantoms).publish(span, parameters={}, direction=None, step=1, brake=brake)
    return np.asarray(phantoms.study.arrays.open(case_id, ArrayName.PREDICTION)[:])


def initial(phantoms: Phantoms, case_id: str) -> np.ndarray:
    return np.asarray(phantoms.study.arrays.open(case_id, ArrayName.INITIAL_LABELS)[:])


# --- where nobody looked --------------------------------------------------------------------------


def test_the_prediction_is_the_imported_label_where_nobody_looked(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", rough=True, shape=BROAD)
    phantoms.accept("phantom0", 9, 13)
    brake = brake_for(phantoms.study, keep_labels=True)
    for case_id in ("phantom0", "phantom1"):  # the fields of view are alike
        found = published(phantoms, case_id, brake)
        assert (found[9:14] == 1).all()
        assert (found[:9] == initial(phantoms, case_id)[:9]).all()
        assert (found[14:] == initial(phantoms, case_id)[14:]).all()
    assert brake.counts() == (2 * (24 - 5), 48)


def test_where_nobody_looked_only_a_prediction_that_mends_the_label_is_shown(
    tmp_path: Path,
) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", rough=True, shape=BROAD)
    phantoms.accept("phantom0", 9, 13)
    brake = brake_for(phantoms.study, keep_labels=True)
    imported = torch.from_numpy(initial(phantoms, "phantom0").astype(np.int64)).clamp(max=1)
    case = phantoms.study.case("phantom0")
    span = Span(case, case.axis, 0, 24)
    everything = torch.ones_like(imported)
    differs = difference(imported, everything)
    most = float(differs.median())
    found = replace(brake, largest_mending_difference=most).shown(
        everything, span, lambda key: imported[key.index]
    )
    seen = brake.looked_at["phantom0"]
    mended = [bool((plane == 1).all()) for plane in found]
    assert mended == [bool(seen[i] or differs[i] <= most) for i in range(24)]
    assert 5 < sum(mended) < 24
    assert not replace(brake, largest_mending_difference=most).keeps_unasked(span).any()
    worse = replace(brake, largest_mending_difference=most, everywhere=True)
    assert worse.keeps_unasked(span).all()
    assert worse.shown(everything, span, lambda key: imported[key.index]).equal(imported)


def test_without_imported_labels_the_network_speaks_everywhere(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "none.mlbseg", shape=BROAD)
    phantoms.accept("phantom0", 9, 13)
    phantoms.study.arrays.create("phantom0", ArrayName.INITIAL_LABELS)
    brake = brake_for(phantoms.study, keep_labels=True)
    assert (published(phantoms, "phantom0", brake) == 1).all()
    assert brake.counts() == (2 * (24 - 5), 48)


def test_labels_that_are_not_to_be_trusted_at_all_do_not_stand(rough_phantoms: Phantoms) -> None:
    rough_phantoms.accept("phantom0", 5)
    brake = brake_for(rough_phantoms.study, keep_labels=False)
    assert (published(rough_phantoms, "phantom0", brake) == 1).all()


def test_a_network_that_does_worse_is_shown_nowhere(rough_phantoms: Phantoms) -> None:
    rough_phantoms.accept("phantom0", *range(12))
    brake = brake_for(rough_phantoms.study, keep_labels=True)
    assert (published(rough_phantoms, "phantom0", brake) == 1).all()
    worse = replace(brake, everywhere=True)
    found = published(rough_phantoms, "phantom0", worse)
    assert (found == initial(rough_phantoms, "phantom0")).all()


def test_what_was_made_worse_before_is_put_back_without_a_network(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", rough=True, shape=BROAD)
    phantoms.accept("phantom0", 9, 13)
    study, case = phantoms.study, phantoms.study.case("phantom0")
    span = Span(case, case.axis, 4, 20)
    publisher, brake = publisher_of(phantoms), brake_for(study, keep_labels=True)
    assert publisher.put_back(span, brake=brake, step=1) is None
    study.arrays.create("phantom0", ArrayName.PREDICTION)[:] = 7
    event = publisher.put_back(span, brake=brake, step=1)
    assert event is not None
    assert event.arrays == (ArrayName.PREDICTION.value,)
    found, imported = (
        np.asarray(study.arrays.open("phantom0", ArrayName.PREDICTION)[:]),
        initial(phantoms, "phantom0"),
    )
    for index in range(24):
        stands = index in range(4, 9) or index in range(14, 20)
        assert (found[index] == (imported[index] if stands else 7)).all()


def test_a_run_leaves_imported_labels_alone_where_nobody_looked(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", rough=True, shape=BROAD)
    phantoms.accept("phantom0", 9, 11, 13)
    events = carried_out(phantoms, replace(QUICK, base_steps=3, steps=3))
    assert isinstance(events[-1], Finished), events[-1]
    for case in phantoms.study.cases:
        found = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        for index in (*range(9), *range(14, 24)):
            assert (found[index] == initial(phantoms, case.id)[index]).all()
    (path,) = export_case(
        phantoms.study, "phantom1", tmp_path / "out", ExportKind.LABELS, OutFormat.MHA
    )
    exported = read_labels(path)[0].voxels
    told = json.loads(provenance_path(path).read_text())
    shown = [i for i in (*range(9), *range(14, 24)) if initial(phantoms, "phantom1")[i].any()]
    assert (exported[shown] == initial(phantoms, "phantom1")[shown]).all()
    assert set(told["imported_labels"]["kept_slices"]) >= set(shown)
    assert told["never_looked_at"] == {"axis": 2, "slices": [*range(9), *range(14, 24)]}


# --- what does worse ------------------------------------------------------------------------------


@pytest.mark.parametrize("right_elsewhere", [True, False])
def test_labels_that_are_right_on_a_few_slices_by_chance_veto_nothing(
    rough_phantoms: Phantoms, right_elsewhere: bool
) -> None:
    with_labels(rough_phantoms, right=right_elsewhere)
    trainer = young(rough_phantoms)
    imported = ImportedLabels(trainer, frozenset(c.id for c in rough_phantoms.study.cases))
    ours, theirs = (
        Agreement(torch.tensor([0.0, d, d]), torch.tensor([0.0, 2.0, 2.0])) for d in (0.3, 1.0)
    )
    assert imported.do_better(Beside(ours, theirs, 3)) is right_elsewhere
    assert not imported.do_better(Beside(theirs, ours, 3))


def carried_out(phantoms: Phantoms, config: object) -> list[Event]:
    return list(Bootstrapper(phantoms.study, config).events(Inbox()))  # type: ignore[arg-type]


def with_labels(phantoms: Phantoms, *, right: bool) -> None:
    """Imported labels that hardly differ from the truth, or that agree with it nowhere."""
    for case in phantoms.study.cases:
        truth = phantoms.truth[case.id]
        labels = np.roll(truth, 1, axis=1) if right else np.where(truth == 1, 7, 1)
        phantoms.study.arrays.write(
            case.id, ArrayName.INITIAL_LABELS, 0, 0, labels.astype(np.uint8)
        )


def young(phantoms: Phantoms) -> Trainer:
    """A network that has hardly learnt, with three validation slices."""
    phantoms.accept("phantom0", *range(1, 11))
    trainer = Trainer(phantoms.study, replace(QUICK, validation_share=0.3))
    trainer.read_clean_slices()
    assert len(trainer.validation_slices) == 3
    return trainer


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_what_would_be_shown_is_compared_with_what_was_imported(
    rough_phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch, validation: bool, right: bool
) -> None:
    # What differs too much is not shown in any case: look at the comparison by itself.
    monkeypatch.setattr("napari_mlbseg.engine.steps.imported_labels.FEWEST_TO_TELL", 99)
    with_labels(rough_phantoms, right=right)
    trainer = young(rough_phantoms)
    if not validation:  # the training slices are asked alone
        both = {**trainer.training_slices, **trainer.validation_slices}
        trainer.source.use(replace(trainer.source.clean, training=both, validation={}))
    names = frozenset(case.id for case in rough_phantoms.study.cases)
    guard = Guard(trainer, ImportedLabels(trainer, names))
    assert guard.imported_labels_kept is right
    assert not Guard(trainer).imported_labels_kept


@pytest.mark.parametrize(("count", "kept"), [(3, True), (2, False)])
def test_a_few_validation_slices_tell_and_two_do_not(
    rough_phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch, count: int, kept: bool
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.steps.imported_labels.FEWEST_TO_TELL", 99)
    monkeypatch.setattr(ImportedLabels, "some_training_slices", lambda _: {})
    with_labels(rough_phantoms, right=True)
    trainer = young(rough_phantoms)
    few = dict(list(trainer.validation_slices.items())[:count])
    trainer.source.use(replace(trainer.source.clean, validation=few))
    names = frozenset(case.id for case in rough_phantoms.study.cases)
    assert Guard(trainer, ImportedLabels(trainer, names)).imported_labels_kept is kept


@pytest.mark.parametrize("validation_share", [0.3, 0.0])
def test_a_run_shows_imported_labels_while_its_network_does_worse(
    rough_phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch, validation_share: float
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.steps.imported_labels.FEWEST_TO_TELL", 99)
    with_labels(rough_phantoms, right=True)
    rough_phantoms.accept("phantom0", *range(1, 11))
    config = replace(QUICK, base_steps=2, steps=4, validation_share=validation_share)
    events = carried_out(rough_phantoms, config)
    assert isinstance(events[-1], Finished), events[-1]
    assert [e.kept for e in events if isinstance(e, ImportedLabelsKept)] == [True]
    for case in rough_phantoms.study.cases:
        found = np.asarray(rough_phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        assert (found == initial(rough_phantoms, case.id)).all()


def test_a_run_shows_a_network_that_does_better(rough_phantoms: Phantoms) -> None:
    with_labels(rough_phantoms, right=False)
    rough_phantoms.accept("phantom0", *range(1, 11))
    events = carried_out(rough_phantoms, replace(QUICK, steps=4))
    assert isinstance(events[-1], Finished), events[-1]
    assert not any(isinstance(e, ImportedLabelsKept) for e in events)
    found = np.asarray(rough_phantoms.study.arrays.open("phantom0", ArrayName.PREDICTION)[1:11])
    assert (found != initial(rough_phantoms, "phantom0")[1:11]).any(axis=(1, 2)).all()


# --- nonsense -------------------------------------------------------------------------------------


def disc(radius: float) -> Tensor:
    y, x = np.mgrid[-20:20, -20:20]
    return torch.from_numpy((np.hypot(y, x) < radius).astype(np.int64))


def test_labels_tell_nothing_about_others_until_a_few_are_known() -> None:
    assert smallest_nonsense_difference([0.1] * 3) == float("inf")
    assert smallest_nonsense_difference([0.1, 0.2, 0.05, 0.1]) == pytest.approx(0.4)


def test_a_label_is_mended_as_far_as_labels_are_wrong_where_the_truth_is_known() -> None:
    assert largest_mending_difference([0.1] * 3) == 0  # too few
    assert largest_mending_difference([0.1, 0.2, 0.05, 0.1]) == 0.2
    assert largest_mending_difference([0.1, 0.2, 0.05, 0.6]) == 0  # others may be all wrong, too


@pytest.mark.parametrize("radius", range(0, 19, 2))
def test_what_is_taken_for_nonsense_is_further_from_the_truth_than_the_label(radius: int) -> None:
    truth, label, predicted = disc(12), disc(14), disc(radius)
    smallest = smallest_nonsense_difference([float(difference(label, truth))] * 4)
    found = without_nonsense(predicted, label, smallest)
    if found.equal(label):
        assert float(difference(predicted, truth)) >= float(difference(label, truth))
    else:
        assert found.equal(predicted)
    assert without_nonsense(disc(0), label, smallest).equal(label)
    assert without_nonsense(truth, label, smallest).equal(truth)


def test_a_slice_that_the_label_leaves_empty_is_not_filled_unless_one_was_wrong_to_be() -> None:
    empty, full = disc(0), disc(12)
    grown, missing = ([float(difference(disc(r), full))] * 4 for r in (14, 0))
    assert without_nonsense(full, empty, smallest_nonsense_difference(grown)).equal(empty)
    assert without_nonsense(full, empty, smallest_nonsense_difference(missing)).equal(full)


def test_no_prediction_of_a_run_is_nonsense(
    rough_phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImportedLabels, "do_better", lambda *_: False)
    study, clean = rough_phantoms.study, range(1, 11)
    with_labels(rough_phantoms, right=True)
    rough_phantoms.accept("phantom0", *clean)
    events = carried_out(rough_phantoms, replace(QUICK, base_steps=2, steps=2))
    assert isinstance(events[-1], Finished), events[-1]

    def furthest(case_id: str, truth: np.ndarray) -> float:
        labels = initial(rough_phantoms, case_id)
        return max(
            float(difference(torch.from_numpy(labels[i]).long(), torch.from_numpy(truth[i]).long()))
            for i in clean
        )

    most = 2 * furthest("phantom0", study.labels.working("phantom0"))
    for case in study.cases:
        found = np.asarray(study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        assert furthest(case.id, found) <= most + 1e-6


# --- said -----------------------------------------------------------------------------------------


def test_a_run_says_how_many_slices_have_no_clean_slice_near_them(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "none.mlbseg", shape=BROAD)
    phantoms.accept("phantom0", *range(8, 16))
    events = carried_out(phantoms, replace(QUICK, base_steps=2, steps=1))
    (covered,) = (e for e in events if isinstance(e, CoverageChanged))
    assert (covered.never_looked_at, covered.slices) == (2 * (24 - 8), 48)
