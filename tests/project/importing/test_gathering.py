"""An import that is broken off leaves nothing half done, however it ends."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.study import Study

MakeCase = Callable[..., NewCase]


def contents(study: Study) -> tuple[object, ...]:
    """What a study holds, on the disk too."""
    folders = sorted(path.name for path in (study.path / "arrays").iterdir())
    return [case.id for case in study.cases], study.classes, folders, study.log.entries()


def opened_again(study: Study) -> tuple[object, ...]:
    study.close()
    with Study.open(study.path) as again:
        return contents(again)


def test_cases_that_nobody_goes_on_with_leave_nothing(study: Study, make_case: MakeCase) -> None:
    def one_after_the_other() -> Iterator[str]:
        with study.adding() as adding:
            for name in ("b", "c"):
                adding.add(make_case(name, labels=True))
                yield name
            adding.finish()

    before = contents(study)
    cases = one_after_the_other()
    assert next(cases) == "b"
    assert (study.path / "arrays" / "b").is_dir()
    del cases  # nobody asks for the next one
    assert contents(study) == before
    assert opened_again(study) == before


def test_a_block_that_is_not_finished_leaves_nothing(study: Study, make_case: MakeCase) -> None:
    before = contents(study)
    with study.adding() as adding:
        adding.add(make_case("b"))
    assert contents(study) == before
    assert opened_again(study) == before


def test_a_bad_case_does_not_take_the_others_along(study: Study, make_case: MakeCase) -> None:
    with study.adding() as adding:
        adding.add(make_case("b"))
        with pytest.raises(UserError, match="second case 'B'"):
            adding.add(make_case("B"))
        assert [case.id for case in study.cases] == ["a"]
        added = adding.finish()
    assert [case.id for case in added] == ["b"]
    assert [case.id for case in study.cases] == ["a", "b"]


def test_cases_and_classes_come_together_or_not_at_all(study: Study, make_case: MakeCase) -> None:
    before, known = contents(study), LabelClass(1, "organ", (200, 30, 30))
    with study.adding() as adding:
        adding.add(make_case("b"))
        with pytest.raises(UserError, match="Two classes have the same value"):
            adding.finish((known, known))
    assert contents(study) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from napari_mlbseg.project.catalogue.database import Transaction
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.study import Study

def progress(what, *_):
    if what == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

def note(write, action, *arguments, **details):
    progress(action)
    noted(write, action, *arguments, **details)

noted, Transaction.note = Transaction.note, note

path, folder = Path(sys.argv[1]), Path(sys.argv[2])
with Study.open(path) as study:
    import_folder(study, folder / "images", folder / "labels", progress=progress)
"""


@pytest.mark.parametrize(
    "when", ["Importing b.nii", "Importing c.nii", "Imported", "set classes", "add case"]
)
def test_an_import_that_is_killed_leaves_neither_cases_nor_classes(
    study: Study, tmp_path: Path, other_process: Callable[..., subprocess.Popen[str]], when: str
) -> None:
    study.set_classes([])
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        for case in ("b", "c"):
            nib.save(
                nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)),
                tmp_path / name / f"{case}.nii",
            )
    before = contents(study)
    study.close()
    process = other_process(KILLED, study.path, tmp_path, when)
    process.communicate(timeout=600)
    assert process.returncode < 0
    with Study.open(study.path) as again:
        assert contents(again) == before
        imported = import_folder(again, tmp_path / "images", tmp_path / "labels")
        assert [case.id for case in imported.cases] == ["b", "c"]
        assert [c.value for c in again.classes] == [1]
