import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from nifti_files import load_nifti
from numpy.typing import NDArray
from orientations import Grid, grids

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.computed import Computed
from napari_mlbseg.project.exporting.export import (
    ExportKind,
    OutFormat,
    export_case,
    export_probabilities,
    export_study,
)
from napari_mlbseg.project.exporting.outputs import ARRAYS
from napari_mlbseg.project.exporting.provenance import NOBODY, provenance_path
from napari_mlbseg.project.importing.cohort import import_folder, import_images
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.volume import Geometry


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    phantoms = make_phantom_cohort(tmp_path, cases=2)
    with Study.create(tmp_path / "s.mlbseg") as made:
        import_folder(made, phantoms.images, phantoms.labels)
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def loaded(path: Path | None) -> NDArray[Any]:
    assert path is not None
    return np.asarray(load_nifti(path).dataobj)


def test_labels_are_what_a_person_sees(study: Study, tmp_path: Path) -> None:
    case = study.cases[1]
    mask = np.zeros(case.slice_shape(0), np.uint8)
    mask[3:9, 4:20] = 2
    study.save_slice(SliceKey(case.id, 0, 7), mask, SliceState.CLEAN)
    expected = study.labels.working(case.id)
    np.testing.assert_array_equal(expected[7], mask)
    (path,) = export_case(study, case.id, tmp_path / "out", ExportKind.LABELS)
    assert path == tmp_path / "out" / case.image_path.name
    np.testing.assert_array_equal(case.geometry.to_display(loaded(path)), expected)


def test_one_file_per_case_named_as_it_came_in(study: Study, tmp_path: Path) -> None:
    seen = []
    written = export_study(
        study, tmp_path / "new" / "out", ExportKind.INITIAL, lambda *what: seen.append(what[1:])
    )
    assert [p.name for p in written] == ["phantom_01.nii.gz", "phantom_02.nii.gz"]
    beside = [f"{case.id}.provenance.json" for case in study.cases]
    names = {p.name for p in (tmp_path / "new" / "out").iterdir()}
    assert names == {*(p.name for p in written), *beside}
    assert seen == [(0, 2), (1, 2), (2, 2)]
    for path, case in zip(written, study.cases, strict=True):
        np.testing.assert_array_equal(loaded(path), loaded(case.labels_path))
        image, labels = load_nifti(case.image_path), load_nifti(path)
        assert labels.get_data_dtype() == np.uint8
        assert labels.affine.tobytes() == image.affine.tobytes()


def test_a_prediction_is_exported_without_corrections(study: Study, tmp_path: Path) -> None:
    case = study.cases[0]
    study.arrays.create(case.id, ArrayName.PREDICTION)[:] = 1
    study.save_slice(
        SliceKey(case.id, 0, 0), np.zeros(case.slice_shape(0), np.uint8), SliceState.CLEAN
    )
    (path,) = export_case(study, case.id, tmp_path / "out", ExportKind.PREDICTION)
    assert set(np.unique(loaded(path))) == {1}


def test_weights_are_two_maps_of_float32(study: Study, tmp_path: Path) -> None:
    case = study.cases[1]
    weights = np.random.default_rng(0).random(case.geometry.shape).astype(np.float16)
    study.arrays.create(case.id, ArrayName.META_WEIGHTS_INITIAL)[:] = weights
    study.arrays.create(case.id, ArrayName.META_WEIGHTS_PSEUDO)[:] = 2 * weights
    initial, pseudo = export_case(study, case.id, tmp_path / "out", ExportKind.WEIGHTS)
    assert initial.name == "phantom_02_meta_weights_initial.nii.gz"
    assert pseudo.name == "phantom_02_meta_weights_pseudo.nii.gz"
    for path, expected in ((initial, weights), (pseudo, 2 * weights)):
        assert load_nifti(path).get_data_dtype() == np.float32
        assert load_nifti(path).affine.tobytes() == load_nifti(case.image_path).affine.tobytes()
        np.testing.assert_array_equal(case.geometry.to_display(loaded(path)), expected)


