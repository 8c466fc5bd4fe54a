"""A training that begins with the model of another study, or with an exported bundle."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, make_phantoms
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.grid import SampleShape
from napari_mlbseg.engine.deploy.export import export_model
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.deploy.trained import read_trained
from napari_mlbseg.engine.events import (
    EarlierModelChosen,
    Event,
    Failed,
    Finished,
    Inbox,
    RunStarted,
    Stage,
    StageStarted,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.other_cases import predict_other_cases
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.earlier_model import EarlierModel, read_earlier_model
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study

SHORT = replace(QUICK, base_steps=4, steps=3, dimensions="2d")
SIZES = {2: (32, 32), 3: (16, 32, 32)}


def design(
    images: int = 1, *, labels: int = 0, classes: int = 3, dims: int = 2, name: str = "unet"
) -> NetworkDesign:
    sample = SampleShape(images + labels, SIZES[dims], (1.0,) * dims, labels)
    return NetworkDesign(name, False, tuple(range(classes)), sample)


def earlier(of: NetworkDesign, *names: str) -> EarlierModel:
    torch.manual_seed(1)
    return EarlierModel(Path("earlier.mlbseg"), of, ("", *names), of.build().eval())


def begun(model: EarlierModel, wanted: NetworkDesign, *names: str) -> tuple[nn.Module, nn.Module]:
    """A network that begins with the earlier one, and the fresh one in its place."""
    torch.manual_seed(2)
    fresh, network = wanted.build().eval(), wanted.build().eval()
    network.load_state_dict(model.parameters_for(fresh, wanted, ("", *names)))
    return network, fresh


def images(channels: int, dims: int = 2) -> Tensor:
    return torch.randn(2, channels, *SIZES[dims], generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("name", "dims"), [("unet", 2), ("unet", 3), ("unet++", 2)])
def test_a_network_of_the_same_design_says_the_same(name: str, dims: int) -> None:
    like = design(name=name, dims=dims)
    model = earlier(like, "organ", "core")
    network, _ = begun(model, like, "Organ", "core ")
    shown = images(1, dims)
    with torch.no_grad():
        torch.testing.assert_close(network(shown), model.network(shown))


def test_classes_are_matched_by_name() -> None:
    model = earlier(design(classes=4), "organ", "core", "rim")
    network, fresh = begun(model, design(classes=4), "core", "new", "organ")
    shown = images(1)
    with torch.no_grad():
        said, theirs = network(shown), model.network(shown)
    torch.testing.assert_close(said[:, [0, 1, 3]], theirs[:, [0, 2, 1]])
    heads = [dict(one.named_parameters())["1.2.weight"] for one in (network, fresh)]
    torch.testing.assert_close(heads[0][2], heads[1][2])
    assert model.knows(("", "core", "ORGAN"))
    assert not model.knows(("", "core", "new"))


def test_a_slice_is_seen_whatever_its_neighbours_are() -> None:
    model = earlier(design(1), "organ", "core")
    network, _ = begun(model, design(3), "organ", "core")
    shown = images(3)
    with torch.no_grad():
        torch.testing.assert_close(network(shown), model.network(shown[:, 1:2]))


def test_neighbours_that_are_gone_are_replaced_by_the_slice() -> None:
    model = earlier(design(3), "organ", "core")
    network, _ = begun(model, design(1), "organ", "core")
    shown = images(1)
    with torch.no_grad():
        torch.testing.assert_close(
            network(shown), model.network(shown.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
        )


def test_imported_labels_of_known_classes_are_seen_as_before() -> None:
    model = earlier(design(1, labels=2), "organ", "core")
    network, _ = begun(model, design(1, labels=2), "core", "organ")
    shown = images(3)
    with torch.no_grad():
        torch.testing.assert_close(network(shown)[:, [0, 2, 1]], model.network(shown[:, [0, 2, 1]]))


def test_imported_labels_that_were_never_seen_begin_without_a_say() -> None:
    model = earlier(design(1), "organ", "core")
    network, _ = begun(model, design(1, labels=2), "organ", "core")
    shown = images(3)
    with torch.no_grad():
        torch.testing.assert_close(network(shown), model.network(shown[:, :1]))


def test_imported_labels_that_there_are_none_of_are_forgotten() -> None:
    model = earlier(design(1, labels=2), "organ", "core")
    network, _ = begun(model, design(1), "organ", "core")
    shown = images(1)
    blind = torch.cat([shown, torch.zeros(2, 2, *SIZES[2])], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(network(shown), model.network(blind))


def test_what_is_taken_over_is_told() -> None:
    model = earlier(design(1), "organ", "core")
    same = model.told(design(1), ("", "core", "organ"))
    assert same == "The training begins with the model of earlier.mlbseg."
    assert "does not know 'rim'" in model.told(design(1), ("", "organ", "rim"))
    assert "none of the classes" in model.told(design(1), ("", "a", "b"))
    assert "It saw a slice at once; here the network sees 3 slices." in model.told(
        design(3), ("", "organ", "core")
    )
    assert "saw no imported labels" in model.told(design(1, labels=2), ("", "organ", "core"))
    coarse = replace(design(1), sample=SampleShape(1, (32, 32), (2.0, 2.0)))
    told = model.told(coarse, ("", "organ", "core"))
    assert "pixels of 1.00 mm; this study has 2.00 mm" in told


# --- read from a study or a bundle ----------------------------------------------------------------


def trained(path: Path, config: Config = SHORT) -> Phantoms:
    phantoms = make_phantoms(path)
    phantoms.accept("phantom0", 3, 5, 8)
    assert isinstance(carried_out(phantoms, config)[-1], Finished)
    return phantoms


def carried_out(phantoms: Phantoms, config: Config) -> list[Event]:
    return list(Bootstrapper(phantoms.study, config).events(Inbox()))


def stages(events: Sequence[Event]) -> list[Stage]:
    return [event.stage for event in events if isinstance(event, StageStarted)]


def chosen(events: Sequence[Event]) -> EarlierModelChosen:
    (event,) = (one for one in events if isinstance(one, EarlierModelChosen))
    return event


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a trained study, closed."""
    phantoms = trained(tmp_path_factory.mktemp("other") / "other.mlbseg")
    phantoms.study.close()
    return phantoms.study.path


