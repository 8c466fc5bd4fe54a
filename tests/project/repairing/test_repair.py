"""Studies with real damage, verified and repaired."""

import random
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import nibabel
import numpy as np
import pytest
from flipped import flip
from killed import killer
from older_study import NEWEST, made_older

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.formats.registry import read_image, read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue import schema
from napari_mlbseg.project.catalogue.schema import WITH_HASHES
from napari_mlbseg.project.folder.lock import StudyLocked
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.repairing.repair import repair
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

OURS = {"application_id": schema.APPLICATION_ID, "user_version": NEWEST}
CLEAN, DRAFT = SliceState.CLEAN, SliceState.DRAFT
REPAIRED = "repair study"
SIDE = 100
KEY = SliceKey("scan", 0, 2)
BEFORE, LAST = 3, 9
"""Revisions of that slice: one of several before, and the last of the study."""


def mask_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 2, (SIDE, SIDE)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed study without backups: a case from files, nine revisions, a mark and a run."""
    rng = np.random.default_rng(5)
    affine = np.diag([-0.5, 0.5, 3.0, 1.0])
    image, rough = tmp_path / "scan.nii.gz", tmp_path / "rough.nii.gz"
    voxels = rng.normal(0, 9, (SIDE, SIDE, 8)).astype("f4")
    nibabel.save(nibabel.Nifti1Image(voxels, affine), image)
    labels = rng.integers(0, 2, (SIDE, SIDE, 8)).astype("u1")
    nibabel.save(nibabel.Nifti1Image(labels, affine), rough)
    with Study.create(tmp_path / "scan.mlbseg", author="ada") as study:
        study.set_classes([LabelClass(1, "organ", (1, 2, 3), 1)])
        (found, source), (initial, _) = read_image(image), read_labels(rough)
        study.add_cases([NewCase("scan", image, found, source, rough, initial)])
        for number in range(1, LAST):
            study.save_slice(SliceKey("scan", 0, (number - 1) % 6), mask_of(number), CLEAN)
        study.extents.mark("scan", 0, 1, Extent(0, 6))
        run = study.runs.start({"steps": 3}, seed=4, device="cpu")
        study.runs.log(run, 1, {"loss": 0.5})
        study.runs.finish(run, outcome="finished")
        study.arrays.create("scan", ArrayName.PREDICTION)
        study.save_slice(KEY, mask_of(LAST), CLEAN)
    shutil.rmtree(study.path / "backups")
    return study.path


def catalogue_of(folder: Path) -> Path:
    return folder / "catalogue.sqlite"


def everything(folder: Path) -> object:
    """All that a person did in a study, as it counts now."""
    with Study.open(folder, writable=False) as study:
        masks = {r: study.slices.mask(r.key).tobytes() for r in study.slices.records()}
        cases = [(case, study.extents.of(case.id)) for case in study.cases]
        done = [line for line in study.log.entries() if line.action != REPAIRED]
        return masks, study.runs.all(), cases, study.classes, done


def backed_up(folder: Path) -> Path:
    with Study.open(folder) as study:
        return study.back_up()


def stored_mask(folder: Path, revision: int) -> bytes:
    with closing(sqlite3.connect(catalogue_of(folder))) as connection:
        sql = "SELECT data FROM masks JOIN revisions ON mask = masks.number WHERE revisions.number"
        found: bytes = connection.execute(f"{sql} = ?", (revision,)).fetchone()[0]
        return found


def flip_mask(folder: Path, revision: int) -> None:
    flip(catalogue_of(folder), stored_mask(folder, revision)[:200], at=50, bits=4)


def whats(folder: Path) -> list[str]:
    return [found.what for found in verify(folder).findings]


def damaged_in(folder: Path) -> list[int]:
    """The damaged revisions."""
    return [int(what.split()[1]) for what in whats(folder) if what.startswith("revision")]


def test_a_sound_study_is_found_sound_and_stays_as_it_is(folder: Path) -> None:
    backed_up(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found = verify(folder)
    assert found.findings == ()
    assert (found.revisions, found.unhashed, found.arrays, found.backups) == (LAST, 0, 3, 1)
    told = repair(folder)
    assert (told.done, told.left) == ((), ())
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_damaged_mask_comes_back_from_a_backup(folder: Path) -> None:
    before = everything(folder)
    backed_up(folder)
    flip_mask(folder, LAST)
    assert damaged_in(folder) == [LAST]
    done = repair(folder).done
    assert done[0] == f"Revision {LAST} was restored."
    assert "the damaged one is kept in" in done[1]
    assert verify(folder).findings == ()
    assert everything(folder) == before


def test_a_damaged_mask_without_a_backup_gives_way_to_the_one_before(folder: Path) -> None:
    flip_mask(folder, LAST)
    assert f"Revision {LAST} of slice 2 along axis 0 of scan is lost" in repair(folder).done[0]
    assert verify(folder).findings == ()
    with Study.open(folder) as study:
        record = study.slices.record(KEY)
        assert record is not None
        assert record.state is DRAFT
        np.testing.assert_array_equal(study.slices.mask(KEY), mask_of(BEFORE))
        assert len(study.slices.records()) == 6
        assert study.log.entries()[-1].action == "repair study"
        assert study.log.entries()[-1].details["lost"] == [LAST]
        study.slices.set_state(KEY, CLEAN)
    assert verify(folder).findings == ()


def test_a_superseded_revision_is_verified_too(folder: Path) -> None:
    flip_mask(folder, BEFORE)
    assert damaged_in(folder) == [BEFORE]
    with Study.open(folder) as study:
        assert study.damage() == ()
    before = everything(folder)
    repair(folder)
    assert verify(folder).findings == ()
    assert everything(folder) == before


@pytest.mark.parametrize("at", [0, 6, 12, 13, -2, -40])
@pytest.mark.parametrize("bits", [1, 0x80])
def test_a_damaged_row_is_restored_from_the_log(folder: Path, at: int, bits: int) -> None:
    before = everything(folder)
    with closing(sqlite3.connect(catalogue_of(folder))) as connection:
        sql = "SELECT state, mask, author, created_at, mask_sha256, sha256 FROM revisions"
        state, mask, author, time, *rest = connection.execute(
            f"{sql} WHERE number = ?", (LAST,)
        ).fetchone()
    text = state.encode() + bytes([mask]) + (author + time).encode() + b"".join(rest)
    flip(catalogue_of(folder), text, at=at % len(text), bits=bits)
    assert len(whats(folder)) >= 1
    repaired = repair(folder)
    assert f"Revision {LAST} was restored." in repaired.done
    assert verify(folder).findings == ()
    assert everything(folder) == before


def test_a_case_that_changed_comes_back_from_a_backup(folder: Path) -> None:
    before = everything(folder)
    backed_up(folder)
    flip(catalogue_of(folder), b'"affine": [[', at=13)
    with pytest.raises(Damaged), Study.open(folder) as study:
        study.case("scan")
    assert any("the case 'scan'" in what for what in whats(folder))
    repair(folder)
    assert verify(folder).findings == ()
    assert everything(folder) == before


def test_a_mark_that_is_lost_leaves_no_older_one(folder: Path) -> None:
    with Study.open(folder) as study:
        study.extents.mark("scan", 0, 1, Extent(2, 5))
    with closing(sqlite3.connect(catalogue_of(folder))) as connection:
        sql = "SELECT author, created_at, sha256 FROM extents WHERE number = 2"
        author, at, sha256 = connection.execute(sql).fetchone()
    shutil.rmtree(folder / "backups")
    flip(catalogue_of(folder), (author + at).encode() + sha256, at=4)
    assert "Mark 2 of the ends of a class is lost. Mark them again." in repair(folder).done
    assert verify(folder).findings == ()
    with Study.open(folder, writable=False) as study:
        assert study.extents.of() == ()


def test_without_its_cases_nothing_is_changed(folder: Path) -> None:
    flip(catalogue_of(folder), b'"affine": [[', at=13)
    content = catalogue_of(folder).read_bytes()
    with pytest.raises(
        UserError, match=r"holds the cases scan as they were saved, so that nothing"
    ):
        repair(folder)
    assert catalogue_of(folder).read_bytes() == content
    assert not catalogue_of(folder).with_name("catalogue.sqlite.new").exists()


def pages(folder: Path) -> int:
    return catalogue_of(folder).stat().st_size // 4096


def ruin_page(folder: Path, number: int) -> None:
    content = bytearray(catalogue_of(folder).read_bytes())
    content[number * 4096 : (number + 1) * 4096] = b"\xa5" * 4096
    catalogue_of(folder).write_bytes(content)


@pytest.mark.parametrize("where", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_ruined_page_comes_back_from_a_backup(folder: Path, where: float) -> None:
    before = everything(folder)
    backed_up(folder)
    ruin_page(folder, int(where * pages(folder)))
    assert whats(folder) != []
    repair(folder)
    assert verify(folder).findings == ()
    assert everything(folder) == before


def test_a_ruined_page_of_masks_costs_a_few_revisions(folder: Path) -> None:
    """Without a backup: what is on other pages stays, and the rest is told."""
    content, packed = catalogue_of(folder).read_bytes(), stored_mask(folder, LAST)
    ruin_page(folder, content.index(packed[:60]) // 4096)
    done = repair(folder).done
    assert verify(folder).findings == ()
    with Study.open(folder, writable=False) as study:
        lost = study.log.entries()[-1].details["lost"]
        assert LAST in lost
        assert len(lost) < LAST
        for number in set(range(1, LAST + 1)) - set(lost):
            np.testing.assert_array_equal(study.slices.revision_mask(number), mask_of(number))
    assert sum("is lost" in line for line in done) == len(lost)


def test_a_file_that_is_no_database_any_more_is_made_from_the_backups(folder: Path) -> None:
    before = everything(folder)
    backed_up(folder)
    catalogue_of(folder).write_bytes(bytes(50_000))
    repair(folder)
    assert verify(folder).findings == ()
    assert everything(folder) == before


def test_without_a_backup_it_says_so(folder: Path) -> None:
    catalogue_of(folder).write_bytes(bytes(50_000))
    with pytest.raises(UserError, match="nor a backup in it can be read"):
        repair(folder)


def test_a_lost_log_is_given_up(folder: Path) -> None:
    backup = backed_up(folder)
    with Study.open(folder) as study:
        study.save_slice(KEY, mask_of(20), CLEAN)
    backup.replace(catalogue_of(folder))  # as if the log with the last change had been lost
    with pytest.raises(Damaged, match="lacks the last 1 changes"):
        Study.open(folder)
    assert "lacks the last 1 changes" in whats(folder)[0]
    assert repair(folder).done[0] == "The last 1 changes of the study are lost."
    assert verify(folder).findings == ()
    with Study.open(folder) as study:
        study.save_slice(KEY, mask_of(21), CLEAN)
    assert verify(folder).findings == ()


def test_changes_that_only_a_backup_has_do_not_come_back(folder: Path) -> None:
    """A study that somebody put back by a day stays there, whatever else is repaired."""
    earlier = catalogue_of(folder).read_bytes()
    with Study.open(folder) as study:
        study.save_slice(KEY, mask_of(20), CLEAN)
        study.back_up()
    catalogue_of(folder).write_bytes(earlier)
    (folder / "changes.count").unlink()
    flip_mask(folder, LAST)
    repair(folder)
    with Study.open(folder, writable=False) as study:
        np.testing.assert_array_equal(study.slices.mask(KEY), mask_of(LAST))


@pytest.mark.parametrize("version", range(2, NEWEST))
def test_an_older_study_is_repaired_too(folder: Path, version: int) -> None:
    made_older(folder, version)
    flip_mask(folder, LAST)
    repair(folder)
    found = verify(folder)
    assert found.findings == ()
    assert found.unhashed == (LAST - 1 if version < WITH_HASHES else 0)
    with Study.open(folder, writable=False) as study:
        np.testing.assert_array_equal(study.slices.mask(KEY), mask_of(BEFORE))


def test_arrays_are_made_again_or_removed(folder: Path) -> None:
    with Study.open(folder, writable=False) as study:
        image = np.asarray(study.arrays.open("scan", ArrayName.IMAGE)[:])
    arrays = folder / "arrays" / "scan"
    shutil.rmtree(arrays / "image.zarr")
    (arrays / "initial_labels.zarr" / "c" / "0" / "0" / "0").unlink()
    (arrays / "prediction.zarr" / "zarr.json").write_bytes(b"")
    assert [found.where for found in verify(folder).findings] == ["array"] * 3
    assert repair(folder).done == (
        "The prediction of scan: removed; the next training makes it again.",
        "The image and initial labels of scan: made again from the files.",
    )
    assert verify(folder).findings == ()
    with Study.open(folder, writable=False) as study:
        np.testing.assert_array_equal(study.arrays.open("scan", ArrayName.IMAGE)[:], image)


def test_an_image_whose_file_is_gone_is_left_and_told(folder: Path) -> None:
    shutil.rmtree(folder / "arrays" / "scan" / "image.zarr")
    (folder.parent / "scan.nii.gz").unlink()
    told = repair(folder)
    assert told.done == ()
    [left] = told.left
    assert "The image of scan" in left
    assert "is missing. Put the file back" in left


def test_a_damaged_checkpoint_is_found_and_removed(folder: Path) -> None:
    latest = folder / "checkpoints" / "latest.pt"
    latest.parent.mkdir()
    with zipfile.ZipFile(latest, "w") as parts:
        parts.writestr("data", b"parameters" * 100)
    assert verify(folder).findings == ()
    flip(latest, b"parameters", nth=50)
    [found] = verify(folder).findings
    assert found.where == "checkpoint"
    assert repair(folder).done == ("The checkpoint latest.pt: removed.",)
    assert verify(folder).findings == ()


def test_a_damaged_backup_is_found(folder: Path) -> None:
    path = backed_up(folder)
    path.write_bytes(path.read_bytes()[:9000])
    [found] = verify(folder).findings
    assert (found.where, str(path) in found.what) == ("backup", True)


def test_a_study_that_is_open_elsewhere_is_left_alone(folder: Path) -> None:
    with Study.open(folder):
        flip_mask(folder, LAST)
        with pytest.raises(StudyLocked):
            repair(folder)


def test_names_of_columns_from_a_stranger_are_not_run(folder: Path) -> None:
    with closing(sqlite3.connect(catalogue_of(folder), isolation_level=None)) as connection:
        connection.execute('ALTER TABLE runs ADD COLUMN "x) VALUES (1); DROP TABLE cases; --" TEXT')
        connection.execute("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM classes; END")
    before = verify(folder).findings
    assert "holds objects that this program does not make" in before[0].what
    repair(folder)
    assert verify(folder).findings == ()
    with Study.open(folder) as study:
        assert (len(study.cases), len(study.classes), len(study.runs.all())) == (1, 1, 1)


REPAIR = """
from napari_mlbseg.project.repairing.repair import repair
serve(lambda path: repair(Path(path)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill")
def test_a_repair_that_is_killed_anywhere_is_done_by_the_next_one(
    folder: Path, tmp_path: Path
) -> None:
    before = everything(folder)
    backed_up(folder)
    flip_mask(folder, LAST)
    shutil.rmtree(folder / "arrays" / "scan" / "image.zarr")
    steps = 0
    with killer(REPAIR) as work:
        killed = True
        while killed:
            steps += 1
            copy = tmp_path / "copy.mlbseg"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            killed = work.killed(steps, copy, copy)
            repair(copy)
            assert verify(copy).findings == (), steps
            assert everything(copy) == before
    assert steps > 15


def harmless_or_told(folder: Path, flips: int, seed: int, before: object) -> tuple[int, int]:
    """Flip single bits anywhere in the catalogue; returns how many were told, and repaired."""
    sound, random_ = catalogue_of(folder).read_bytes(), random.Random(seed)
    told = repaired = 0
    for _ in range(flips):
        content = bytearray(sound)
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        catalogue_of(folder).write_bytes(content)
        if not is_told(folder):
            assert everything(folder) == before
            continue
        told += 1
        if is_foreign(folder):
            continue
        repair(folder)
        assert verify(folder).findings == ()
        assert everything(folder) == before
        repaired += 1
        for leftover in folder.glob("backups/damaged-*"):
            shutil.rmtree(leftover)
    return told, repaired


def is_foreign(folder: Path) -> bool:
    """Whether what was hit is what says whose file it is, and of which version."""
    with closing(sqlite3.connect(catalogue_of(folder))) as connection:
        try:
            answers = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in OURS]
        except sqlite3.DatabaseError:
            return False
    return answers != list(OURS.values())


def is_told(folder: Path) -> bool:
    try:
        return bool(verify(folder).findings)
    except UserError:
        return True


def test_a_flipped_bit_is_harmless_or_told_and_repaired(folder: Path) -> None:
    before = everything(folder)
    backed_up(folder)
    told, repaired = harmless_or_told(folder, 40, seed=1, before=before)
    assert told >= repaired > 5


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_harmless_or_told_and_repaired(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    before = everything(folder)
    backed_up(folder)
    told, repaired = harmless_or_told(folder, 1000, seed=2, before=before)
    record_property("told", told)
    print(f"1,000 flips: {told} told, {repaired} repaired, {1000 - told} harmless")
    assert told >= repaired > 100
