import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import import_folder, import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort

SHAPE = (6, 7, 5)
AFFINE = np.array([[0, -2.0, 0, 5], [1, 0, 0, 7], [0, 0, 3, -9], [0, 0, 0, 1]])


class Cohort:
    """Two images with labels, in folders of their own, and a study that has one case already."""

    def __init__(self, folder: Path) -> None:
        self.images, self.labels = folder / "images", folder / "labels"
        self.images.mkdir()
        self.labels.mkdir()
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            self.image(name, rng.integers(0, 100, SHAPE).astype(np.int16))
            self.label(name, rng.integers(0, 3, SHAPE).astype(np.uint8))
        first = save(folder / "first.nii", np.zeros(SHAPE, np.int16))
        self.study = Study.create(folder / "study.mlbseg")
        import_images(self.study, [first], {})

    def image(
        self,
        name: str,
        voxels: NDArray[Any],
        affine: NDArray[np.float64] = AFFINE,
        suffix: str = ".nii.gz",
    ) -> Path:
        return save(self.images / f"{name}{suffix}", voxels, affine)

    def label(
        self,
        name: str,
        voxels: NDArray[Any],
        affine: NDArray[np.float64] = AFFINE,
        suffix: str = ".nii.gz",
    ) -> Path:
        return save(self.labels / f"{name}{suffix}", voxels, affine)

    def state(self) -> tuple[object, ...]:
        """Everything that an import may change."""
        files = sorted(p for p in self.study.path.rglob("*") if "catalogue" not in p.name)
        return self.study.cases, self.study.classes, files

    def take_in(self, **options: Any) -> Any:
        return import_folder(self.study, self.images, self.labels, **options)


