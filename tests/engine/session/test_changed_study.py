"""A training goes on after its study has changed, or says why it begins again."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_study import QUICK, Phantoms, make_phantoms

from napari_mlbseg.engine.events import Event, FellBack, Finished, Inbox, RunStarted
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.relabelling import relabel

SHORT = replace(QUICK, base_steps=12, steps=12, validation_share=0.0)


def trained(phantoms: Phantoms) -> tuple[int, list[Event]]:
    """Run to the end; returns at which step it went on, and all events."""
    events = list(Bootstrapper(phantoms.study, SHORT).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    [started] = [event for event in events if isinstance(event, RunStarted)]
    return started.resumed_step, events


def test_a_training_goes_on_after_cases_and_labels_and_names_have_changed(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "p.mlbseg", cases=3, rough=True)
    study = phantoms.study
    for case in study.cases:
        phantoms.accept(case.id, 4, 7)
    assert trained(phantoms)[0] == 0
    study.changes.remove(["phantom2"])
    study.changes.rename("phantom0", "baseline")
    better = nibabel.Nifti1Image(
        phantoms.truth["phantom1"].T, np.array(study.case("phantom1").geometry.affine)
    )
    nibabel.save(better, tmp_path / "better.nii.gz")
    relabel(study, tmp_path / "better.nii.gz", ["phantom1"])
    assert not study.arrays.has("phantom1", ArrayName.PREDICTION)
    step, _ = trained(phantoms)
    assert step > 0
    assert study.arrays.has("phantom1", ArrayName.PREDICTION)
    study.changes.restore("phantom2")
    again, _ = trained(phantoms)
    assert again > step


def test_a_training_with_other_classes_says_that_it_begins_again(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "p.mlbseg", rough=True)
    organ, core = phantoms.study.classes
    phantoms.accept("phantom0", 4, 7)
    trained(phantoms)
    change_classes(phantoms.study, [replace(organ, name="heart", color=(1, 2, 3)), core])
    assert trained(phantoms)[0] > 0  # called otherwise, and otherwise the same
    change_classes(
        phantoms.study, [*phantoms.study.classes[:1]], becoming={core.value: organ.value}
    )
    step, events = trained(phantoms)
    assert step == 0
    [told] = [event.message for event in events if isinstance(event, FellBack)]
    assert "starts afresh" in told
    assert "other classes" in told
    shown = phantoms.study.labels.working("phantom0")
    assert set(np.unique(shown)) <= {0, organ.value}


def test_nothing_that_a_run_uses_changes_under_it(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "p.mlbseg", rough=True)
    phantoms.accept("phantom0", 4, 7)
    events = Bootstrapper(phantoms.study, SHORT).events(Inbox())
    for event in events:
        if isinstance(event, RunStarted):
            with pytest.raises(UserError, match="A training is going on"):
                phantoms.study.changes.remove(["phantom1"])
            phantoms.study.changes.rename("phantom1", "baseline")
    assert isinstance(event, Finished)
    phantoms.study.changes.remove(["phantom1"])
