from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats import registry, source
from napari_mlbseg.volume import Geometry, Volume


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("a.nii", "a", ".nii"),
        ("a.nii.gz", "a", ".nii.gz"),
        ("A.b.NII.GZ", "A.b", ".NII.GZ"),
        ("case_0000.nii.gz", "case_0000", ".nii.gz"),
        ("notes.txt", "notes.txt", ""),
        ("a.gz", "a.gz", ""),
        ("nii", "nii", ""),
    ],
)
def test_names_are_split_at_the_known_ending(name: str, stem: str, suffix: str) -> None:
    path = Path("folder") / name
    assert (registry.stem_of(path), registry.suffix_of(path)) == (stem, suffix)
    assert (registry.format_of(path) is not None) == bool(suffix)


@pytest.mark.parametrize("read", [registry.read_image, registry.read_labels])
def test_an_unknown_ending_is_an_error_that_lists_the_known_ones(
    read: Callable[[Path], object],
) -> None:
    with pytest.raises(UserError, match=r"scan\.docx.*\.nii\.gz, \.nii"):
        read(Path("scan.docx"))


def test_there_is_one_source_info() -> None:
    assert registry.SourceInfo is source.SourceInfo


def test_maps_are_written_in_the_format_of_their_name(tmp_path: Path) -> None:
    volume = Volume(np.zeros((2, 3, 4), np.uint8), Geometry.from_affine((4, 3, 2), np.eye(4)))
    dicom = source.SourceInfo("dicom", b"")
    for name in ("a.tif", "a.h5", "a.dcm", "a.txt"):
        with pytest.raises(UserError, match=r"must end in one of \.nii\.gz, \.nrrd, \.mha, \.ome"):
            registry.write_labels(tmp_path / name, volume, dicom)
    assert list(tmp_path.iterdir()) == []
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha", ".ome.zarr"):
        path = tmp_path / f"a{suffix}"
        registry.write_labels(path, volume, dicom)
        assert registry.format_of(path) is not None
