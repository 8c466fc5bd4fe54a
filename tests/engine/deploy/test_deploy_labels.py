"""An exported model that was trained beside imported labels takes them as a second input."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from exported import refused, require_equal_labels, run_blocked, trained_study, write_cohort
from nifti_files import load_nifti
from scipy import ndimage

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.deploy.export import export_model
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.deploy.trained import read_trained
from napari_mlbseg.project.study import Study

GEOMETRIES = {
    "a": ((10, 40, 36), np.diag([4.0, -1.0, 1.2])),
    "b": ((60, 52, 9), np.diag([-0.6, 0.6, 3.0])),
    "without": ((38, 44, 11), np.diag([1.0, 1.0, -2.5])),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, true labels, and rough ones of all cases but one."""
    folder = write_cohort(tmp_path_factory.mktemp("cohort"), GEOMETRIES)
    (folder / "rough").mkdir()
    for name in ("a", "b"):
        truth = load_nifti(folder / "labels" / f"{name}.nii.gz")
        grown = ndimage.binary_dilation(np.asarray(truth.dataobj), iterations=3)
        path = folder / "rough" / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(grown.astype(np.uint8), truth.affine), path)
    return folder


slow = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[pytest.param("2d", marks=slow), "2.5d", pytest.param("3d", marks=slow)],
)
def study(cohort: Path, request: pytest.FixtureRequest) -> Iterator[Study]:
    config = Config(
        base_steps=25,
        steps=2,
        slice_size=32,
        device="cpu",
        threads=1,
        precision="float32",
        weights="none",
        dimensions=request.param,
    )
    path = cohort / f"{request.param}.mlbseg"
    rough = {name: cohort / "rough" / f"{name}.nii.gz" for name in ("a", "b")}
    with trained_study(path, cohort, config, rough) as study:
        yield study


@pytest.fixture(scope="module")
def predicted(study: Study, predicted: Path) -> Path:
    """What the engine predicts beside the labels, and not what it does without them."""
    assert read_trained(study).preparation.label_channels == 1
    return predicted


def test_a_bundle_takes_a_folder_of_labels(
    study: Study, cohort: Path, predicted: Path, tmp_path: Path
) -> None:
    bundle = export_model(study, ModelFormat.BUNDLE, tmp_path / "bundle").folder

    def run(out: Path, *more: object) -> None:
        run_blocked(
            bundle,
            "napari_mlbseg,napari,onnxruntime",
            *("monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"),
            *("--bundle_root", bundle, "--dataset_dir", cohort / "images", "--output_dir", out),
            *more,
        )

    run(tmp_path / "beside", "--initial_labels_dir", cohort / "rough")
    for name in GEOMETRIES:
        require_equal_labels(
            tmp_path / "beside" / f"{name}_seg.nii.gz", predicted / f"{name}.nii.gz"
        )
    run(tmp_path / "alone")
    without, *others = (
        differing(tmp_path / "alone" / f"{name}_seg.nii.gz", predicted / f"{name}.nii.gz")
        for name in ("without", "a", "b")
    )
    assert without <= 2
    assert all(other > 2 for other in others)
    said = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert said["channels"][-1].startswith("initial labels of left atrium")
    assert "--initial_labels_dir" in (bundle / "docs" / "README.md").read_text()


@pytest.mark.parametrize(
    "wanted",
    [ModelFormat.ONNX, pytest.param(ModelFormat.TORCH_EXPORT, marks=pytest.mark.slow)],
)
def test_a_graph_takes_a_file_of_labels(
    study: Study, cohort: Path, predicted: Path, tmp_path: Path, wanted: ModelFormat
) -> None:
    folder = export_model(study, wanted, tmp_path / "model").folder
    out = tmp_path / "out.nii.gz"
    for name in GEOMETRIES:
        rough = cohort / "rough" / f"{name}.nii.gz"
        beside = ("--initial-labels", rough) if rough.exists() else ()
        image = cohort / "images" / f"{name}.nii.gz"
        run_blocked(folder, "napari_mlbseg,monai,scipy", "predict", image, out, *beside)
        require_equal_labels(out, predicted / f"{name}.nii.gz")
    assert "--initial-labels" in (folder / "README.md").read_text()
    elsewhere = ("--initial-labels", cohort / "rough" / "b.nii.gz")
    said = refused(folder, cohort / "images" / "a.nii.gz", out, *elsewhere)
    assert "do not lie on the voxels of the image" in said


def differing(found: Path, expected: Path) -> int:
    a, b = (np.asarray(load_nifti(path).dataobj) for path in (found, expected))
    return int((a != b).sum())
