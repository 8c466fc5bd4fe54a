"""What version 0.1 wrote and was told is understood."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, make_phantoms

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Finished, Inbox, RunStarted
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training.checkpoint import load
from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import FORMER, with_former_names, with_new_names
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A study with proposed labels where version 0.1 kept them."""
    with make_phantoms(tmp_path / "old.mlbseg").study as study:
        case = study.cases[0]
        study.arrays.create(case.id, ArrayName.PROPOSED_LABELS)
        block = np.ones((1, *case.geometry.shape[1:]), np.uint8)
        study.arrays.write(case.id, ArrayName.PROPOSED_LABELS, 0, 3, block)
        arrays = study.path / "arrays" / case.id
    (arrays / "proposed_labels.zarr").rename(arrays / "votes.zarr")
    return study.path


@pytest.mark.parametrize("writable", [False, True])
def test_proposed_labels_of_before_are_there(old: Path, writable: bool) -> None:
    with Study.open(old, writable=writable) as study:
        case_id = study.cases[0].id
        assert study.arrays.has(case_id, ArrayName.PROPOSED_LABELS)
        labels = np.asarray(study.arrays.open(case_id, ArrayName.PROPOSED_LABELS)[:])
        assert (labels[3] == 1).all()
        assert labels.sum() == labels[3].size
        names = {path.name for path in (old / "arrays" / case_id).iterdir()}
    assert ("proposed_labels.zarr" in names) is writable
    assert ("votes.zarr" in names) is not writable


def test_a_run_goes_on_from_a_checkpoint_of_before(tmp_path: Path) -> None:
    phantoms: Phantoms = make_phantoms(tmp_path / "old.mlbseg")
    phantoms.accept("phantom0", *range(1, 11))
    config = replace(QUICK, base_steps=2, steps=1, validation_share=0.3)
    list(Bootstrapper(phantoms.study, config).events(Inbox()))
    path = phantoms.study.checkpoint_path
    content = dict(load(path).content)
    before = {FORMER.get(name, name): value for name, value in content.items()}
    assert {"held_back", "taught"} <= set(before)
    assert before["held_back"]
    torch.save(before, path)
    assert load(path).content["validation"] == content["validation"]
    events = list(Bootstrapper(phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    (started,) = (e for e in events if isinstance(e, RunStarted))
    assert started.resumed_step == content["total"]


def test_scores_of_before_are_read(tmp_path: Path) -> None:
    with make_phantoms(tmp_path / "old.mlbseg").study as study:
        run = study.runs.start({"held_back_share": 0.2}, seed=0, device="cpu")
        study.runs.log(run, 5, {"held-back dice": 0.7})
        study.runs.log(run, 9, {"validation dice": 0.8})
        assert study.runs.metrics(run, "validation dice") == [(5, 0.7), (9, 0.8)]
        assert Config.from_dict(study.runs.all()[-1].config).validation_share == 0.2


def test_settings_of_before_are_taken_and_unknown_ones_refused() -> None:
    assert Config.from_dict({"held_back_share": 0.0}) == Config(validation_share=0.0)
    with pytest.raises(UserError, match="Unknown settings: held_back"):
        Config.from_dict({"held_backs": 1})


def test_former_names_lead_there_and_back() -> None:
    document = {name: number for number, name in enumerate(FORMER)}
    both = with_former_names(document)
    assert len(both) == 2 * len(document)
    for name, former in FORMER.items():
        assert both[former] == both[name]
    assert with_new_names({FORMER[name]: value for name, value in document.items()}) == document
