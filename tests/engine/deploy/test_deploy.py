"""An exported model, run where this package cannot be imported, predicts what the engine did."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import onnx
import pytest
import torch
from exported import (
    refused,
    require_equal_labels,
    run_blocked,
    trained_study,
    write_cohort,
)
from typer.testing import CliRunner

from napari_mlbseg.cli import app
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.deploy import export
from napari_mlbseg.engine.deploy.checked import require_same
from napari_mlbseg.engine.deploy.export import export_model
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.deploy.trained import read_trained, sample_grids
from napari_mlbseg.engine.training.checkpoint import Checkpoint
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study

PATIENT = "Doe_Jane_1950"
ROTATION = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1.0]])
# Sagittal slices of a flipped file; axial ones much finer than the grid; an oblique volume.
GEOMETRIES = {
    f"{PATIENT}_a": ((10, 40, 36), np.diag([4.0, -1.0, 1.2])),
    "b": ((97, 81, 9), np.diag([-0.4, 0.4, 3.0])),
    "c": ((38, 44, 11), ROTATION @ np.diag([1.0, 1.0, -2.5])),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), GEOMETRIES)


@pytest.fixture(scope="module")
def study(cohort: Path) -> Iterator[Study]:
    config = Config(
        base_steps=25, steps=2, slice_size=48, device="cpu", threads=1, precision="float32"
    )
    with trained_study(cohort / f"{PATIENT}.mlbseg", cohort, config) as study:
        yield study


@pytest.fixture(scope="module")
def bundle(study: Study, cohort: Path) -> Path:
    return export_model(study, ModelFormat.BUNDLE, cohort / "bundle").folder


@pytest.fixture(scope="module")
def torch_export(study: Study, cohort: Path) -> Path:
    return export_model(study, ModelFormat.TORCH_EXPORT, cohort / "torch_export").folder


@pytest.fixture(scope="module")
def onnx_folder(study: Study, cohort: Path) -> Path:
    return export_model(study, ModelFormat.ONNX, cohort / "onnx").folder


def test_monai_runs_the_bundle(bundle: Path, cohort: Path, predicted: Path) -> None:
    run_blocked(
        bundle,
        "napari_mlbseg,napari,onnxruntime",
        *("monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"),
        *("--bundle_root", bundle, "--dataset_dir", cohort / "images"),
        *("--output_dir", cohort / "by_monai"),
    )
    for name in GEOMETRIES:
        found = cohort / "by_monai" / f"{name}_seg.nii.gz"
        require_equal_labels(found, predicted / f"{name}.nii.gz")


def test_onnx_needs_neither_torch_nor_this_package(
    onnx_folder: Path, cohort: Path, predicted: Path
) -> None:
    for name in GEOMETRIES:
        out = cohort / f"{name}_by_onnx.nii.gz"
        image = cohort / "images" / f"{name}.nii.gz"
        run_blocked(onnx_folder, "napari_mlbseg,torch,monai,scipy", "predict", image, out)
        require_equal_labels(out, predicted / f"{name}.nii.gz")


def test_torch_export_needs_torch_alone(torch_export: Path, cohort: Path, predicted: Path) -> None:
    out = cohort / "c_by_torch.nii.gz"
    image = cohort / "images" / "c.nii.gz"
    run_blocked(torch_export, "napari_mlbseg,monai,onnxruntime", "predict", image, out)
    require_equal_labels(out, predicted / "c.nii.gz")


def test_a_model_that_does_not_see_initial_labels_says_so(onnx_folder: Path, cohort: Path) -> None:
    image, never = cohort / "images" / "c.nii.gz", cohort / "never.nii.gz"
    said = refused(onnx_folder, image, never, "--initial-labels", cohort / "labels" / "c.nii.gz")
    assert "this model does not see initial labels" in said
    assert not never.exists()


@pytest.mark.filterwarnings("ignore:.*_target_:UserWarning")
def test_monai_finds_the_network_as_the_metadata_say(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(bundle))
    verify: Any = partial(
        monai.bundle.verify_net_in_out,
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
    )
    said_of_output = "_meta_#network_data_format#outputs#pred#num_channels"
    try:
        verify()
        with pytest.raises(ValueError, match="output channel number"):
            verify(**{said_of_output: 99})
    finally:
        for name in [m for m in sys.modules if m.split(".")[0] == "scripts"]:
            del sys.modules[name]


def test_metadata_have_what_monai_asks_for(bundle: Path) -> None:
    said = json.loads((bundle / "configs" / "metadata.json").read_text())
    texts = ("schema", "monai_version", "pytorch_version", "numpy_version", "task", "description")
    for name in (*texts, "authors", "copyright", "version"):
        assert isinstance(said[name], str), name
        assert said[name], name
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"])
    assert said["version"] in said["changelog"]
    assert all(isinstance(v, str) for v in said["required_packages_version"].values())
    for tensor in (
        said["network_data_format"]["inputs"]["image"],
        said["network_data_format"]["outputs"]["pred"],
    ):
        assert len(tensor["channel_def"]) == tensor["num_channels"]
        assert tensor["spatial_shape"] == [48, 48]
    assert said["network_data_format"]["outputs"]["pred"]["channel_def"]["1"] == "left atrium"
    for name in ("docs/README.md", "LICENSE", "models/model.pt"):
        assert (bundle / name).is_file()


def test_onnx_carries_its_description(onnx_folder: Path, study: Study) -> None:
    model = onnx.load(onnx_folder / "model.onnx")
    said = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert said == json.loads((onnx_folder / "model.json").read_text())
    assert said["views"] == ["identity", "zoom_in", "zoom_out"]
    assert said["classes"][1] == {"index": 1, "value": 1, "name": "left atrium"}
    hashed = sha256(study.checkpoint_path.read_bytes()).hexdigest()
    assert said["provenance"]["checkpoint_sha256"] == hashed
    (batch, *_) = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param, "the number of slices is free"


def test_torch_export_carries_its_description(torch_export: Path) -> None:
    inside = {"model.json": ""}
    torch.export.load(torch_export / "model.pt2", extra_files=inside)
    assert json.loads(inside["model.json"]) == json.loads((torch_export / "model.json").read_text())


@pytest.mark.parametrize("name", ["bundle", "torch_export", "onnx_folder"])
def test_no_patient_and_no_path_leaves_with_a_model(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(name)
    source = str(Path(__file__).resolve().parents[3]).encode()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        content = path.read_bytes()
        for secret in (PATIENT.encode(), str(folder.parent).encode(), source):
            assert secret not in content, path


def test_a_model_that_says_something_else_is_refused(study: Study, tmp_path: Path) -> None:
    trained = read_trained(study)
    grids = sample_grids(study, trained.preparation)

    def said(images: Any, off: float) -> Any:
        return trained.plugin_probabilities(torch.from_numpy(images)).numpy() + np.float32(off)

    assert require_same(trained, lambda x: said(x, 5e-5), grids, "test") == pytest.approx(
        5e-5, rel=0.01
    )
    for off in (2e-4, np.nan):
        with pytest.raises(UserError, match="differs from the network"):
            require_same(trained, partial(said, off=off), grids, "test")


def test_nothing_is_left_of_a_model_that_was_refused(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise UserError("differs")

    monkeypatch.setattr(export, "require_same", refuse)
    with pytest.raises(UserError, match="differs"):
        export_model(study, ModelFormat.BUNDLE, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_the_teacher_is_exported(study: Study) -> None:
    content = torch.load(study.checkpoint_path, weights_only=True)
    parameters = dict(read_trained(study).network.named_parameters())
    differs = False
    for name, value in content["teacher"].items():
        assert torch.equal(parameters[name], value)
        differs |= not torch.equal(value, content["network"][name])
    assert differs


def test_a_run_after_the_checkpoint_changes_nothing(study: Study, tmp_path: Path) -> None:
    copy = tmp_path / study.path.name
    shutil.copytree(study.path, copy)
    with Study.open(copy, author="later") as later:
        (made,) = later.runs.all()
        later.runs.start({**made.config, "teacher": False}, seed=9, device="cpu")
        written = made.started_at.timestamp() + 0.5
        os.utime(later.checkpoint_path, (written, written))
        later_began = later.runs.all()[-1].started_at.timestamp()
        assert later_began > written + 1, "the training takes longer than clocks may differ"
        ours, theirs = read_trained(study), read_trained(later)
    assert theirs.provenance["settings"] == ours.provenance["settings"]
    for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_cannot_be_exported(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Study.create(tmp_path / "empty.mlbseg") as empty,
        pytest.raises(UserError, match="no trained network"),
    ):
        export_model(empty, ModelFormat.BUNDLE, tmp_path / "out")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export_model(study, ModelFormat.BUNDLE, tmp_path / "taken")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"napari-mlbseg\[deploy\]"):
        export_model(study, ModelFormat.ONNX, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_network_with_nan_is_never_exported(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    sound = Checkpoint.network

    def spoiled(self: Checkpoint, **options: bool) -> torch.nn.Module:
        network = sound(self, **options)
        with torch.no_grad():
            next(network.parameters()).view(-1)[0] = bad
        return network

    monkeypatch.setattr(Checkpoint, "network", spoiled)
    for wanted in ModelFormat:
        with pytest.raises(UserError, match="NaN or infinite"):
            export_model(study, wanted, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_axis_of_the_study_is_kept(study: Study) -> None:
    assert read_trained(study).preparation.axis == "largest_spacing"
    before = {case.id: case.axis for case in study.cases}
    try:
        study.set_axis("b", 1)
        with pytest.raises(UserError, match="along different axes"):
            read_trained(study)
        for case_id in before:
            study.set_axis(case_id, 1)
        assert read_trained(study).preparation.axis == "y"
    finally:
        for case_id, axis in before.items():
            study.set_axis(case_id, axis)


def test_command(study: Study, tmp_path: Path) -> None:
    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["model", "export", *map(str, arguments)])

    out = tmp_path / "new" / "bundle"
    done = call(study.path, "--format", "bundle", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["out"] == str(out)
    assert said["format"] == "bundle"
    assert said["worst_difference"] <= 1e-4
    assert said["bytes"] == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    again = call(study.path, "--format", "bundle", "--out", out)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert call(study.path, "--format", "gif", "--out", out).exit_code == 2
