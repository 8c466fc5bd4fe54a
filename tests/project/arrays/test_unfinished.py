"""Kills and full disks while arrays are made: what is there is whole, and nothing is left over."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.folder.durable import put_in_place, settle
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill")

LEFTOVERS = (".new", ".old", ".partial", ".unfinished", ".importing")

# Imports are done once; each attempt is a fork that is killed just before its n-th file operation.
KILL_EVERYWHERE = """
import json, os, shutil, signal, sys
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
from pathlib import Path
import numpy as np
import zarr
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

original, work, act = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
GEOMETRY = Geometry.from_affine((5, 4, 3), np.diag([-1.0, -1.0, 3.0, 1.0]))
NEW = np.full((3, 4, 5), 7, np.uint8)

def blocks():
    for start in range(3):
        yield start, NEW[start : start + 1]

def replace(study):
    study.arrays.create("a", ArrayName.PREDICTION, blocks())

def step_by_step(study):
    unfinished = study.arrays.begin("a", ArrayName.PREDICTION, 0)
    for block in blocks():
        unfinished.write(*block)
    unfinished.finish()

def add(study):
    image, labels = Volume(NEW.astype("i2"), GEOMETRY), Volume(NEW, GEOMETRY)
    new = NewCase("b", Path("/b"), image, SourceInfo("nifti", b""), Path("/c"), labels)
    study.add_cases([new])

def look(study):
    seen = {}
    for case in study.cases:
        for name in ArrayName:
            if study.arrays.has(case.id, name):
                values = np.unique(np.asarray(study.arrays.open(case.id, name)[:])).tolist()
                seen[case.id + " " + name] = values
    return [[case.id for case in study.cases], seen]

def in_fork(what):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(what()).encode())
            os._exit(0)
        finally:
            import traceback
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, "an attempt failed"
    return not os.WIFSIGNALED(status), json.loads(said) if said else None

def attempt(number):
    left = number
    def hook(event, arguments):
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    study = Study.open(work)
    sys.addaudithook(hook)
    globals()[act](study)

def seen(writable):
    with Study.open(work, writable=writable) as study:
        return look(study)

