"""A checkpoint gives back the network that was saved, and knows which bytes it was read from."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.training.checkpoint import read_checkpoint, write
from napari_mlbseg.engine.training.state import TrainingState
from napari_mlbseg.errors import UserError


def saved(path: Path, model: torch.nn.Module, **fits: Any) -> TrainingState:
    """A checkpoint whose teacher is its student, doubled."""
    state = TrainingState.fresh(model, learning_rate=1e-3, seed=0, batch=1)
    state.teacher = {name: 2 * value for name, value in state.teacher.items()}
    write(path, state.content(fits))
    return state


@pytest.mark.parametrize(("large", "dims"), [(False, 2), (True, 2), (False, 3)])
def test_the_network_comes_back(tmp_path: Path, large: bool, dims: int) -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=3, classes=2, dims=dims, large=large)
    fits = {
        "network": f"unet, {'large' if large else 'small'}",
        "channels": 3,
        "class_values": [0, 7],
        "dimensions": dims,
    }
    state = saved(tmp_path / "model.pt", network, **fits)
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
    saved(path, torch.nn.Linear(1, 1), which="first")
    saved(newer, torch.nn.Linear(1, 1), which="second")
    digest, load = sha256(path.read_bytes()).hexdigest(), torch.load

    def late(*arguments: Any, **named: Any) -> Any:
        newer.replace(path)
        return load(*arguments, **named)

    monkeypatch.setattr(torch, "load", late)
    found = read_checkpoint(path)
    assert (found.fits["which"], found.sha256) == ("first", digest)


@pytest.mark.parametrize("damage", ["cut off", "gone", "no archive"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.pt"
    saved(path, torch.nn.Linear(1, 1))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:500] if damage == "cut off" else b"model")
    with pytest.raises(UserError, match=r"checkpoint .*model\.pt cannot be read \(.*fresh run"):
        read_checkpoint(path)
