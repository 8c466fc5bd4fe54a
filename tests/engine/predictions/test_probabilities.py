"""Exported probabilities are those that the published prediction was made of."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import lps_of, write_series
from nifti_files import load_nifti
from numpy.typing import NDArray
from small_study import QUICK, Phantoms, ellipsoid, make_phantoms

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import Span, as_planes
from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.probabilities import (
    case_probabilities,
    export_predicted_probabilities,
)
from napari_mlbseg.engine.steps.predict import probabilities
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_image
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_study
from napari_mlbseg.project.exporting.provenance import provenance_path
from napari_mlbseg.project.importing.cohort import import_folder, import_images
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

BRIEF = replace(QUICK, base_steps=8, steps=2)
SOLID = replace(BRIEF, dimensions="3d", slice_size=32, base_steps=4)
ORGANS = (LabelClass(1, "organ", (230, 160, 0)), LabelClass(7, "Core / rim", (0, 120, 180)))
ROTATION = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1.0]])
# Sagittal slices of a flipped file, a left-handed one, and an oblique one.
GEOMETRIES = {
    "a": ((9, 40, 36), np.diag([4.0, -1.0, 1.2])),
    "b": ((37, 41, 9), np.diag([-0.9, 0.9, 3.0])),
    "c": ((38, 44, 11), ROTATION @ np.diag([1.0, 1.0, -2.5])),
}


def train(study: Study, config: Config) -> None:
    *_, last = Bootstrapper(study, config).events(Inbox())
    assert isinstance(last, Finished), last


def accept_every_third(study: Study, truth: dict[str, NDArray[np.uint8]]) -> None:
    for case in study.cases:
        for index in range(1, case.geometry.shape[case.axis], 3):
            mask = np.take(truth[case.id], index, case.axis)
            study.save_slice(SliceKey(case.id, case.axis, index), mask, SliceState.CLEAN)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained study of NIfTI files, each in another geometry."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "images").mkdir()
    truth = {}
    for number, (name, (shape, linear)) in enumerate(GEOMETRIES.items()):
        image, labels = ellipsoid(number, shape)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, (10, -20, 30)
        nib.save(nib.Nifti1Image(image, affine), folder / "images" / f"{name}.nii.gz")
        labels[labels == 2] = 7
        truth[name] = labels
    with Study.create(folder / "s.mlbseg") as study:
        import_folder(study, folder / "images")
        study.set_classes(ORGANS)
        accept_every_third(study, {c.id: c.geometry.to_display(truth[c.id]) for c in study.cases})
        train(study, BRIEF)
    return folder


@pytest.fixture
def trained(cohort: Path) -> Iterator[Study]:
    """Open for reading, as an export has it."""
    with Study.open(cohort / "s.mlbseg", writable=False) as study:
        yield study


def whole(phantoms: Phantoms, config: Config, case: Case) -> NDArray[np.float32]:
    """Slow reference: the trainer's own network sees all slices of a case at once."""
    trainer = Trainer(phantoms.study, config)
    assert trainer.restore()
    span = Span(case, case.axis, 0, case.geometry.shape[case.axis])
    scene = trainer.source.scene(span)
    seen = probabilities(
        trainer.model,
        trainer.parameters,
        scene.images,
        views=trainer.prediction_views,
        tile=trainer.source.tile,
    )
    return scene.to_file(as_planes(seen), span).detach().numpy()


def most_probable(maps: NDArray[np.float32], values: list[int]) -> NDArray[np.uint8]:
    """Labels by probabilities (classes first) of which the background has the rest."""
    with_background = np.concatenate([1 - maps.sum(axis=0, keepdims=True), maps])
    labels: NDArray[np.uint8] = np.array([0, *values], np.uint8)[with_background.argmax(axis=0)]
    return labels


def require_prediction(
    maps: NDArray[np.float32], values: list[int], predicted: NDArray[Any]
) -> None:
    """All but voxels at which two classes are tied to the last digits."""
    assert (predicted > 0).any(), "there is something to compare"
    wrong = most_probable(maps, values) != predicted
    ranked = np.sort(np.concatenate([1 - maps.sum(axis=0, keepdims=True), maps]), axis=0)
    assert (ranked[-1] - ranked[-2])[wrong].max(initial=0) < 1e-4
    assert wrong.sum() <= 2