def test_trust_is_a_map_of_float32_and_the_votes_are_labels(study: Study, tmp_path: Path) -> None:
    case = study.cases[1]
    trust = np.random.default_rng(0).random(case.geometry.shape).astype(np.float16)
    study.arrays.create(case.id, ArrayName.TRUST)[:] = trust
    study.arrays.create(case.id, ArrayName.PROPOSED_LABELS)[:] = trust > 0.5
    trusted, votes = export_case(study, case.id, tmp_path / "out", ExportKind.TRUST)
    assert trusted.name == "phantom_02_trust.nii.gz"
    assert votes.name == "phantom_02_proposed_labels.nii.gz"
    assert load_nifti(trusted).get_data_dtype() == np.float32
    assert load_nifti(votes).get_data_dtype() == np.uint8
    np.testing.assert_array_equal(case.geometry.to_display(loaded(trusted)), trust)
    np.testing.assert_array_equal(case.geometry.to_display(loaded(votes)), trust > 0.5)


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(grid=grids())
def test_import_then_export_is_the_identity_in_every_orientation(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid
) -> None:
    geometry = Geometry.from_affine(*grid)
    folder = tmp_path_factory.mktemp("identity")
    stored = np.random.default_rng(0).integers(0, 5, geometry.file_shape).astype(np.uint8)
    for name in ("image", "labels"):
        image = nib.Nifti1Image(stored, np.array(geometry.affine))
        image.set_qform(image.affine, 1)
        nib.save(image, folder / f"{name}.nii")
    with Study.create(folder / "s.mlbseg") as study:
        import_images(study, [folder / "image.nii"], {"image": folder / "labels.nii"})
        (path,) = export_case(study, "image", folder / "out", ExportKind.LABELS)
    np.testing.assert_array_equal(loaded(path), stored)
    assert load_nifti(path).affine.tobytes() == load_nifti(folder / "image.nii").affine.tobytes()
    ours, theirs = (SimpleITK.ReadImage(str(p)) for p in (path, folder / "image.nii"))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(ours), SimpleITK.GetArrayFromImage(theirs)
    )
    assert ours.GetOrigin() == theirs.GetOrigin()
    assert ours.GetDirection() == theirs.GetDirection()
    assert ours.GetSpacing() == theirs.GetSpacing()


def test_what_was_exported_can_be_imported_again(study: Study, tmp_path: Path) -> None:
    export_study(study, tmp_path / "out", ExportKind.LABELS)
    with Study.create(tmp_path / "again.mlbseg") as again:
        import_folder(again, study.cases[0].image_path.parent, tmp_path / "out")
        for case in study.cases:
            np.testing.assert_array_equal(
                again.labels.working(case.id), study.labels.working(case.id)
            )