number, survived = 0, False
while not survived:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(original, work)
    survived, _ = in_fork(lambda: attempt(number))
    _, answers = in_fork(lambda: [seen(writable) for writable in (False, True)])
    print(json.dumps([*answers, sorted(str(p) for p in work.rglob("*"))]), flush=True)
    number += 1
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A closed study with one case of 3 x 4 x 5 voxels and its imported labels, all 2."""
    from napari_mlbseg.formats.source import SourceInfo
    from napari_mlbseg.project.records.cases import NewCase
    from napari_mlbseg.volume import Geometry, Volume

    geometry = Geometry.from_affine((5, 4, 3), np.diag([-1.0, -1.0, 3.0, 1.0]))
    image = Volume(np.full((3, 4, 5), 5, np.int16), geometry)
    labels = Volume(np.full((3, 4, 5), 2, np.uint8), geometry)
    with Study.create(tmp_path / "small.mlbseg") as study:
        study.add_cases(
            [NewCase("a", Path("/a"), image, SourceInfo("nifti", b""), Path("/l"), labels)]
        )
    return study.path


def killed_everywhere(
    other_process: Callable[..., subprocess.Popen[str]], path: Path, act: str
) -> list[tuple[list[Any], list[Any]]]:
    """What a reader and then a writer sees after a kill before each file operation."""
    process: Any = other_process(KILL_EVERYWHERE, path, path.parent / "work.mlbseg", act)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert len(answers) > 10  # each had another operation before the kill
    for _, _, files in answers:
        assert [file for file in files if file.endswith(LEFTOVERS)] == []
    for _, (cases, _), files in answers:
        folders = {Path(file).name for file in files if Path(file).parent.name == "arrays"}
        assert folders == set(cases)
    return [(reader, writer) for reader, writer, _ in answers]


OLD = {"a image": [5], "a initial_labels": [2]}
NEW = {"a prediction": [7]}


def test_killed_initial_labels_are_whole_or_absent(
    other_process: Callable[..., subprocess.Popen[str]], small: Path
) -> None:
    answers = killed_everywhere(other_process, small, "step_by_step")
    for pair in answers:
        for cases, seen in pair:
            assert cases == ["a"]
            assert seen in (OLD, OLD | NEW)
    assert answers[0] == ([["a"], OLD],) * 2
    assert answers[-1] == ([["a"], OLD | NEW],) * 2


def test_a_prediction_that_is_replaced_is_there_all_the_time(
    other_process: Callable[..., subprocess.Popen[str]], small: Path
) -> None:
    with Study.open(small) as study:
        study.arrays.create("a", ArrayName.PREDICTION, [(0, np.full((3, 4, 5), 4, np.uint8))])
    answers = killed_everywhere(other_process, small, "replace")
    for pair in answers:
        for _, seen in pair:
            assert seen in (OLD | {"a prediction": [4]}, OLD | NEW)
    assert answers[-1] == ([["a"], OLD | NEW],) * 2


def test_a_killed_import_leaves_a_whole_case_or_none(
    other_process: Callable[..., subprocess.Popen[str]], small: Path
) -> None:
    answers = killed_everywhere(other_process, small, "add")
    both = OLD | {"b image": [7], "b initial_labels": [7]}
    for pair in answers:
        for answer in pair:
            assert answer in ([["a"], OLD], [["a", "b"], both])
    assert answers[-1] == ([["a", "b"], both],) * 2


def test_a_killed_import_does_not_lend_its_labels_to_the_next(
    small: Path, make_case: Callable[..., NewCase]
) -> None:
    with Study.open(small) as study:
        stale = study.path / "arrays" / "b" / "initial_labels.zarr"
        shutil.copytree(study.path / "arrays" / "a" / "initial_labels.zarr", stale)
        study.add_cases([make_case("b")])
        assert study.case("b").labels_path is None
        assert not study.arrays.has("b", ArrayName.INITIAL_LABELS)


def test_blocks_that_cannot_be_had_leave_what_was_there(study: Study) -> None:
    def blocks(*, until: int) -> Iterator[tuple[int, NDArray[Any]]]:
        for start in range(until):
            yield start, np.full((1, 7, 8), 3, np.uint8)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        study.arrays.create("a", ArrayName.PREDICTION, blocks(until=4))
    assert not study.arrays.has("a", ArrayName.PREDICTION)
    study.arrays.create("a", ArrayName.PREDICTION, [(0, np.ones((6, 7, 8), np.uint8))])
    with pytest.raises(UserError, match="no more"):
        study.arrays.create("a", ArrayName.PREDICTION, blocks(until=4))
    assert np.asarray(study.arrays.open("a", ArrayName.PREDICTION)[:]).min() == 1
    names = {p.name for p in (study.path / "arrays" / "a").iterdir()}
    assert names == {"image.zarr", "prediction.zarr"}


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

def with_room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def refused(what):
    try:
        what()
    except UserError as error:
        print(error, flush=True)

noise = np.random.default_rng(0).integers(0, 250, (6, 7, 8)).astype(np.uint8)
key = SliceKey("a", 0, 1)
with Study.open(Path(sys.argv[1])) as study:
    blocks = [(i, noise[i : i + 1]) for i in range(6)]
    study.arrays.create("a", ArrayName.PROPOSED_LABELS, blocks)
    with_room(20)
    refused(lambda: study.arrays.create("a", ArrayName.PREDICTION, blocks))
    print(sorted(p.name for p in (study.path / "arrays" / "a").iterdir()), flush=True)
    refused(lambda: study.arrays.write("a", ArrayName.PROPOSED_LABELS, 0, 2, noise[:1] + 1))
    refused(lambda: study.save_slice(key, noise[1], SliceState.CLEAN))
    with_room(resource.RLIM_INFINITY)
    study.save_slice(key, noise[2], SliceState.CLEAN)
"""


def test_a_full_disk_is_told_and_breaks_nothing(
    study: Study, other_process: Callable[..., subprocess.Popen[str]]
) -> None:
    study.close()
    process: Any = other_process(FULL, study.path)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    told = out.splitlines()
    assert told.pop(1) == "['image.zarr', 'proposed_labels.zarr']"
    assert len(told) == 3
    assert "prediction.zarr could not be read or written" in told[0]
    assert "proposed_labels.zarr could not be read or written" in told[1]
    assert "catalogue.sqlite could not be" in told[2]
    noise = np.random.default_rng(0).integers(0, 250, (6, 7, 8)).astype(np.uint8)
    with Study.open(study.path) as again:
        assert not again.arrays.has("a", ArrayName.PREDICTION)
        np.testing.assert_array_equal(again.arrays.open("a", ArrayName.PROPOSED_LABELS)[:], noise)
        (record,) = again.slices.history(SliceKey("a", 0, 1))
        np.testing.assert_array_equal(again.slices.revision_mask(record.revision), noise[2])
    left = [p for p in study.path.rglob("*") if p.name.endswith(LEFTOVERS)]
    assert left == []


WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study

study = Study.open(Path(sys.argv[1]))
for value in itertools.count():
    block = np.full((6, 7, 8), value % 200 + 1, np.uint8)
    study.arrays.create("a", ArrayName.PREDICTION, [(0, block)])
    study.arrays.write("a", ArrayName.PREDICTION, 0, 0, block)
    print(value, flush=True)
"""


@pytest.mark.parametrize("rounds", [1, 3, 7, 20])
def test_kills_at_any_time_leave_whole_slices_and_no_leftovers(
    study: Study, other_process: Callable[..., subprocess.Popen[str]], rounds: int
) -> None:
    study.close()
    process: Any = other_process(WRITE_FOREVER, study.path)
    for _ in range(rounds):
        process.stdout.readline()
    process.kill()
    process.wait(timeout=600)
    with Study.open(study.path) as again:
        seen = np.asarray(again.arrays.open("a", ArrayName.PREDICTION)[:])
        assert seen.min() == seen.max() > 0
    left = [p for p in study.path.rglob("*") if p.name.endswith(LEFTOVERS)]
    assert left == []


def test_leftovers_of_any_writer_are_swept(study: Study) -> None:
    arrays = study.path / "arrays"
    study.arrays.create("a", ArrayName.PREDICTION, [(0, np.ones((6, 7, 8), np.uint8))])
    study.close()
    (study.path / "writer.json").write_text("{}", encoding="utf-8")  # a writer that was killed
    chunk = arrays / "a" / "prediction.zarr" / "c" / "0" / "0" / "0"
    (chunk.parent / "0.f00.partial").write_bytes(bytes(9))
    (study.path / "checkpoints").mkdir()
    (study.path / "checkpoints" / "latest.unfinished").write_bytes(bytes(9))
    (study.path / "checkpoints" / "latest.pt").write_bytes(bytes(9))
    for name in ("proposed_labels.new", "prediction.old", "prediction.new"):
        shutil.copytree(arrays / "a" / "image.zarr", arrays / "a" / name)
    os.rename(arrays / "a" / "image.zarr", arrays / "a" / "image.old")
    shutil.copytree(arrays / "a" / "image.old", arrays / "half")
    (arrays / "half" / ".importing").touch()
    with Study.open(study.path, writable=False) as reader:
        assert reader.arrays.read("a", ArrayName.IMAGE, 0, 0).any()
    with Study.open(study.path) as again:
        assert again.arrays.read("a", ArrayName.IMAGE, 0, 0).any()
        assert np.asarray(again.arrays.open("a", ArrayName.PREDICTION)[:]).min() == 1
    assert [p.name for p in sorted(arrays.iterdir())] == ["a"]
    assert [p.name for p in sorted((arrays / "a").iterdir())] == ["image.zarr", "prediction.zarr"]
    assert [p.name for p in (study.path / "checkpoints").iterdir()] == ["latest.pt"]
    assert chunk.is_file()
    assert [p for p in study.path.rglob("*.partial")] == []


def test_a_folder_that_cannot_be_put_in_place_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.zarr"
    for folder, text in ((path, "old"), (tmp_path / "x.new", "new")):
        folder.mkdir()
        (folder / "file").write_text(text)
    replace = os.replace

    def refuses_the_new(source: Path, target: Path) -> None:
        if Path(source).suffix == ".new":
            raise PermissionError("in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuses_the_new)
    with pytest.raises(PermissionError):
        put_in_place(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    assert (path / "file").read_text() == "old"
    settle(path)
    assert (path / "file").read_text() == "old"


def test_human_work_is_no_leftover(study: Study) -> None:
    study.save_slice(SliceKey("a", 0, 0), np.ones((7, 8), np.uint8), SliceState.CLEAN)
    before = study.log.entries()
    study.close()
    (study.path / "writer.json").write_text("{}", encoding="utf-8")
    (study.path / "arrays" / "a" / ".importing").touch()  # killed right after the commit
    with Study.open(study.path) as again:
        assert again.log.entries() == before
        assert again.arrays.has("a", ArrayName.IMAGE)
        assert again.slices.clean() == (SliceKey("a", 0, 0),)