@pytest.mark.parametrize(
    "config",
    [
        replace(BRIEF, dimensions="2d"),
        replace(BRIEF, dimensions="2.5d", weights="uniform", teacher=False),
        replace(BRIEF, dimensions="2d", views=("identity", "zoom_in", "flip_x")),
        SOLID,
    ],
    ids=["2d", "2.5d without teacher", "one mirrored view", "3d"],
)
def test_a_few_slices_at_a_time_are_the_whole_volume_at_once(
    tmp_path: Path, config: Config
) -> None:
    solid = config.dimensions == "3d"
    shape, spacing = ((30, 34, 32), (1.0, 1.0, 1.0)) if solid else ((11, 40, 36), (3.0, 1.0, 1.0))
    phantoms = make_phantoms(tmp_path / "s.mlbseg", shape=shape, spacing_mm=spacing)
    phantoms.accept("phantom0", *(shape[0] * i // 10 for i in (4, 5, 6, 7)))
    train(phantoms.study, config)
    network = read_trained_network(phantoms.study)
    source = network.source_for(phantoms.study)
    for case in phantoms.study.cases:
        blocks = list(case_probabilities(network, source, case))
        assert max(len(found) for _, found in blocks) <= 8
        assert [start for start, _ in blocks] == list(
            np.cumsum([0, *(len(found) for _, found in blocks)])[:-1]
        )
        found = np.concatenate([found for _, found in blocks])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, whole(phantoms, config, case)[:, 1:], atol=1e-4)
        predicted = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        require_prediction(found.swapaxes(0, 1), [1, 7], np.moveaxis(predicted, case.axis, 0))


def test_files_agree_with_the_exported_prediction_in_every_geometry(
    trained: Study, cohort: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    written = export_predicted_probabilities(
        trained, tmp_path / "out", progress=lambda _, done, total: seen.append((done, total))
    )
    names = [f"{n}_probability_{c}.nii.gz" for n in GEOMETRIES for c in ("organ", "Core___rim")]
    assert [path.name for path in written] == names
    provenance = {provenance_path(path).name for path in written}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, *provenance}
    assert seen == sorted(seen)
    assert seen[-1] == (9 + 9 + 11, 9 + 9 + 11)
    predictions = export_study(trained, tmp_path / "hard", ExportKind.PREDICTION)
    for number, (case, hard) in enumerate(zip(trained.cases, predictions, strict=True)):
        files = [load_nifti(path) for path in written[2 * number : 2 * number + 2]]
        for file in files:
            assert file.get_data_dtype() == np.float32
            assert file.affine.tobytes() == load_nifti(case.image_path).affine.tobytes()
        maps = np.stack([np.asarray(file.dataobj) for file in files])
        assert maps.min() >= 0
        assert maps.max() <= 1
        require_prediction(maps, [1, 7], np.asarray(load_nifti(hard).dataobj))


@pytest.mark.parametrize("form", [OutFormat.NRRD, OutFormat.MHA, OutFormat.OME_ZARR])
def test_other_formats_hold_the_same(trained: Study, tmp_path: Path, form: OutFormat) -> None:
    ours = export_predicted_probabilities(trained, tmp_path, case_id="b")
    theirs = export_predicted_probabilities(trained, tmp_path, case_id="b", form=form)
    case = trained.case("b")
    for one, other in zip(ours, theirs, strict=True):
        expected = case.geometry.to_display(np.asarray(load_nifti(one).dataobj))
        volume, _ = read_image(other)
        np.testing.assert_array_equal(volume.voxels, expected)
        np.testing.assert_allclose(
            volume.geometry.display_affine, case.geometry.display_affine, atol=1e-5
        )


def test_the_study_is_only_read(trained: Study, tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in trained.path.rglob("*") if p.is_file()}

    before = contents()
    assert not trained.writable
    export_predicted_probabilities(trained, tmp_path / "out", case_id="a")
    assert contents() == before


def test_nothing_is_left_of_an_export_that_was_broken_off(trained: Study, tmp_path: Path) -> None:
    def broken_off(_: str, done: int, __: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_predicted_probabilities(trained, tmp_path / "out", progress=broken_off)
    assert list((tmp_path / "out").iterdir()) == []


def test_provenance_tells_class_checkpoint_and_run(trained: Study, tmp_path: Path) -> None:
    (_, path) = export_predicted_probabilities(trained, tmp_path, case_id="c")
    told = json.loads(provenance_path(path).read_text())
    assert (told["what"], told["case"], told["file"]) == ("probabilities", "c", path.name)
    assert told["class"] == {"value": 7, "name": "Core / rim"}
    checkpoint = trained.checkpoint_path.read_bytes()
    assert told["model"]["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert told["run"]["id"] == trained.runs.all()[-1].id
    assert not told["slices_in_file"]


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "s.mlbseg")
    with pytest.raises(UserError, match=r"no trained network yet.*mlbseg run"):
        export_predicted_probabilities(phantoms.study, tmp_path / "out")
    phantoms.study.checkpoint_path.parent.mkdir()
    phantoms.study.checkpoint_path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"checkpoint .* cannot be read"):
        export_predicted_probabilities(phantoms.study, tmp_path / "out")
    with Study.create(tmp_path / "empty.mlbseg") as empty, pytest.raises(UserError, match="cases"):
        export_predicted_probabilities(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_changed_since_the_training(trained: Study, cohort: Path, tmp_path: Path) -> None:
    """Cases may be others, which a run would not go on with; classes may not."""
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_images(study, [cohort / "images" / "b.nii.gz"], {})
        study.set_classes(ORGANS)
        study.checkpoint_path.parent.mkdir()
        study.checkpoint_path.write_bytes(trained.checkpoint_path.read_bytes())
        assert not Trainer(study, BRIEF).restore()
        found = export_predicted_probabilities(study, tmp_path / "out")
        expected = export_predicted_probabilities(trained, tmp_path / "theirs", case_id="b")
        for one, other in zip(found, expected, strict=True):
            ours, theirs = (np.asarray(load_nifti(path).dataobj) for path in (one, other))
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        wide = nib.Nifti1Image(ellipsoid(5, (80, 60, 5))[0], np.diag([2.0, 2.0, 4.0, 1.0]))
        nib.save(wide, tmp_path / "wide.nii.gz")
        import_images(study, [tmp_path / "wide.nii.gz"], {})
        for path in export_predicted_probabilities(study, tmp_path / "out", case_id="wide"):
            assert load_nifti(path).shape == (80, 60, 5)
        study.set_classes(ORGANS[:1])
        with pytest.raises(UserError, match="classes 1, 7, but the study has 1 now"):
            export_predicted_probabilities(study, tmp_path / "out")


def test_dicom_has_a_fractional_segmentation_for_each_class(tmp_path: Path) -> None:
    image, labels = ellipsoid(3, (40, 36, 9))
    write_series(tmp_path / "in" / "scan", image, lps_of(tilt=(0.1, 0.2, 0.3)))
    labels[labels == 2] = 7
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        study.set_classes(ORGANS)
        (case,) = study.cases
        accept_every_third(study, {case.id: case.geometry.to_display(labels)})
        train(study, BRIEF)
        files = export_predicted_probabilities(study, tmp_path, form=OutFormat.DICOM_SEG)
        exact = export_predicted_probabilities(study, tmp_path, form=OutFormat.MHA)
        digest = hashlib.sha256(study.checkpoint_path.read_bytes()).hexdigest()
    names = ["scan_probability_organ.dcm", "scan_probability_Core___rim.dcm"]
    assert [path.name for path in files] == names
    for path, same, label in zip(files, exact, ORGANS, strict=True):
        found = hd.seg.segread(path)
        assert (found.SegmentationType, found.SegmentationFractionalType) == (
            "FRACTIONAL",
            "PROBABILITY",
        )
        (segment,) = found.SegmentSequence
        assert segment.SegmentLabel == label.name
        assert segment.TrackingID == f"mlbseg class {label.value}"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert digest in algorithm.AlgorithmParameters
        ours, theirs = (sitk.ReadImage(str(p)) for p in (path, same))
        values = sitk.GetArrayFromImage(theirs)
        assert values.max() > 0.2
        # Frames that are empty are left out; the others say where they lie.
        for frame, pixels in zip(
            found.PerFrameFunctionalGroupsSequence, pydicom.dcmread(path).pixel_array, strict=True
        ):
            place = frame.PlanePositionSequence[0].ImagePositionPatient
            _, _, index = theirs.TransformPhysicalPointToIndex([float(v) for v in place])
            assert np.abs(pixels / 255 - values[index]).max() <= 0.5 / 255 + 1e-6
        assert ours.GetSpacing() == pytest.approx(theirs.GetSpacing(), abs=1e-5)
