from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import PATIENT, lps_of, voxels, write_series
from nifti_files import load_nifti

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.importing.offers import offers_in, offers_of


def two_series(folder: Path) -> Path:
    write_series(folder, voxels((6, 5, 4)), lps_of(spacing=(0.7, 0.8, 2.5)), SeriesNumber=3)
    others = write_series(
        folder.with_name("other"),
        voxels((8, 7, 9), seed=1),
        lps_of(spacing=(1.0, 1.5, 3.0)),
        SeriesInstanceUID="1.8",
        SeriesNumber=5,
        Modality="MR",
    )
    for file in others:
        file.rename(folder / f"t{file.name}")
    others[0].parent.rmdir()
    return folder


def four_d(path: Path, shape: tuple[int, ...] = (4, 5, 6, 3)) -> Path:
    stored = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(stored, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return path


def test_series_are_told_apart_by_facts_that_name_nobody(tmp_path: Path) -> None:
    found = offers_of(two_series(tmp_path / PATIENT))
    told = [(o.series, o.modality, o.shape, o.frames, o.problem) for o in found]
    assert told == [
        ("series_3", "CT", (6, 5, 4), 1, ""),
        ("series_5", "MR", (8, 7, 9), 1, ""),
    ]
    assert found[0].spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    assert found[1].spacing_mm == pytest.approx((1.0, 1.5, 3.0))


def test_frames_of_a_file_are_counted(tmp_path: Path) -> None:
    (offer,) = offers_of(four_d(tmp_path / "a.nii.gz", (4, 5, 6, 3, 2)))
    assert (offer.frames, offer.shape, offer.series) == (6, (4, 5, 6), None)
    assert offer.spacing_mm == pytest.approx((1, 2, 3))


def test_a_series_that_cannot_be_taken_says_why(tmp_path: Path) -> None:
    folder = two_series(tmp_path / "s")
    written = sorted(folder.glob("IM*"))
    written[1].unlink()
    problems = [offer.problem for offer in offers_of(folder)]
    assert "slices" in problems[0]
    assert problems[1] == ""


def test_only_what_leaves_a_choice_is_offered(tmp_path: Path) -> None:
    four_d(tmp_path / "a.nii.gz")
    four_d(tmp_path / "single.nii.gz", (4, 5, 6))
    (tmp_path / "torn.nii.gz").write_bytes(b"not an image")
    steps: list[tuple[str, int, int]] = []
    found = offers_in(tmp_path, lambda *step: steps.append(step))
    assert [offer.path for offer in found] == [tmp_path / "a.nii.gz"]
    assert [total for _, _, total in steps] == [3, 3, 3]
    with pytest.raises(UserError):
        offers_of(tmp_path / "torn.nii.gz")


def test_chosen_series_and_frames_become_cases(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    series = two_series(images / "s")
    file = four_d(images / "a.nii.gz")
    for k, (chosen, ids) in enumerate(
        [
            ([Choice(series="series_5")], ["a", "s"]),
            (
                [Choice(series="series_3"), Choice(series="series_5")],
                ["a", "s_series_3", "s_series_5"],
            ),
            ([], ["a"]),
        ]
    ):
        choices = {series.absolute(): chosen, file.absolute(): [Choice(frame=2)]}
        study, _ = make_study(tmp_path / f"{k}.mlbseg", images, choices=choices)
        with study:
            assert [case.id for case in study.cases] == ids
            assert study.case("a").source.choice == Choice(frame=2)
            stored = np.asarray(study.arrays.open("a", ArrayName.IMAGE)[:])
    expected = np.asarray(load_nifti(file).dataobj)[..., 2].transpose(2, 1, 0)[:, ::-1, ::-1]
    np.testing.assert_array_equal(stored, expected)
