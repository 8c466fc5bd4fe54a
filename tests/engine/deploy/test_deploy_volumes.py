"""A network of volumes, exported, says what the engine does where this package is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported import require_equal_labels, run_blocked, trained_study, write_cohort

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.deploy.export import export_model
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.project.study import Study

pytestmark = pytest.mark.slow

ROTATION = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1.0]])
# Sagittal slices of a flipped file, deeper than a tile; voxels much finer than the grid; an oblique
# volume.
GEOMETRIES = {
    "a": ((60, 32, 34), np.diag([1.6, -1.1, 1.0])),
    "b": ((80, 60, 85), np.diag([-0.4, 0.7, 0.4])),
    "c": ((30, 33, 17), ROTATION @ np.diag([1.0, 1.0, -1.7])),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("volumes"), GEOMETRIES)


@pytest.fixture(scope="module")
def study(cohort: Path) -> Iterator[Study]:
    config = Config(
        base_steps=30,
        steps=2,
        slice_size=32,
        device="cpu",
        threads=1,
        precision="float32",
        dimensions="3d",
    )
    with trained_study(cohort / "study.mlbseg", cohort, config) as study:
        yield study


def test_monai_runs_the_bundle_of_volumes(study: Study, cohort: Path, predicted: Path) -> None:
    bundle = export_model(study, ModelFormat.BUNDLE, cohort / "bundle").folder
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
    metadata = bundle / "configs" / "metadata.json"
    run_blocked(
        bundle,
        "napari_mlbseg,napari,onnxruntime",
        *("monai.bundle", "verify_net_in_out", "--net_id", "network_def", "--device", "cpu"),
        *("--meta_file", metadata, "--config_file", bundle / "configs" / "inference.json"),
    )
    said = json.loads(metadata.read_text())
    image = said["network_data_format"]["inputs"]["image"]
    assert image["is_patch_data"] is True
    assert image["spatial_shape"] == said["preparation"]["size"] == [48, 32, 32]


@pytest.mark.parametrize(
    ("form", "blocked"),
    [
        (ModelFormat.ONNX, "napari_mlbseg,torch,monai,scipy"),
        (ModelFormat.TORCH_EXPORT, "napari_mlbseg,monai,onnxruntime"),
    ],
)
def test_graphs_of_volumes_need_neither_this_package_nor_monai(
    form: ModelFormat, blocked: str, study: Study, cohort: Path, predicted: Path
) -> None:
    made = export_model(study, form, cohort / form.value)
    assert made.worst_difference <= 1e-4
    for name in GEOMETRIES:
        out = cohort / f"{name}_by_{form}.nii.gz"
        image = cohort / "images" / f"{name}.nii.gz"
        run_blocked(made.folder, blocked, "predict", image, out)
        require_equal_labels(out, predicted / f"{name}.nii.gz")
    if form is ModelFormat.ONNX:
        graph = onnx.load(made.folder / "model.onnx").graph
        batch, *_ = graph.input[0].type.tensor_type.shape.dim
        assert batch.dim_param, "the number of patches is free"
