import shutil
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import lps_of, voxels, write_multiframe, write_series
from nifti_files import load_nifti
from numpy.typing import NDArray
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless
from seg_files import write_seg

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import open_image, open_labels, read_image, read_labels
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study

SHAPE = (6, 5, 7)


def random_labels(seed: int = 0) -> NDArray[Any]:
    labels = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    labels[:, :, [0, 3]] = 0  # these frames are left out of the file
    return labels


def on_image(path: Path, folder: Path) -> NDArray[Any] | None:
    image = open_image(folder)
    scan = on_grid_of(open_labels(path), image.geometry, path, folder).volume()
    assert scan.geometry == image.geometry
    return scan.geometry.to_file(scan.voxels)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("FRACTIONAL", ExplicitVRLittleEndian),
        ("FRACTIONAL", RLELossless),
        ("LABELMAP", ExplicitVRLittleEndian),
    ],
)
def test_segmentations_of_highdicom_lie_on_their_image(
    tmp_path: Path, plane: str, kind: str, syntax: UID
) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of(plane, tilt=(0.1, 0.2, 0.05)))
    labels = random_labels()
    path = write_seg(tmp_path / "seg.dcm", files, labels, kind, syntax)
    np.testing.assert_array_equal(on_image(path, tmp_path / "s"), labels)
    assert open_labels(path).names == {n: f"organ {n}" for n in (1, 2, 3)}

    if kind == "FRACTIONAL":
        return  # which highdicom does not combine
    # highdicom's own reader agrees about where the labels lie.
    volume = hd.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    own, _ = read_labels(path)
    for index in np.argwhere(volume.array)[:20]:
        lps = volume.map_indices_to_reference(index[None])[0]
        ras = lps * [-1, -1, 1]
        ours = np.linalg.solve(own.geometry.display_affine, [*ras, 1])[:3]
        np.testing.assert_allclose(ours, np.rint(ours), atol=1e-3)
        assert own.voxels[tuple(np.rint(ours).astype(int))] == volume.array[tuple(index)]


def test_a_segmentation_of_few_slices(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 2, 4] = 1
    path = write_seg(tmp_path / "seg.dcm", files, labels)
    np.testing.assert_array_equal(on_image(path, tmp_path / "s"), labels)


def test_a_segmentation_of_a_multi_frame_file(tmp_path: Path) -> None:
    path = write_multiframe(tmp_path / "mr.dcm", voxels(SHAPE), lps_of("coronal"))
    labels = random_labels()
    seg = write_seg(tmp_path / "seg.dcm", [path], labels)
    np.testing.assert_array_equal(on_image(seg, path), labels)


def test_a_segmentation_of_another_image_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    write_series(tmp_path / "t", voxels(SHAPE), lps_of(origin=(0.2, 0, 0)))
    path = write_seg(tmp_path / "seg.dcm", files, random_labels())
    with pytest.raises(UserError, match=r"seg\.dcm does not lie on its image: .* mm apart"):
        on_image(path, tmp_path / "t")
    with pytest.raises(UserError, match=r"seg\.dcm holds a segmentation; choose a series"):
        read_image(path)


def test_a_study_from_dicom_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files = write_series(tmp_path / "images" / name, voxels(SHAPE), lps_of())
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_seg(tmp_path / "labels" / f"{name}_seg.dcm", files, random_labels())
    with Study.create(tmp_path / "s.mlbseg") as study:
        imported = import_folder(study, tmp_path / "images", tmp_path / "labels")
        assert imported.failures == ()
        assert [case.id for case in study.cases] == ["one", "two"]
        assert [c.name for c in study.classes] == ["organ 1", "organ 2", "organ 3"]
        assert isinstance(study.classes[0], LabelClass)
        for case in study.cases:
            shown = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
            np.testing.assert_array_equal(case.geometry.to_file(shown), random_labels())


def test_the_real_series_with_labels_in_another_voxel_order(
    tmp_path: Path, real_data: Path
) -> None:
    """From a DICOM folder and a NIfTI file in LAS to a study and out again."""
    folder, truth = (
        real_data / "ct_dicom" / "series",
        real_data / "ct_dicom" / "segmentation.nii.gz",
    )
    with Study.create(tmp_path / "s.mlbseg") as study:
        imported = import_folder(study, folder, truth)
        assert imported.failures == ()
        (case,) = imported.cases
        assert case.id == "series"
        assert len(study.classes) == 31  # and the background
        out, *_ = export_case(study, case.id, tmp_path / "out", ExportKind.LABELS, OutFormat.NIFTI)
        # Rebuilding turns the labels again.
        before = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
        shutil.rmtree(study.path / "arrays" / case.id)
        rebuild_arrays(study.cases, study.arrays)
        np.testing.assert_array_equal(
            np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:]), before
        )
    assert out.name == "series.nii.gz"
    theirs, ours = load_nifti(truth), load_nifti(out)
    assert nib.aff2axcodes(theirs.affine) == ("L", "A", "S")
    assert nib.aff2axcodes(ours.affine) == ("L", "P", "S")
    turned = nib.orientations.io_orientation(np.linalg.solve(ours.affine, theirs.affine))
    expected = theirs.as_reoriented(turned)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_allclose(ours.affine, expected.affine, atol=1e-5)

    # By world positions and with SimpleITK, which knows the series on its own.
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    labels, written = sitk.ReadImage(str(truth)), sitk.ReadImage(str(out))
    np.testing.assert_allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(written.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(written.GetSpacing(), image.GetSpacing(), atol=1e-6)
    for index in np.random.default_rng(0).integers(0, [512, 512, 20], (500, 3)).tolist():
        place = labels.TransformIndexToPhysicalPoint(index)
        assert written[written.TransformPhysicalPointToIndex(place)] == labels[index]


def test_segments_that_overlap_are_counted(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    one, two = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[1:4, 1:4, 1:4], two[2:6, 2:5, 2:6] = True, True
    path = write_seg(tmp_path / "seg.dcm", files, np.stack([one, two], -1))
    image = open_image(tmp_path / "s")
    scan = on_grid_of(open_labels(path), image.geometry, path, tmp_path / "s")
    volume = scan.volume()
    np.testing.assert_array_equal(
        volume.geometry.to_file(volume.voxels), np.where(two, 2, one.astype(np.uint8))
    )
    lost = int((one & two).sum())
    (note,) = scan.found_later()
    assert f"{lost} voxels belong both to 'organ 1' and to 'organ 2'" in note
    assert "they become 'organ 2'" in note
