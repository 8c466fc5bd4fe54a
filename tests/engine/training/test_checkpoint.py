"""A checkpoint gives back the network that was saved, and knows which bytes it was read from."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.training.checkpoint import read_checkpoint, write
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.state import TrainingState
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey


def designed(**change: Any) -> dict[str, Any]:
    """What the network was built for, as checkpoints have always held it."""
    slices = {"dimensions": 2, "channels": 3, "size": 32, "resolution_mm": 1.5}
    return {"network": "unet, small", "class_values": [0, 7], **slices, **change}


PATCHES: dict[str, Any] = {
    **{"dimensions": 3, "channels": 1, "size": [16, 32, 48]},
    **{"resolution_mm": [3.0, 1.5, 1.5], "network": "unet++, large"},
}


def saved(path: Path, model: torch.nn.Module, fits: dict[str, Any]) -> TrainingState:
    """A checkpoint whose teacher is its student, doubled."""
    state = TrainingState.fresh(model, learning_rate=1e-3, seed=0, batch=1)
    state.teacher = {name: 2 * value for name, value in state.teacher.items()}
    write(path, state.content(fits))
    return state


def test_validation_slices_are_those_that_were_saved(tmp_path: Path) -> None:
    network = build_network("unet", channels=3, classes=2, dims=2, large=False)
    state = TrainingState.fresh(network, learning_rate=1e-3, seed=0, batch=1)
    state.validation = frozenset({SliceKey("a", 0, 3), SliceKey("b", 2, 1)})
    write(tmp_path / "latest.pt", state.content(designed()))
    assert read_checkpoint(tmp_path / "latest.pt").validation == state.validation


@pytest.mark.parametrize(("large", "dims"), [(False, 2), (True, 2), (False, 3)])
def test_the_network_comes_back(tmp_path: Path, large: bool, dims: int) -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=3, classes=2, dims=dims, large=large)
    fits = designed(network=f"unet, {'large' if large else 'small'}")
    if dims == 3:
        fits |= {"dimensions": 3, "size": [32, 48, 32], "resolution_mm": [2.0, 1.5, 1.5]}
    state = saved(tmp_path / "model.pt", network, fits)
    found = read_checkpoint(tmp_path / "model.pt")
    images = torch.randn(1, 3, *(16 * n for n in (2, 3, 2)[:dims]))
    student = found.network(teacher=False)
    assert torch.equal(student(images), network(images))
    for name, value in found.network(teacher=True).named_parameters():
        assert torch.equal(value, state.teacher[name])
        assert not value.requires_grad


def test_hash_and_content_are_of_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run puts another checkpoint in the place of the one that is being read."""
    path, newer = tmp_path / "model.pt", tmp_path / "newer.pt"
    saved(path, torch.nn.Linear(1, 1), designed(class_values=[0, 1]))
    saved(newer, torch.nn.Linear(1, 1), designed(class_values=[0, 2]))
    digest, load = sha256(path.read_bytes()).hexdigest(), torch.load

    def late(*arguments: Any, **named: Any) -> Any:
        newer.replace(path)
        return load(*arguments, **named)

    monkeypatch.setattr(torch, "load", late)
    found = read_checkpoint(path)
    assert (found.design.class_values, found.sha256) == ((0, 1), digest)


@pytest.mark.parametrize("damage", ["cut off", "gone", "no archive"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.pt"
    saved(path, torch.nn.Linear(1, 1), designed())
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:500] if damage == "cut off" else b"model")
    with pytest.raises(UserError, match=r"checkpoint .*model\.pt cannot be read \(.*fresh run"):
        read_checkpoint(path)


@pytest.mark.parametrize("plain", [designed(), designed(**PATCHES)])
def test_a_design_is_written_as_it_always_was(plain: dict[str, Any]) -> None:
    found = NetworkDesign.from_plain(plain)
    assert found.to_plain() == plain
    assert NetworkDesign.from_plain(found.to_plain()) == found
    assert found.large is plain["network"].endswith("large")
    assert found.sample.dimensions == plain["dimensions"]
    assert found.arguments == {
        "name": plain["network"].split(",")[0],
        "channels": plain["channels"],
        "classes": 2,
        "large": plain["network"].endswith("large"),
        "dims": plain["dimensions"],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"network": "unet++, small"},
        {"network": "unet, large"},
        {"class_values": [0, 8]},
        {"channels": 1},
        {"size": 48},
        {"resolution_mm": 1.25},
    ],
)
def test_another_network_has_another_design(change: dict[str, Any]) -> None:
    assert NetworkDesign.from_plain(designed(**change)) != NetworkDesign.from_plain(designed())


@pytest.mark.parametrize("missing", sorted(designed()))
def test_a_checkpoint_that_does_not_say_what_it_was_built_for_is_said_to_be_damaged(
    tmp_path: Path, missing: str
) -> None:
    fits = designed()
    del fits[missing]
    saved(tmp_path / "model.pt", torch.nn.Linear(1, 1), fits)
    with pytest.raises(UserError, match=r"checkpoint .*model\.pt lacks a part"):
        read_checkpoint(tmp_path / "model.pt")