def save(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Iterator[Cohort]:
    made = Cohort(tmp_path)
    with made.study:
        yield made


def test_images_and_labels_come_in_under_their_names(cohort: Cohort) -> None:
    cases = cohort.take_in().cases
    assert [case.id for case in cases] == ["a", "b"]
    assert [case.id for case in cohort.study.cases] == ["first", "a", "b"]
    for case in cases:
        assert case.image_path == (cohort.images / f"{case.id}.nii.gz").absolute()
        assert case.labels_path == (cohort.labels / f"{case.id}.nii.gz").absolute()
        for name, path in (
            (ArrayName.IMAGE, case.image_path),
            (ArrayName.INITIAL_LABELS, case.labels_path),
        ):
            shown = np.asarray(cohort.study.arrays.open(case.id, name)[:])
            expected = np.asarray(load_nifti(path).dataobj)
            np.testing.assert_array_equal(case.geometry.to_file(shown), expected)
            assert shown.dtype == expected.dtype


def test_labels_are_optional(cohort: Cohort) -> None:
    cases = import_folder(cohort.study, cohort.images).cases
    assert [case.labels_path for case in cases] == [None, None]
    assert cohort.study.classes == ()
    assert not cohort.study.arrays.has("a", ArrayName.INITIAL_LABELS)


def test_classes_are_made_from_the_values_found(cohort: Cohort) -> None:
    cohort.label("b", np.full(SHAPE, 254, np.uint8))
    cohort.take_in()
    assert [(c.value, c.name) for c in cohort.study.classes] == [
        (1, "class 1"),
        (2, "class 2"),
        (254, "class 254"),
    ]


def test_declared_classes_stay(cohort: Cohort) -> None:
    classes = (LabelClass(1, "organ", (1, 2, 3)), LabelClass(2, "lesion", (4, 5, 6)))
    cohort.study.set_classes(classes)
    cohort.take_in()
    assert cohort.study.classes == classes


def test_every_class_gets_a_colour_of_its_own() -> None:
    colors = [color_of(value) for value in range(1, 255)]
    assert len(set(colors)) == 254
    assert all(0 <= part <= 255 for color in colors for part in color)


def test_geometry_within_a_thousandth_of_a_voxel_is_the_same(cohort: Cohort) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.0005
    cohort.label("a", np.ones(SHAPE, np.uint8), shifted)
    assert len(cohort.take_in().cases) == 2


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_labels_in_another_voxel_order_are_turned_exactly(
    cohort: Cohort, axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    stored = np.asarray(load_nifti(cohort.labels / "a.nii.gz").dataobj)
    turned, affine = stored.transpose(axes), AFFINE[:, [*axes, 3]].copy()
    for axis in flips:
        affine[:, 3] += affine[:, axis] * (turned.shape[axis] - 1)
        affine[:, axis] *= -1
        turned = np.flip(turned, axis)
    cohort.label("a", turned, affine)
    case = cohort.take_in().cases[0]
    shown = np.asarray(cohort.study.arrays.open("a", ArrayName.INITIAL_LABELS)[:])
    np.testing.assert_array_equal(case.geometry.to_file(shown), stored)
    shutil.rmtree(cohort.study.path / "arrays" / "a")
    rebuild_arrays(cohort.study.cases, cohort.study.arrays)
    again = np.asarray(cohort.study.arrays.open("a", ArrayName.INITIAL_LABELS)[:])
    np.testing.assert_array_equal(again, shown)


def test_progress_counts_cases_and_tells_shares(cohort: Cohort) -> None:
    seen = []
    cohort.take_in(progress=lambda *what: seen.append(what))
    assert {(done, total) for _, done, total in seen} == {(0, 2), (1, 2), (2, 2)}
    assert seen[0] == ("Importing a.nii.gz", 0, 2)
    assert ("Importing b.nii.gz (100%)", 1, 2) in seen
    assert seen[-1] == ("Imported", 2, 2)


# --- what is bad is left out ----------------------------------------------------------------------


def with_frames(cohort: Cohort) -> None:
    cohort.image("b", np.zeros((*SHAPE, 4), np.int16))


def with_nan(cohort: Cohort) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[1, 2, :] = np.nan
    cohort.image("b", voxels)


def with_fractions(cohort: Cohort) -> None:
    cohort.label("b", np.full(SHAPE, 0.5, np.float32))


def with_unknown_label(cohort: Cohort) -> None:
    cohort.study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    cohort.label("b", np.ones(SHAPE, np.uint8))


def with_reserved_label(cohort: Cohort) -> None:
    cohort.label("b", np.full(SHAPE, 255, np.uint8))


def with_other_shape(cohort: Cohort) -> None:
    cohort.label("b", np.zeros((6, 7, 4), np.uint8))


def with_shift(cohort: Cohort) -> None:
    shifted = AFFINE.copy()
    shifted[2, 3] += 0.5
    cohort.label("b", np.zeros(SHAPE, np.uint8), shifted)


def with_turn(cohort: Cohort) -> None:
    # The first voxel stays where it is; only far corners move.
    turned = AFFINE.copy()
    turned[:3, :3] @= np.array([[1, -0.05, 0], [0.05, 1, 0], [0, 0, 1]])
    cohort.label("b", np.zeros(SHAPE, np.uint8), turned)


def without_image(cohort: Cohort) -> None:
    cohort.label("c", np.zeros(SHAPE, np.uint8))


def with_twins(cohort: Cohort) -> None:
    cohort.image("b", np.zeros(SHAPE, np.int16), suffix=".nii")


def with_a_known_case(cohort: Cohort) -> None:
    cohort.image("First", np.zeros(SHAPE, np.int16))
    cohort.label("First", np.zeros(SHAPE, np.uint8))


def truncated(cohort: Cohort) -> None:
    path = cohort.images / "b.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])


def with_empty_file(cohort: Cohort) -> None:
    (cohort.labels / "b.nii.gz").write_bytes(b"")


def with_text(cohort: Cohort) -> None:
    (cohort.images / "b.nii.gz").write_text("nothing of the kind")


def with_dangling_link(cohort: Cohort) -> None:
    (cohort.images / "b.nii.gz").unlink()
    (cohort.images / "b.nii.gz").symlink_to("gone.nii.gz")


def with_itself_as_labels(cohort: Cohort) -> None:
    (cohort.labels / "b.nii.gz").unlink()
    (cohort.labels / "b.nii.gz").symlink_to(cohort.images / "b.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (with_frames, r"images/b\.nii\.gz has 4 dimensions with 4 frames"),
        (with_nan, r"images/b\.nii\.gz holds 5 voxels that are NaN"),
        (with_fractions, r"labels/b\.nii\.gz .* not whole numbers .*0\.5"),
        (with_unknown_label, r"labels/a\.nii\.gz holds unknown labels: 2\. .*1 \(organ\)"),
        (with_reserved_label, r"labels/b\.nii\.gz .*255"),
        (
            with_other_shape,
            r"labels/b\.nii\.gz .*images/b\.nii\.gz: it has 6 x 7 x 4 voxels ",
        ),
        (with_shift, r"labels/b\.nii\.gz .*images/b\.nii\.gz: .* 0\.5 mm apart"),
        (with_turn, r"labels/b\.nii\.gz does not lie on its image .* mm apart"),
        (without_image, r"labels/c\.nii\.gz holds labels without an image"),
        (with_twins, r"same name b: .*images/b\.nii, .*images/b\.nii\.gz"),
        (with_a_known_case, r"First is in the study already"),
        (truncated, r"images/b\.nii\.gz is truncated"),
        (with_empty_file, r"labels/b\.nii\.gz is empty"),
        (with_text, r"images/b\.nii\.gz .*not a valid gzip"),
        (with_dangling_link, r"images/b\.nii\.gz cannot be read: No such file"),
        (with_itself_as_labels, r"images/b\.nii\.gz is given as an image and as its own labels"),
    ],
)
def test_a_bad_file_is_named_and_left_out_and_the_others_come_in(
    cohort: Cohort, spoil: Callable[..., None], says: str
) -> None:
    spoil(cohort)
    imported = cohort.take_in()
    assert re.search(says, imported.summary, re.DOTALL), imported.summary
    assert imported.failures
    ids = {case.id for case in imported.cases}
    assert ids
    assert not ids & {"First"}
    assert {case.id for case in cohort.study.cases} == {"first", *ids}
    assert {p.name for p in (cohort.study.path / "arrays").iterdir()} == {"first", *ids}
    for case_id in ids:
        assert cohort.study.arrays.has(case_id, ArrayName.INITIAL_LABELS)


def test_classes_are_those_of_the_files_that_came_in(cohort: Cohort) -> None:
    with_nan(cohort)
    cohort.label("b", np.full(SHAPE, 9, np.uint8))
    cohort.take_in()
    assert [c.value for c in cohort.study.classes] == [1, 2]


def test_where_nothing_is_sound_all_is_told_and_the_study_is_as_it_was(cohort: Cohort) -> None:
    with_nan(cohort)
    cohort.label("a", np.full(SHAPE, 0.5, np.float32))
    before = cohort.state()
    with pytest.raises(UserError, match=r"(?s)labels/a\.nii\.gz.*\n.*images/b\.nii\.gz"):
        cohort.take_in()
    assert cohort.state() == before


def test_one_folder_cannot_be_images_and_labels(cohort: Cohort) -> None:
    with pytest.raises(UserError, match="folder of their own"):
        import_folder(cohort.study, cohort.images, cohort.images / ".." / "images")


def test_labels_without_image_are_refused_by_the_building_block_too(cohort: Cohort) -> None:
    before = cohort.state()
    with pytest.raises(UserError, match="no images for z"):
        import_images(cohort.study, [cohort.images / "a.nii.gz"], {"z": cohort.labels / "a.nii.gz"})
    assert cohort.state() == before


@pytest.mark.parametrize("stage", ["Importing a.nii.gz (100%)", "Importing b.nii.gz", "Imported"])
def test_whoever_cancels_finds_the_study_as_it_was(cohort: Cohort, stage: str) -> None:
    def cancel(what: str, done: int, total: int) -> None:
        if what == stage:
            raise KeyboardInterrupt

    before = cohort.state()
    with pytest.raises(KeyboardInterrupt):
        cohort.take_in(progress=cancel)
    assert cohort.state() == before


def test_a_failing_disk_leaves_the_study_as_it_was(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cohort.state()

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cohort.study._catalogue, "add_cases", fail)
    with pytest.raises(UserError, match=r"No space left.*unchanged"):
        cohort.take_in()
    assert cohort.state() == before


# --- whole cohorts --------------------------------------------------------------------------------


def test_a_phantom_cohort_comes_in(tmp_path: Path) -> None:
    phantoms = make_phantom_cohort(tmp_path, cases=2)
    with Study.create(tmp_path / "s.mlbseg") as study:
        cases = import_folder(study, phantoms.images, phantoms.labels).cases
        assert [c.value for c in study.classes] == [1, 2]
        assert {case.axis for case in cases} == {0}
        for case in cases:
            assert case.geometry.spacing_mm == pytest.approx((3, 1, 1), abs=1e-5)


def test_real_cohorts_come_in(tmp_path: Path, real_data: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for source in sorted((real_data / "la" / "images").iterdir())[:2]:
        (images / source.name).symlink_to(source)
        (labels / source.name).symlink_to(real_data / "la" / "labels" / source.name)
    (images / "ct.nii.gz").symlink_to(real_data / "ct_multiorgan" / "image.nii.gz")
    (labels / "ct_seg.nii.gz").symlink_to(real_data / "ct_multiorgan" / "segmentation.nii.gz")
    with Study.create(tmp_path / "s.mlbseg") as study:
        cases = import_folder(study, images, labels).cases
        assert len(cases) == 3
        for case in cases:
            stored = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
            assert case.labels_path is not None
            np.testing.assert_array_equal(stored, read_labels(case.labels_path)[0].voxels)


def test_damaged_series_and_stores_in_a_folder_are_listed_and_the_rest_comes_in(
    cohort: Cohort,
) -> None:
    (cohort.images / "series").mkdir()
    (cohort.images / "series" / "1.dcm").write_bytes(b"")
    (cohort.images / "store.zarr").mkdir()
    (cohort.images / "scan.nrrd").write_text("not an image at all")
    (cohort.images / "notes.txt").write_text("not for us")
    imported = import_folder(cohort.study, cohort.images)
    assert [case.id for case in imported.cases] == ["a", "b"]
    assert [failure.path.name for failure in imported.failures] == [
        "scan.nrrd",
        "series",
        "store.zarr",
    ]
    assert all(str(failure.path) in failure.reason for failure in imported.failures)


def test_images_of_a_single_slice_may_be_those_of_one_volume(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with Study.create(tmp_path / "slices.mlbseg") as study:
        save(images / "z0.nii.gz", np.zeros((7, 5, 1), np.int16))
        assert import_folder(study, images).notes == ()
    for index in range(1, 4):
        save(images / f"z{index}.nii.gz", np.zeros((7, 5, 1), np.int16))
    with Study.create(tmp_path / "more.mlbseg") as study:
        (note,) = import_folder(study, images).notes
        assert "each of the 4 became a case of its own: z0, z1, z2, z3." in note.reason
    save(images / "volume.nii.gz", np.zeros((7, 5, 6), np.int16))
    with Study.create(tmp_path / "mixed.mlbseg") as study:
        assert import_folder(study, images).notes == ()


def test_where_no_series_of_any_image_is_chosen_nothing_is_imported(cohort: Cohort) -> None:
    chosen = {path.absolute(): () for path in cohort.images.iterdir()}
    with pytest.raises(UserError, match="No image was chosen"):
        import_folder(cohort.study, cohort.images, choices=chosen)
    assert [case.id for case in cohort.study.cases] == ["first"]
