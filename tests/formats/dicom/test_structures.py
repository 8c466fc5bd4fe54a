"""Contours of RT structure sets as labels, and several label files of one series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dataset_of, lps_of, voxels, write_series
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RTStructureSetStorage
from seg_files import write_seg

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.anatomy import Segment
from napari_mlbseg.formats.dicom_out.about import About
from napari_mlbseg.formats.dicom_out.origin import origin_of
from napari_mlbseg.formats.dicom_out.rtstruct import write_rtstruct
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import open_image, open_labels, read_labels
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.volume import Volume

SHAPE = (12, 10, 7)
SEGMENTS = (Segment(2, "kidney left", (230, 159, 0)), Segment(9, "lesion", (0, 158, 115)))


def placed(labels: Path, image: Path) -> tuple[NDArray[Any], Scan]:
    scan = open_image(image)
    found = on_grid_of(open_labels(labels), scan.geometry, labels, image, scan.source)
    volume = found.volume()
    return volume.geometry.to_file(volume.voxels), found


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("tilt", [(0, 0, 0), (0.1, 0.2, -0.3)])
def test_what_was_exported_comes_back_exactly(
    tmp_path: Path, plane: str, tilt: tuple[float, float, float]
) -> None:
    """Islands, holes and single pixels; the voxels are those that were written."""
    labels = np.random.default_rng(0).choice([0, 0, 2, 9], SHAPE).astype(np.uint8)
    write_series(tmp_path / "s", voxels(SHAPE), lps_of(plane, tilt=tilt))
    scan = open_image(tmp_path / "s")
    volume = Volume(scan.geometry.to_display(labels), scan.geometry)
    about = About("labels", SEGMENTS, False, "ada", "1", "", "")
    write_rtstruct(tmp_path / "r.dcm", volume, origin_of(tmp_path / "s", scan.source), about)
    found, read = placed(tmp_path / "r.dcm", tmp_path / "s")
    np.testing.assert_array_equal(found, labels)
    assert read.names == {2: "kidney left", 9: "lesion"}
    assert read.colors == {2: (230, 159, 0), 9: (0, 158, 115)}
    assert (read.notes, read.found_later()) == ((), ())


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def contour(points: NDArray[Any], kind: str = "CLOSED_PLANAR") -> Dataset:
    return item(
        ContourGeometricType=kind,
        NumberOfContourPoints=len(points),
        ContourData=[f"{v:.6f}" for v in points.ravel()],
    )


def write_structures(path: Path, regions: dict[str, list[Dataset]]) -> Path:
    dataset = dataset_of(RTStructureSetStorage, Modality="RTSTRUCT")
    dataset.StructureSetROISequence = [
        item(ROINumber=k, ROIName=name) for k, name in enumerate(regions, 1)
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=k, ContourSequence=found)
        for k, found in enumerate(regions.values(), 1)
    ]
    dataset.save_as(path, enforce_file_format=True)
    return path


def circle(lps: NDArray[Any], middle: tuple[float, float], radius: float, k: float) -> Any:
    """A circle in voxels of slice `k`, in LPS mm and in voxels."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    flat = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + middle
    voxel = np.column_stack([flat, np.full(len(flat), k), np.ones(len(flat))])
    return (voxel @ lps.T)[:, :3], flat


def test_contours_within_contours_are_holes_and_overlaps_are_counted(tmp_path: Path) -> None:
    """The pixels inside are those that matplotlib finds."""
    lps = lps_of()
    write_series(tmp_path / "s", voxels(SHAPE), lps)
    outer, a = circle(lps, (5.2, 4.6), 4.1, 3)
    inner, b = circle(lps, (5.2, 4.6), 1.9, 3)
    other, c = circle(lps, (7.3, 4.6), 2.2, 3)
    path = write_structures(
        tmp_path / "r.dcm",
        {"ring": [contour(outer), contour(inner)], "disc": [contour(other)], "nothing": []},
    )
    found, read = placed(path, tmp_path / "s")
    grid = np.stack(np.meshgrid(range(12), range(10), indexing="ij"), -1).reshape(-1, 2)
    inside = [Outline(flat).contains_points(grid).reshape(12, 10) for flat in (a, b, c)]
    ring, disc = inside[0] & ~inside[1], inside[2]
    np.testing.assert_array_equal(found[:, :, 3], np.where(disc, 2, ring.astype(np.uint8)))
    assert not np.delete(found, 3, axis=2).any()
    told = "\n".join(read.found_later())
    assert f"{(ring & disc).sum()} voxels belong both to 'ring' and to 'disc'" in told
    assert "holds no voxel of 'nothing'" in told


def test_what_cannot_be_filled_is_told(tmp_path: Path) -> None:
    lps = lps_of()
    write_series(tmp_path / "s", voxels(SHAPE), lps)
    good, _ = circle(lps, (5, 4), 3, 2.3)
    outside, _ = circle(lps, (5, 4), 3, 20)
    oblique = good.copy()
    oblique[:, 2] += np.linspace(0, 20, len(good))
    path = write_structures(
        tmp_path / "r.dcm",
        {
            "a": [contour(good), contour(outside), contour(oblique)],
            "b": [contour(good[:1], "POINT")],
        },
    )
    found, read = placed(path, tmp_path / "s")
    assert found[:, :, 2].any()
    assert read.notes == (f"{path} holds 1 contours that are points or lines, left out.",)
    told = "\n".join(read.found_later())
    assert "1 contours lie outside of the image" in told
    assert "1 contours do not lie in a slice of the image" in told
    assert "contours lie up to 0.3 slices beside those of the image" in told
    write_structures(path, {"a": [contour(outside)]})
    with pytest.raises(UserError, match="none of its contours runs through one of the image's"):
        placed(path, tmp_path / "s")
    with pytest.raises(UserError, match="become labels only on an image"):
        read_labels(path)


def test_several_segmentations_of_a_series_come_together_by_name(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    one, two = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[1:4, 1:4, 2], two[6:9, 2:5, 3] = 1, 2
    (tmp_path / "l").mkdir()
    write_seg(tmp_path / "l" / "a.dcm", files, one)
    write_seg(tmp_path / "l" / "b.dcm", files, two)
    points, _ = circle(lps_of(), (9, 7), 1.6, 5)
    write_structures(tmp_path / "l" / "c.dcm", {"organ 2": [contour(points)]})
    found, read = placed(tmp_path / "l", tmp_path / "s")
    assert read.names == {1: "organ 1", 2: "organ 2"}
    np.testing.assert_array_equal(found == 1, one > 0)
    np.testing.assert_array_equal((found == 2)[:, :, 3], two[:, :, 3] > 0)
    assert (found[:, :, 5] == 2).any()
    with pytest.raises(UserError, match="come together only on an image"):
        read_labels(tmp_path / "l")
