"""Cases are renamed, removed and restored; nothing of them is lost until somebody says so."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from changing import accept, make_study, write_image, write_labels
from flipped import flip

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.backups import backups_in
from napari_mlbseg.project.exporting.export import export_study
from napari_mlbseg.project.exporting.kinds import ExportKind
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.importing.relabelling import relabel
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.repairing.repair import repair
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def names(study: Study) -> list[str]:
    return [case.name for case in study.cases]


def test_exports_have_the_new_name_and_their_provenance_tells_the_old_ones(
    study: Study, tmp_path: Path
) -> None:
    study.changes.rename("a", "first visit")
    study.changes.rename("a", "baseline")
    written = export_study(study, tmp_path / "out", ExportKind.LABELS)
    assert [path.name for path in written] == ["baseline.nii.gz", "b.nii.gz"]
    told = json.loads((tmp_path / "out" / "baseline.provenance.json").read_text())
    assert (told["case"], told["former_names"]) == ("baseline", ["a", "first visit"])
    told = json.loads((tmp_path / "out" / "b.provenance.json").read_text())
    assert (told["case"], told["former_names"]) == ("b", [])
    [table] = export_study(study, tmp_path / "out", ExportKind.VOLUMES)
    assert {line.split(",")[0] for line in table.read_text().split()[1:]} == {"baseline", "b"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../elsewhere", "another folder"),
        ("a/b", "another folder"),
        ("", "empty"),
        ("..", "another folder"),
        (" a ", "space"),
        ("a\nb", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
        ("ä" * 76, "150 bytes"),
        ("B", "'b' already"),
        ("b", "'b' already"),
    ],
)
def test_a_name_that_is_no_good_changes_nothing(study: Study, name: str, why: str) -> None:
    log = study.log.entries()
    with pytest.raises(UserError, match=why):
        study.changes.rename("a", name)
    assert names(study) == ["a", "b"]
    assert study.log.entries() == log


def test_imported_names_are_checked_in_the_same_way(study: Study, tmp_path: Path) -> None:
    write_image(tmp_path / "more", "x" * 160, 5)
    write_image(tmp_path / "more", "good", 5)
    imported = import_folder(study, tmp_path / "more")
    assert [case.name for case in imported.cases] == ["good"]
    [failure] = imported.failures
    assert "more than 150 bytes" in failure.reason


def test_a_case_may_be_called_otherwise_in_upper_and_lower_case(study: Study) -> None:
    assert study.changes.rename("a", "A").name == "A"


def test_a_former_name_is_free_for_another_case(study: Study, tmp_path: Path) -> None:
    study.changes.rename("a", "baseline")
    write_image(tmp_path / "more", "a", 9)
    [added] = import_folder(study, tmp_path / "more").cases
    assert (added.name, added.id) == ("a", "a~2")
    assert study.named("a").id == "a~2"
    assert study.named("baseline").id == "a"
    assert study.changes.former_names("a~2") == ()
    assert len(study.slices.clean()) == 2
    assert study.arrays.has("a~2", ArrayName.IMAGE)


def test_a_removed_case_is_nowhere_and_comes_back_as_it_was(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(0, 2))
    before = study.cases, study.slices.clean(), study.extents.of(), study.labels.working("a")
    study.changes.remove(["a"])
    assert names(study) == ["b"]
    assert {key.case_id for key in study.slices.clean()} == {"b"}
    assert study.extents.of() == ()
    assert study.extents.certified() == {}
    with pytest.raises(UserError, match="was removed from this study"):
        study.case("a")
    with pytest.raises(UserError, match=r"no case 'a' in this study\. Its cases: b\."):
        study.named("a")
    with pytest.raises(UserError, match="removed"):
        accept(study, "a", 0, seed=1)
    study.close()
    with Study.open(study.path) as again:
        again.changes.restore("a")
        now = again.cases, again.slices.clean(), again.extents.of(), again.labels.working("a")
        assert now[:3] == before[:3]
        np.testing.assert_array_equal(now[3], before[3])


def test_all_of_several_cases_are_removed_or_none(study: Study) -> None:
    with pytest.raises(UserError, match="no case 'c'"):
        study.changes.remove(["a", "c"])
    assert names(study) == ["a", "b"]


def test_of_removed_namesakes_the_last_one_comes_back(study: Study, tmp_path: Path) -> None:
    study.changes.remove(["a"])
    write_image(tmp_path / "more", "a", 9)
    [second] = import_folder(study, tmp_path / "more").cases
    with pytest.raises(UserError, match="'a' already"):
        study.changes.restore("a")
    study.changes.remove([second.id])
    assert study.changes.restore("a").id == second.id
    study.changes.rename(second.id, "other")
    assert study.changes.restore("a").id == "a"
    with pytest.raises(UserError, match=r"no removed case 'a' to restore. Removed are: none\."):
        study.changes.restore("a")


def test_compacting_backs_up_and_drops_arrays_but_no_work_of_a_person(study: Study) -> None:
    mask = study.slices.mask(SliceKey("a", 0, 1))
    study.changes.remove(["a"])
    shutil.rmtree(study.path / "backups")  # two within a second would have one name
    assert study.changes.compact() == ("a",)
    assert len(backups_in(study.path)) == 1
    assert not (study.path / "arrays" / "a").exists()
    with pytest.raises(UserError, match="no removed case"):
        study.changes.restore("a")
    np.testing.assert_array_equal(study.slices.mask(SliceKey("a", 0, 1)), mask)
    assert study.changes.compact() == ()
    assert [one.action for one in study.log.entries()][-1] == "drop case"


def test_everything_can_be_read_while_it_changes(study: Study) -> None:
    with Study.open(study.path, writable=False) as reader:
        study.changes.rename("a", "baseline")
        assert names(reader) == ["baseline", "b"]
        study.changes.remove(["b"])
        assert names(reader) == ["baseline"]
        assert {key.case_id for key in reader.slices.clean()} == {"a"}
        organ, core, scar = study.classes
        change_classes(study, [core, scar], becoming={organ.value: core.value})
        assert not (reader.labels.working("a") == organ.value).any()
        np.testing.assert_array_equal(reader.labels.working("a"), study.labels.working("a"))
        for change in (
            lambda: reader.changes.rename("a", "x"),
            lambda: reader.changes.remove(["a"]),
            lambda: reader.changes.restore("b"),
            lambda: change_classes(reader, [core], becoming={scar.value: 0}),
        ):
            with pytest.raises(UserError, match="for reading only"):
                change()


def test_while_a_run_goes_on_only_names_change(study: Study, tmp_path: Path) -> None:
    organ, core, scar = study.classes
    write_labels(tmp_path / "better", "a", 9)
    study.changes.remove(["b"])
    before = names(study), study.classes, study.labels.working("a")
    with study.runs.going_on():
        for change in (
            lambda: study.changes.remove(["a"]),
            lambda: study.changes.restore("b"),
            lambda: study.changes.compact(),
            lambda: relabel(study, tmp_path / "better"),
            lambda: import_folder(study, tmp_path / "images"),
            lambda: change_classes(study, [core, scar], becoming={organ.value: 0}),
        ):
            with pytest.raises(UserError, match="A training is going on"):
                change()
        study.changes.rename("a", "baseline")
    assert names(study) == ["baseline"]
    assert study.classes == before[1]
    np.testing.assert_array_equal(study.labels.working("a"), before[2])
    study.changes.remove(["a"])


def test_a_damaged_change_is_told_and_repaired(study: Study) -> None:
    study.changes.rename("a", "baseline")
    organ, core, scar = study.classes
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    study.back_up()
    study.changes.rename("a", "second visit")
    shown = study.labels.working("a")
    study.close()
    flip(study.path / "catalogue.sqlite", b"asecond visit", at=3)
    with (
        pytest.raises(Damaged, match="does not describe what was changed of 'a'"),
        Study.open(study.path) as damaged,
    ):
        _ = damaged.cases
    told = repair(study.path)
    assert any("of the case 'a', is lost" in line for line in told.done)
    with Study.open(study.path) as again:
        assert names(again) == ["baseline", "b"]
        np.testing.assert_array_equal(again.labels.working("a"), shown)
        assert again.check().flaws == ()


def test_a_damaged_merge_is_made_again_from_the_log(study: Study) -> None:
    organ, core, scar = study.classes
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    expected = study.slices.mask(SliceKey("a", 0, 1))
    study.close()
    shutil.rmtree(study.path / "backups")
    with closing(sqlite3.connect(study.path / "catalogue.sqlite", isolation_level=None)) as raw:
        raw.execute("DROP TRIGGER moves_no_update")
        raw.execute("UPDATE moves SET becomes = 3")
    with Study.open(study.path, writable=False) as reader:
        assert any("row 1 of moves is not as it was saved" in line for line in reader.check().flaws)
        with pytest.raises(UserError, match="which classes were merged"):
            reader.slices.mask(SliceKey("a", 0, 1))
    told = repair(study.path)
    assert any("Move 1 of a class was made again from the log" in line for line in told.done)
    with Study.open(study.path) as again:
        np.testing.assert_array_equal(again.slices.mask(SliceKey("a", 0, 1)), expected)
        assert again.check().flaws == ()


@pytest.mark.parametrize(
    ("tampered", "why"),
    [
        ("UPDATE amendments SET name = '../../x', sha256 = :hash", "not a valid name"),
        ("UPDATE amendments SET edition = '/../../x', sha256 = :hash", "does not describe"),
        ("UPDATE amendments SET standing = 'both', sha256 = :hash", "does not describe"),
        ("UPDATE moves SET becomes = 300, sha256 = :hash", "does not describe"),
    ],
)
def test_a_change_that_a_stranger_made_up_is_refused(study: Study, tampered: str, why: str) -> None:
    organ, core, scar = study.classes
    change_classes(study, [core, scar], becoming={organ.value: core.value})
    study.close()
    table, columns = (
        ("moves", hashes.MOVE) if "moves" in tampered else ("amendments", hashes.AMENDMENT)
    )
    with closing(sqlite3.connect(study.path / "catalogue.sqlite", isolation_level=None)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"DROP TRIGGER {table}_no_update")
        raw.execute(tampered, {"hash": b""})
        for number, *row in raw.execute(f"SELECT number, {columns} FROM {table}").fetchall():
            digest = hashes.sha256_of(*row)
            raw.execute(f"UPDATE {table} SET sha256 = ? WHERE number = ?", (digest, number))
    with pytest.raises(Damaged, match=why), Study.open(study.path, writable=False) as reader:
        _ = [reader.labels.working(case.id) for case in reader.cases]
