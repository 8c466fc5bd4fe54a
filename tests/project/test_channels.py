"""A study with several images of each case on the same voxels."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from older_study import made_older
from two_channels import NAMES, two_channel_case

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_image
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.schema import WITH_CHANNELS
from napari_mlbseg.project.importing.relocating import relocate
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.project.repairing.repair import repair
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.sharing.splitting import split
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.copies import copy_cases

FLAIR = ArrayName.CHANNEL_1


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """Two cases with T1 and FLAIR, the second one without a FLAIR of its own."""
    files = tmp_path / "files"
    with Study.create(tmp_path / "head.mlbseg", author="ada") as study:
        study.set_classes([LabelClass(1, "lesion", (1, 2, 3))])
        study.add_cases(
            [two_channel_case(files, "ann"), two_channel_case(files, "bo", filled=True)]
        )
        yield study


def test_each_channel_keeps_its_voxels_its_file_and_its_own_intensities(
    study: Study, tmp_path: Path
) -> None:
    study.close()
    with Study.open(study.path, writable=False) as again:
        assert again.channels == NAMES
        ann, bo = again.cases
        assert [one.name for one in ann.channels] == [one.name for one in bo.channels] == [*NAMES]
        (_, flair) = ann.channels
        path = tmp_path / "files" / "ann_flair.nii.gz"
        voxels, source = read_image(path)
        assert flair.image is not None
        assert (flair.image.path, flair.image.source) == (path, source)
        assert flair.image.intensity == Intensity.of(voxels.voxels) != ann.intensity
        np.testing.assert_array_equal(again.arrays.open("ann", FLAIR)[:], voxels.voxels)
        assert bo.channels[1].image is None
        assert not again.arrays.exists("bo", FLAIR)
        assert again.case("ann") == ann
    assert verify(study.path).findings == ()


def test_all_cases_of_a_study_have_its_channels(
    study: Study, tmp_path: Path, make_case: Callable[..., NewCase]
) -> None:
    other = two_channel_case(tmp_path / "files", "cy")
    with pytest.raises(UserError, match=r"T1, ADC, but the study has the channels T1, FLAIR"):
        study.add_cases([replace(other, further=(replace(other.further[0], name="ADC"),))])
    with pytest.raises(UserError, match=r"has one channel, but the study has the channels"):
        study.add_cases([make_case("cy")])
    twin = replace(other, further=(replace(other.further[0], name="t1"),))
    with (
        Study.create(tmp_path / "twin.mlbseg") as empty,
        pytest.raises(UserError, match=r"a name of its own, but got T1, t1"),
    ):
        empty.add_cases([twin])
    assert [case.id for case in study.cases] == ["ann", "bo"]
    study.add_cases([other])
    assert study.channels == NAMES


def test_a_study_with_one_channel_has_no_rows_of_channels(
    tmp_path: Path, make_case: Callable[..., NewCase]
) -> None:
    with Study.create(tmp_path / "plain.mlbseg") as study:
        study.add_cases([make_case()])
        assert study.channels == ("image",)
        assert study.cases[0].further == ()
        with pytest.raises(UserError, match=r"T1, FLAIR, but the study has one channel"):
            study.add_cases([two_channel_case(tmp_path, "ann")])
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as catalogue:
        rows = "SELECT (SELECT count(*) FROM channels) + (SELECT count(*) FROM channel_images)"
        assert catalogue.execute(rows).fetchone() == (0,)
    made_older(study.path, WITH_CHANNELS - 2)
    with Study.open(study.path, writable=False) as older:
        assert (older.channels, older.cases[0].further) == (("image",), ())
    with Study.open(study.path) as older:
        assert (older.channels, older.cases[0].further) == (("image",), ())


def test_a_lost_channel_is_made_again_from_its_own_file(study: Study, tmp_path: Path) -> None:
    voxels = study.arrays.open("ann", FLAIR)[:]
    study.close()
    shutil.rmtree(study.path / "arrays" / "ann" / "channel_1.zarr")
    assert any("channel 1 of ann" in one.what for one in verify(study.path).findings)
    flair = tmp_path / "files" / "ann_flair.nii.gz"
    shutil.move(flair, tmp_path / "kept.nii.gz")
    shutil.copy(tmp_path / "files" / "ann_t1.nii.gz", flair)
    (said,) = repair(study.path).left
    assert "ann_flair.nii.gz is not the image" in said
    shutil.move(tmp_path / "kept.nii.gz", flair)
    assert repair(study.path).done == ("The channel FLAIR of ann: made again from the files.",)
    with Study.open(study.path, writable=False) as again:
        np.testing.assert_array_equal(again.arrays.open("ann", FLAIR)[:], voxels)


def test_copies_have_all_channels_and_are_merged_only_with_the_same(
    study: Study, tmp_path: Path
) -> None:
    paths = split(study, tmp_path / "copies", {"Ada": ["ann"], "Ben": ["bo"]})
    with Study.open(paths["Ada"]) as ada, Study.open(paths["Ben"], writable=False) as ben:
        assert ada.channels == NAMES
        assert ada.cases == study.cases[:1]
        assert ada.merge(ben).cases == ("bo",)
        assert ada.cases == study.cases
        voxels = ada.arrays.open("ann", FLAIR)
        study.arrays.put("ann", FLAIR, two_channel_case(tmp_path / "other", "cyd").image, 0)
        with pytest.raises(UserError, match="its image differs"):
            ada.merge(study)
        assert not np.array_equal(voxels[:], study.arrays.open("ann", FLAIR)[:])
    copy_cases(study, study.cases, tmp_path / "copy.mlbseg")
    with Study.open(tmp_path / "copy.mlbseg", writable=False) as copy:
        assert copy.channels == NAMES
        assert copy.cases[1] == study.cases[1]


def test_files_of_channels_are_found_where_they_are_now(study: Study, tmp_path: Path) -> None:
    moved = (tmp_path / "files").rename(tmp_path / "moved")
    changed = relocate(study, moved)
    assert (changed.failures, changed.notes) == ((), ())
    image = study.case("ann").channels[1].image
    assert image is not None
    assert image.path == moved / "ann_flair.nii.gz"
    (moved / "ann_flair.nii.gz").rename(tmp_path / "alone.nii.gz")
    (note,) = relocate(study, moved).notes
    assert note.reason.startswith("The channel FLAIR of 'ann' is still at")


@pytest.mark.parametrize("table", ["channels", "channel_images"])
def test_damaged_rows_of_channels_are_told_and_come_from_log_or_backup(
    study: Study, table: str
) -> None:
    cases = study.cases
    study.back_up()
    study.close()
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as catalogue:
        named = (f"{table}_no_update",)
        [(trigger,)] = catalogue.execute("SELECT sql FROM sqlite_master WHERE name = ?", named)
        catalogue.execute(f"DROP TRIGGER {table}_no_update")
        catalogue.execute(f"UPDATE {table} SET place = place + 1 WHERE place = 1")
        catalogue.execute(trigger)
        catalogue.commit()
    assert "catalogue" in {one.where for one in verify(study.path).findings}
    repair(study.path)
    with Study.open(study.path, writable=False) as again:
        assert (again.channels, again.cases) == (NAMES, cases)
    assert verify(study.path).findings == ()
