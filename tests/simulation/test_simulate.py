"""The simulated annotator on tiny phantoms, with runs of two or three steps."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_study import QUICK, Phantoms

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.tidied import exported_labels
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, take
from napari_mlbseg.simulation.methods import METHODS
from napari_mlbseg.simulation.policies import Policy, proposals
from napari_mlbseg.simulation.records import Record, read_records, summarise, write_records
from napari_mlbseg.simulation.simulate import Plan, Simulation

KEYS = {"method", "policy", "seed", "budget", "where", "class", "dice", "surface_dice_1mm"}
KEYS |= {"hd95_mm", "assd_mm", "empty", "steps", "seconds", "device"}
PLAN = Plan(
    budgets=(3, 4),
    policies=(Policy.SUGGESTED,),
    methods=("mlbseg",),
    seeds=(0,),
    holdout=("phantom2",),
    config=replace(QUICK, base_steps=2, steps=1, slice_size=32),
)


def simulation(cohort: Phantoms, truth: Path, folder: Path, plan: Plan) -> Simulation:
    return Simulation(cohort.study, truth, plan, folder=folder, watch=list)


def hashes(folder: Path) -> dict[str, str]:
    # Not SQLite's index of readers, which is no content.
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-shm"))
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_suggested_slices_are_corrected_trained_on_and_measured(
    cohort: Phantoms, truth_folder: Path, tmp_path: Path
) -> None:
    cohort.accept("phantom0", 5)  # a person's work, which the simulation must not see or change
    before = hashes(cohort.study.path)
    made = simulation(cohort, truth_folder, tmp_path / "work", PLAN)
    records = [record for found in made.records() for record in found]
    assert hashes(cohort.study.path) == before
    assert all(set(r.to_dict()) >= KEYS for r in records)
    assert {(r.budget, r.where, r.class_name) for r in records} == {
        (b, w, c) for b in (3, 4) for w in ("exported", "held_out") for c in ("organ", "core")
    }
    assert {r.steps for r in records} == {3}
    drawn = {r.budget: (r.contour_mm or 0, r.clicks) for r in records}
    assert 0 < drawn[3][0] <= drawn[4][0]  # the fourth may show nothing to draw
    assert [clicks for _, clicks in drawn.values()] == [3, 4]
    (last,) = (tmp_path / "work" / "runs").rglob("3-4.mlbseg")
    with Study.open(last, writable=False) as study:
        clean = study.slices.clean()
        assert len(clean) == 4
        assert {key.case_id for key in clean} <= {"phantom0", "phantom1"}
        for key in clean:
            assert np.array_equal(study.slices.mask(key), cohort.truth[key.case_id][key.index])
        exported = next(r for r in records if r.budget == 4 and r.class_name == "organ")
        dice = [cohort.dice(c.id, study.labels.working(c.id)) for c in study.cases]
        assert exported.dice == pytest.approx(np.mean(dice), abs=1e-4)
    # Another time nothing is left to do; without one record it is made again, and the same.
    done = frozenset(r.job for r in records)
    assert list(made.records(done)) == []
    (again,) = made.records(done - {records[-1].job})
    assert [r.dice for r in again] == [r.dice for r in records if r.budget == 4]


def test_what_is_measured_is_as_tidy_as_what_is_exported(
    cohort: Phantoms, truth_folder: Path, tmp_path: Path
) -> None:
    study, work = cohort.study, tmp_path / "work"
    organ, core = study.classes
    study.set_classes([replace(organ, most_pieces=1, no_holes=True), core])
    for case in study.cases:
        study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:, :3, :3] = 1
    plan = replace(PLAN, budgets=(3,))
    made = simulation(cohort, truth_folder, work, plan)
    records = [record for found in made.records() for record in found]
    measured = next(r for r in records if r.where == "exported" and r.class_name == "organ")
    (last,) = (work / "runs").rglob("3.mlbseg")
    with Study.open(last, writable=False) as copy:
        assert copy.classes == study.classes
        exported = [cohort.dice(c.id, exported_labels(copy, c)) for c in copy.cases]
        shown = [cohort.dice(c.id, copy.labels.working(c.id)) for c in copy.cases]
    assert {r.class_name: r.components_filtered for r in records} == {"organ": True, "core": False}
    assert measured.dice == pytest.approx(np.mean(exported), abs=1e-4)
    assert measured.dice != pytest.approx(np.mean(shown), abs=1e-4)
    study.set_classes([organ, core])
    with pytest.raises(UserError, match="another study or other cases"):
        simulation(cohort, truth_folder, work, plan)


def test_methods_share_slices_and_base_model(
    cohort: Phantoms, truth_folder: Path, tmp_path: Path
) -> None:
    methods = ("supervised", "initial", "copy-paste", "mean-teacher")
    plan = replace(PLAN, budgets=(3,), policies=(Policy.EVEN,), methods=methods, holdout=())
    made = simulation(cohort, truth_folder, tmp_path / "work", plan)
    records = [record for found in made.records() for record in found]
    assert {r.method for r in records} == set(methods)
    assert {r.where for r in records} == {"exported"}
    assert len(list((tmp_path / "work" / "base").iterdir())) == 1
    picks = [json.loads(path.read_text()) for path in (tmp_path / "work" / "runs").rglob("3.json")]
    assert len(picks) == len(methods)
    assert all(p == picks[0] for p in picks)
    other = replace(plan, holdout=("phantom0",))
    with pytest.raises(UserError, match="another study or other cases"):
        simulation(cohort, truth_folder, tmp_path / "work", other)


def test_every_method_has_the_same_steps_and_views_of_a_prediction() -> None:
    config = PLAN.config
    for method in METHODS.values():
        ours = method.config(config)
        assert ours.base_steps + ours.steps == config.base_steps + config.steps
        assert ours.views == config.views


@pytest.mark.parametrize("policy", [Policy.EVEN, Policy.RANDOM])
def test_policies_go_on_where_they_were(cohort: Phantoms, policy: Policy) -> None:
    cases = cohort.study.cases

    def order(clean: list[SliceKey], seed: int) -> list[SliceKey]:
        return proposals(policy, cases, clean=clean, count=3, seed=seed, trained=None)

    everything = order([], 0)
    assert len(set(everything)) == len(everything) == 36
    assert order(everything[:5], 0) == everything[5:]
    assert order([], 1) != everything


def test_every_class_is_shown_before_training(cohort: Phantoms, truth_folder: Path) -> None:
    truth = Truth(truth_folder, cohort.study)
    ends = [SliceKey("phantom0", 0, 0), SliceKey("phantom1", 0, 0), SliceKey("phantom2", 0, 0)]
    middle = SliceKey("phantom0", 0, 6)
    both = frozenset({1, 7})
    found = take([*ends, middle], 2, truth=truth, missing=both)
    assert found == [middle, ends[0]]
    found = take([*ends, middle], 4, truth=truth, missing=both)
    assert found == [ends[0], ends[1], middle, ends[2]]
    with pytest.raises(UserError, match="show every class"):
        take(ends, 2, truth=truth, missing=both)
    assert take(ends, 2, truth=truth, missing=frozenset()) == ends[:2]


def test_truth_must_be_there_for_every_case(cohort: Phantoms, truth_folder: Path) -> None:
    (truth_folder / "phantom1.nii.gz").unlink()
    with pytest.raises(UserError, match="no true labels for phantom1"):
        Truth(truth_folder, cohort.study)


def test_records_survive_the_file(tmp_path: Path) -> None:
    record = Record("m", "even", 0, 4, "exported", "organ", 0.5, 0.4, 3.0, 1.0, 1, 9, 2.5, "cpu")
    other = replace(record, seed=1, dice=0.7, empty=2)
    path = tmp_path / "new" / "records.json"
    assert read_records(path) == []
    write_records(path, [record, other])
    assert read_records(path) == [record, other]
    (row,) = summarise([record, other])
    assert row["dice"] == (pytest.approx(0.6), pytest.approx(np.std([0.5, 0.7], ddof=1)))
    assert (row["empty"], row["seeds"], row["class"]) == (3, 2, "organ")
    path.write_text('{"not": "records"}')
    with pytest.raises(UserError, match="does not hold records"):
        read_records(path)


@pytest.mark.parametrize("budgets", [(), (4, 2), (0, 3)])
def test_budgets_grow(budgets: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="write increasing numbers"):
        replace(PLAN, budgets=budgets)