def test_a_bundle_begins_a_training_like_its_study(tmp_path: Path) -> None:
    phantoms = trained(tmp_path / "other.mlbseg")
    folder = export_model(phantoms.study, ModelFormat.BUNDLE, tmp_path / "bundle").folder
    of_study, of_bundle = (read_earlier_model(p) for p in (phantoms.study.path, folder))
    assert of_study.design == of_bundle.design
    assert of_study.class_names == of_bundle.class_names == ("", "organ", "core")
    ours, theirs = of_study.network.state_dict(), of_bundle.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a study nor an exported model"):
        read_earlier_model(tmp_path)
    make_phantoms(tmp_path / "untrained.mlbseg")
    with pytest.raises(UserError, match="no trained network yet"):
        read_earlier_model(tmp_path / "untrained.mlbseg")
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    (tmp_path / "bundle" / "configs" / "inference.json").write_text("{}")
    with pytest.raises(UserError, match=r"bundle cannot be read .*Export it again"):
        read_earlier_model(tmp_path / "bundle")


# --- runs -----------------------------------------------------------------------------------------


def test_without_clean_slices_the_earlier_model_labels_the_cohort(
    other: Path, tmp_path: Path
) -> None:
    phantoms, alike = (make_phantoms(tmp_path / f"{name}.mlbseg") for name in "ab")
    events = carried_out(phantoms, replace(SHORT, begin_with=str(other)))
    assert isinstance(events[-1], Finished), events[-1]
    assert chosen(events).used
    assert stages(events) == [Stage.LOADING, Stage.LABELLING, Stage.PUBLISHING]
    with Study.open(other, writable=False) as before:
        for _ in predict_other_cases(before, alike.study):
            pass
    for case in phantoms.study.cases:
        ours, theirs = (
            np.asarray(one.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
            for one in (phantoms, alike)
        )
        np.testing.assert_array_equal(ours, theirs)
        assert ours.any()
        assert phantoms.study.arrays.has(case.id, ArrayName.INITIAL_LABELS)
    # The next run goes on from there, as after a base model.
    phantoms.accept("phantom0", 3, 5, 8)
    again = carried_out(phantoms, SHORT)
    assert Stage.BASE_MODEL not in stages(again)
    assert Stage.BOOTSTRAPPING in stages(again)


def test_a_model_that_knows_the_classes_is_the_base_model(other: Path, tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg")
    phantoms.accept("phantom0", 3, 5, 8)
    events = carried_out(phantoms, replace(SHORT, begin_with=str(other)))
    assert isinstance(events[-1], Finished), events[-1]
    assert stages(events)[:3] == [Stage.LOADING, Stage.LABELLING, Stage.BOOTSTRAPPING]
    assert Stage.BASE_MODEL not in stages(events)


def test_a_model_that_lacks_a_class_learns_it_first(other: Path, tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg")
    phantoms.study.set_classes(
        [LabelClass(1, "organ", (230, 160, 0)), LabelClass(7, "nucleus", (0, 120, 180))]
    )
    phantoms.accept("phantom0", 3, 5, 8)
    events = carried_out(phantoms, replace(SHORT, begin_with=str(other)))
    assert isinstance(events[-1], Finished), events[-1]
    assert stages(events)[1] is Stage.BASE_MODEL
    assert "does not know 'nucleus'" in chosen(events).message


def test_a_training_that_is_there_goes_on(tmp_path: Path) -> None:
    phantoms = trained(tmp_path / "a.mlbseg")
    events = carried_out(phantoms, replace(SHORT, begin_with=str(tmp_path / "gone.mlbseg")))
    assert isinstance(events[-1], Finished), events[-1]
    assert not chosen(events).used
    assert "gone.mlbseg is not used" in chosen(events).message
    (started,) = (one for one in events if isinstance(one, RunStarted))
    assert started.resumed_step == 7


def test_a_training_that_starts_afresh_begins_with_it(other: Path, tmp_path: Path) -> None:
    phantoms = trained(tmp_path / "a.mlbseg")
    events = carried_out(phantoms, replace(SHORT, begin_with=str(other), resume=False))
    assert chosen(events).used
    assert Stage.BASE_MODEL not in stages(events)


def test_another_kind_of_network_is_refused(other: Path, tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg")
    *_, last = carried_out(phantoms, replace(SHORT, begin_with=str(other), dimensions="3d"))
    assert isinstance(last, Failed)
    assert "unet that sees slices, and the settings ask for a unet that sees volumes" in (
        last.message
    )


def test_settings_left_to_choice_follow_the_model(tmp_path: Path) -> None:
    volumes = replace(SHORT, dimensions="3d", slice_size=32)
    phantoms = trained(tmp_path / "a.mlbseg", volumes)
    phantoms.study.close()
    follower = make_phantoms(tmp_path / "b.mlbseg")
    left = replace(volumes, dimensions="auto", begin_with=str(tmp_path / "a.mlbseg"))
    for resumed, config in ((0, left), (3, replace(left, begin_with=None))):
        follower.accept("phantom0", 3, 5, 8)
        (started,) = (e for e in carried_out(follower, config) if isinstance(e, RunStarted))
        assert started.network == "3d unet"
        assert started.resumed_step == resumed


def test_no_path_leaves_with_an_exported_model(other: Path, tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg")
    phantoms.accept("phantom0", 3, 5, 8)
    carried_out(phantoms, replace(SHORT, begin_with=str(other)))
    settings = read_trained(phantoms.study).provenance["settings"]
    assert settings["steps"] == SHORT.steps
    assert "begin_with" not in settings