def test_an_earlier_export_is_replaced(study: Study, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "phantom_01.nii.gz").write_bytes(b"earlier")
    (path,) = export_case(study, "phantom_01", tmp_path / "out", ExportKind.LABELS)
    assert loaded(path).shape == study.case("phantom_01").geometry.file_shape


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ExportKind.PREDICTION, "no prediction yet: phantom_02.*training"),
        (ExportKind.WEIGHTS, "no weight maps yet: phantom_02.*training"),
    ],
)
def test_nothing_is_written_unless_every_case_has_it(
    study: Study, tmp_path: Path, kind: ExportKind, says: str
) -> None:
    for name in (
        ArrayName.PREDICTION,
        ArrayName.META_WEIGHTS_INITIAL,
        ArrayName.META_WEIGHTS_PSEUDO,
    ):
        study.arrays.create("phantom_01", name)
    study.arrays.create("phantom_02", ArrayName.META_WEIGHTS_PSEUDO)
    with pytest.raises(UserError, match=says):
        export_study(study, tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()


def test_without_initial_labels_the_error_says_where_they_come_from(tmp_path: Path) -> None:
    phantoms = make_phantom_cohort(tmp_path, cases=1)
    with Study.create(tmp_path / "s.mlbseg") as study:
        with pytest.raises(UserError, match="no cases"):
            export_study(study, tmp_path / "out", ExportKind.LABELS)
        import_folder(study, phantoms.images)
        with pytest.raises(UserError, match=r"no initial labels yet: phantom_01.*Import labels"):
            export_study(study, tmp_path / "out", ExportKind.INITIAL)
        (path,) = export_study(study, tmp_path / "out", ExportKind.LABELS)
        assert not loaded(path).any()


# --- numbers that are none ------------------------------------------------------------------------

MAPS = [
    (ExportKind.WEIGHTS, ArrayName.META_WEIGHTS_PSEUDO),
    (ExportKind.TRUST, ArrayName.TRUST),
]
MAP_FORMATS = [OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA]


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize(("kind", "name"), MAPS)
def test_a_case_with_nan_is_refused_and_the_others_are_written(
    study: Study, tmp_path: Path, kind: ExportKind, name: ArrayName, bad: float
) -> None:
    for case in study.cases:
        for array in ARRAYS[kind]:
            study.arrays.create(case.id, array)
    study.arrays.open("phantom_01", name)[-1, 2, 3] = bad
    says = rf"1 of 2 cases were not exported.*{kind.value} of phantom_01 hold.*NaN or infinite"
    with pytest.raises(UserError, match=says):
        export_study(study, tmp_path / "out", kind)
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert len(written) == 2 * len(ARRAYS[kind])
    assert all(found.startswith("phantom_02_") for found in written)
    with pytest.raises(UserError, match=r"^The .*Continue the training, or start it afresh"):
        export_case(study, "phantom_01", tmp_path / "out", kind)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_probabilities_that_are_none_are_refused(study: Study, tmp_path: Path, bad: float) -> None:
    case = study.cases[0]

    def blocks(case: Case) -> Iterator[tuple[int, NDArray[Any]]]:
        count = case.geometry.shape[case.axis]
        found = np.full((count, len(study.classes), *case.slice_shape(case.axis)), 0.5, np.float32)
        found[count // 2, 0, 0, 0] = bad
        yield 0, found
        raise AssertionError("nothing more is computed")

    for form in MAP_FORMATS:
        with pytest.raises(UserError, match=r"probabilities of phantom_01 hold.*NaN or infinite"):
            export_probabilities(
                study, tmp_path / "out", Computed(blocks, NOBODY), case_id=case.id, form=form
            )
    assert list((tmp_path / "out").iterdir()) == []


def test_probabilities_are_those_of_their_class_in_whatever_order_classes_stand(
    study: Study, tmp_path: Path
) -> None:
    study.set_classes(study.classes[::-1])

    def blocks(case: Case) -> Iterator[tuple[int, NDArray[Any]]]:
        shape = (case.geometry.shape[case.axis], 1, *case.slice_shape(case.axis))
        yield 0, np.concatenate([np.full(shape, k / 8, np.float32) for k in (1, 2)], axis=1)

    written = export_probabilities(
        study, tmp_path / "out", Computed(blocks, NOBODY), case_id=study.cases[0].id
    )
    for path in written:
        told = json.loads(provenance_path(path).read_text())["class"]["value"]
        assert set(np.unique(loaded(path))) == {told / 8}


def test_provenance_has_no_number_that_is_none(study: Study, tmp_path: Path) -> None:
    study.arrays.create("phantom_01", ArrayName.PREDICTION)
    study.runs.start({"rates": [float("nan"), 0.5], "minutes": float("inf")}, seed=0, device="cpu")
    (path,) = export_case(study, "phantom_01", tmp_path / "out", ExportKind.LABELS)

    def refused(word: str) -> None:
        raise AssertionError(word)

    told = json.loads(provenance_path(path).read_text(), parse_constant=refused)
    assert told["run"]["config"] == {"rates": [None, 0.5], "minutes": None}


# --- what must never be overwritten ---------------------------------------------------------------


def test_sources_are_never_overwritten(study: Study, tmp_path: Path) -> None:
    before = contents(tmp_path / "images") | contents(tmp_path / "labels")
    for folder in ("images", "labels", "out/../images"):
        (tmp_path / "out").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="imported from"):
            export_study(study, tmp_path / folder, ExportKind.LABELS)
    assert contents(tmp_path / "images") | contents(tmp_path / "labels") == before


def test_sources_are_recognised_through_links(study: Study, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "hard").mkdir()
    os.link(tmp_path / "labels" / "phantom_01.nii.gz", tmp_path / "hard" / "phantom_01.nii.gz")
    (tmp_path / "soft").mkdir()
    (tmp_path / "soft" / "phantom_01.nii.gz").symlink_to(tmp_path / "labels" / "phantom_01.nii.gz")
    for folder in ("link", "hard", "soft"):
        with pytest.raises(UserError, match="imported from"):
            export_case(study, "phantom_01", tmp_path / folder, ExportKind.LABELS)


@pytest.mark.parametrize("folder", [".", "arrays", "new/out"])
def test_nothing_is_exported_into_the_study(study: Study, folder: str) -> None:
    before = sorted(study.path.rglob("*"))
    with pytest.raises(UserError, match="inside the study"):
        export_study(study, study.path / folder, ExportKind.LABELS)
    assert sorted(study.path.rglob("*")) == before


def test_a_file_in_place_of_the_folder_is_a_user_error(study: Study, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot be made"):
        export_study(study, tmp_path / "out", ExportKind.LABELS)


def test_an_unknown_case_is_named(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nobody.*phantom_01, phantom_02"):
        export_case(study, "nobody", tmp_path / "out", ExportKind.LABELS)


def test_real_cases_keep_their_geometry(tmp_path: Path, real_data: Path) -> None:
    ct = real_data / "ct_multiorgan"
    la = sorted((real_data / "la" / "images").iterdir())[0]
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_images(
            study,
            [ct / "image.nii.gz", la],
            {
                "image": ct / "segmentation.nii.gz",
                la.name.removesuffix(".nii.gz"): real_data / "la" / "labels" / la.name,
            },
        )
        for path, case in zip(
            export_study(study, tmp_path / "out", ExportKind.LABELS), study.cases, strict=True
        ):
            np.testing.assert_array_equal(loaded(path), loaded(case.labels_path))
            assert load_nifti(path).affine.tobytes() == load_nifti(case.image_path).affine.tobytes()
            ours, theirs = (SimpleITK.ReadImage(str(p)) for p in (path, case.image_path))
            assert ours.GetOrigin() == theirs.GetOrigin()
            assert ours.GetDirection() == theirs.GetDirection()
