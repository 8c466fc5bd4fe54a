"""Segmentations as 3D Slicer writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import Choice, open_image, open_labels, read_labels
from napari_mlbseg.formats.scan import Scan

SHAPE = (8, 7, 6)
ORIGIN = (-10.0, 5.0, 30.0)


def organ(first: int = 1, last: int = 6) -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[first:last, 2:5, 1:5] = 1
    return labels


def image_in(folder: Path) -> Path:
    image = sitk.GetImageFromArray(np.arange(336, dtype=np.int16).reshape(SHAPE).transpose(2, 1, 0))
    image.SetSpacing((1, 1, 2))
    image.SetOrigin(ORIGIN)
    sitk.WriteImage(image, str(folder / "image.nrrd"))
    return folder / "image.nrrd"


def write_segments(
    path: Path,
    stored: NDArray[np.uint8],
    segments: Sequence[dict[str, Any]],
    origin: Sequence[float] = ORIGIN,
) -> Path:
    """A .seg.nrrd; arrays with four axes hold the layers first."""
    layers = stored.ndim == 4
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: uint8",
        f"dimension: {stored.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, stored.shape))}",
        f"space directions: {'none ' if layers else ''}(1,0,0) (0,1,0) (0,0,2)",
        f"kinds: {'list ' if layers else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(map(str, origin))})",
        *(f"Segment{k}_{n}:={v}" for k, one in enumerate(segments) for n, v in one.items()),
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
    ]
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + stored.tobytes(order="F"))
    return path


def placed(labels: Path, image: Path) -> tuple[NDArray[Any], Scan]:
    scan = open_image(image)
    found = on_grid_of(open_labels(labels), scan.geometry, labels, image, scan.source)
    volume = found.volume()
    return volume.geometry.to_file(volume.voxels), found


ATRIUM = {"Name": "left atrium", "LabelValue": 1, "Layer": 0, "Color": "0.5 0.6 0"}
SCAR = {"Name": "scar", "LabelValue": 2, "Layer": 0}


def test_segments_name_and_colour_their_labels(tmp_path: Path) -> None:
    both = organ()
    both[4, 3, 2] = 2
    path = write_segments(tmp_path / "a.seg.nrrd", both, [ATRIUM, SCAR])
    found, scan = placed(path, image_in(tmp_path))
    np.testing.assert_array_equal(found, both)
    assert scan.names == {1: "left atrium", 2: "scar"}
    assert scan.colors == {1: (128, 153, 0)}
    assert (scan.notes, scan.found_later()) == ((), ())


def test_a_cropped_segmentation_takes_its_place(tmp_path: Path) -> None:
    box = (slice(1, 6), slice(2, 5), slice(1, 5))
    origin = [o + s * b.start for o, s, b in zip(ORIGIN, (1, 1, 2), box, strict=True)]
    path = write_segments(tmp_path / "a.seg.nrrd", organ()[box], [ATRIUM], origin)
    found, scan = placed(path, image_in(tmp_path))
    np.testing.assert_array_equal(found, organ())
    assert "covers only" in scan.notes[0]
    beside = [origin[0] + 0.5, *origin[1:]]
    write_segments(path, organ()[box], [ATRIUM], beside)
    with pytest.raises(UserError, match="does not lie on its image"):
        placed(path, image_in(tmp_path))


def test_layers_are_put_together_and_what_overlaps_is_counted(tmp_path: Path) -> None:
    one, two = organ(1, 5), organ(4, 7)
    path = write_segments(
        tmp_path / "a.seg.nrrd",
        np.stack([one, two]),
        [ATRIUM, {**SCAR, "LabelValue": 1, "Layer": 1}],
    )
    found, scan = placed(path, image_in(tmp_path))
    np.testing.assert_array_equal(found, np.where(two, 2, one))
    assert scan.names == {1: "left atrium", 2: "scar"}
    (note,) = scan.found_later()
    lost = int((one & two).sum())
    assert f"{lost:,} voxels belong both to 'left atrium' and to 'scar'" in note
    # A frame was chosen for images; all layers are read all the same, as often as asked for.
    again, _ = read_labels(path, Choice(frame=1))
    np.testing.assert_array_equal(again.geometry.to_file(again.voxels), found)


def test_an_empty_segment_is_named(tmp_path: Path) -> None:
    path = write_segments(tmp_path / "a.seg.nrrd", organ(), [ATRIUM, SCAR])
    _, scan = placed(path, image_in(tmp_path))
    assert scan.names[2] == "scar"
    assert scan.found_later() == (f"{path} holds no voxel of 'scar'.",)


@pytest.mark.parametrize(
    ("segment", "says"),
    [
        ({"Name": "x", "LabelValue": 300}, "labels 300 to 300; classes run from 1 to 254"),
        ({"Name": "x", "LabelValue": "one"}, "damaged NRRD header"),
        ({"Name": "x", "LabelValue": 1, "Layer": 3}, "lies in layer 3, but it has 1 layers"),
    ],
)
def test_segments_that_make_no_sense_are_refused(
    tmp_path: Path, segment: dict[str, Any], says: str
) -> None:
    path = write_segments(tmp_path / "a.seg.nrrd", organ(), [segment])
    with pytest.raises(UserError, match=says):
        open_labels(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_comments_in_latin_1_are_no_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(organ()), str(path))
    first, rest = path.read_bytes().split(b"\n", 1)
    note = (
        "# Hôpital, Zürich\x85".encode("latin-1") if suffix == ".nrrd" else b"Comment = Z\xfcrich"
    )
    path.write_bytes(b"\n".join([first, note, rest]))
    volume, _ = read_labels(path)
    np.testing.assert_array_equal(volume.voxels, organ())
