"""Whatever is changed of a study, in whatever order: what a person accepted stays as it was."""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from changing import accept, make_study, write_image, write_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import killer
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.importing.relabelling import relabel
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

BACKGROUND = ""


class Person:
    """Somebody who changes a study at random, and remembers what was accepted in other words.

    Attributes
    ----------
    accepted
        For each slice its pixels as tokens; every class has had its own token since it was made.
    token_names
        What each token is called now; nothing for the background.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder, make_study(folder)
        self.token_names = {0: BACKGROUND} | {c.value: c.name for c in self.study.classes}
        self.token_of = {0: 0} | {c.value: c.value for c in self.study.classes}
        self.accepted: dict[SliceKey, NDArray[np.int64]] = {}
        self.names = {"a": "a", "b": "b"}
        self.made = 0
        for case_id in ("a", "b"):
            self._note(case_id, 1, self.study.slices.mask(SliceKey(case_id, 0, 1)))

    def accept(self, pick: int) -> None:
        case = self._any(pick)
        if case is not None:
            index = pick % 4
            self._note(case, index, accept(self.study, case, index, seed=pick))

    def add(self, pick: int) -> None:
        self.made += 1
        # The names of removed and of renamed cases come again.
        name = ("a", "b", f"n{self.made}")[pick % 3]
        images = self.folder / f"more{self.made}"
        write_image(images, name, pick)
        if name in self._kept().values():
            with pytest.raises(UserError, match="already"):
                import_folder(self.study, images)
            return
        [added] = import_folder(self.study, images).cases
        assert added.name == name
        assert added.id not in self.names
        self.names[added.id] = name

    def remove(self, pick: int) -> None:
        case = self._any(pick)
        if case is not None:
            self.study.changes.remove([case])

    def restore(self, pick: int) -> None:
        removed = self.study.changes.removed
        if removed:
            name = removed[pick % len(removed)].name
            if name in self._kept().values():
                with pytest.raises(UserError, match="already"):
                    self.study.changes.restore(name)
            else:
                self.study.changes.restore(name)

    def rename(self, pick: int) -> None:
        case = self._any(pick)
        if case is not None:
            name = f"patient {pick % 3}"
            if name in (self._kept() | {case: ""}).values():
                with pytest.raises(UserError, match="already"):
                    self.study.changes.rename(case, name)
            else:
                self.names[case] = self.study.changes.rename(case, name).name

    def relabel(self, pick: int) -> None:
        case = self._any(pick)
        if case is not None and self.study.classes:
            self.made += 1
            path = write_labels(self.folder / f"better{self.made}", "x", pick, high=2)
            value = self.study.classes[pick % len(self.study.classes)].value
            choice = Choice(renumber=((1, value),))
            relabel(self.study, path, [self.names[case]], choice=choice)

    def rename_class(self, pick: int) -> None:
        one = self.study.classes[pick % len(self.study.classes)]
        name = f"class {pick}"
        if name not in {c.name for c in self.study.classes}:
            others = [c for c in self.study.classes if c.value != one.value]
            change_classes(self.study, sorted([replace(one, name=name), *others], key=_value))
            self.token_names[self.token_of[one.value]] = name

    def merge(self, pick: int) -> None:
        classes = self.study.classes
        if len(classes) > 1:
            gone, into = (classes[(pick + k) % len(classes)] for k in (0, 1))
            target = (into.value, 0)[pick % 2]
            kept = [c for c in classes if c.value != gone.value]
            change_classes(self.study, kept, becoming={gone.value: target})
            before, after = self.token_of.pop(gone.value), self.token_of[target]
            for mask in self.accepted.values():
                mask[mask == before] = after

    def add_class(self, pick: int) -> None:
        free = min(set(range(1, 9)) - {c.value for c in self.study.classes})
        token = 100 + len(self.token_names)
        name = f"made {token}"
        classes = [*self.study.classes, LabelClass(free, name, (pick % 256, 0, 0))]
        change_classes(self.study, sorted(classes, key=_value))
        self.token_names[token], self.token_of[free] = name, token

    def compact(self, pick: int) -> None:
        if pick % 4 == 0:
            self.study.changes.compact()

    def reopen(self, pick: int) -> None:
        self.study.close()
        self.study = Study.open(self.folder / "cohort.mlbseg")

    def check(self, study: Study) -> None:
        called = {0: BACKGROUND} | {c.value: c.name for c in study.classes}
        as_names = np.vectorize(lambda value: called[value], otypes=[object])
        expected = np.vectorize(lambda token: self.token_names[token], otypes=[object])
        for key, tokens in self.accepted.items():
            np.testing.assert_array_equal(as_names(study.slices.mask(key)), expected(tokens))
        kept = {case.id: case.name for case in study.cases}
        assert set(study.slices.clean()) == {k for k in self.accepted if k.case_id in kept}
        assert kept.items() <= self.names.items()
        everyone = {case.id: case.name for case in study.changes.everyone}
        assert everyone == self.names
        for case in study.cases:
            shown = study.labels.working(case.id)
            assert set(np.unique(shown)) <= set(called)
            for key in self.accepted:
                if key.case_id == case.id:
                    np.testing.assert_array_equal(shown[key.index], study.slices.mask(key))

    def _note(self, case: str, index: int, mask: NDArray[np.uint8]) -> None:
        tokens = np.vectorize(lambda value: self.token_of[value], otypes=[np.int64])
        self.accepted[SliceKey(case, 0, index)] = tokens(mask)

    def _kept(self) -> dict[str, str]:
        return {case.id: case.name for case in self.study.cases}

    def _any(self, pick: int) -> str | None:
        kept = list(self._kept())
        return kept[pick % len(kept)] if kept else None


def _value(one: LabelClass) -> int:
    return one.value


DEEDS = (
    *("accept", "add", "remove", "restore", "rename", "relabel", "rename_class", "merge"),
    *("add_class", "compact", "reopen"),
)


@settings(max_examples=12)
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 11)), min_size=4, max_size=12))
def test_what_was_accepted_stays_whatever_is_changed(deeds: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder))
        try:
            for deed, pick in deeds:
                getattr(person, deed)(pick)
            person.check(person.study)
            with Study.open(person.study.path, writable=False) as reader:
                person.check(reader)
        finally:
            person.study.close()
        assert verify(person.study.path).findings == ()
        with Study.open(person.study.path) as again:
            person.check(again)


# --- killed in the middle ------------------------------------------------------------------------

PROGRAM = """
from pathlib import Path
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.relabelling import relabel
from napari_mlbseg.project.importing.relocating import relocate
from napari_mlbseg.project.study import Study

def work(path, deed):
    folder = Path(path).parent
    with Study.open(Path(path)) as study:
        if deed == "remove":
            study.changes.remove(["a"])
        elif deed == "restore":
            study.changes.restore("c")
        elif deed == "rename":
            study.changes.rename("a", "patient")
        elif deed == "relabel":
            relabel(study, folder / "better")
        elif deed == "relocate":
            relocate(study, folder / "moved")
        elif deed == "merge":
            organ, core, scar = study.classes
            change_classes(study, [core, scar], becoming={organ.value: core.value})
        elif deed == "compact":
            study.changes.compact()

serve(work)
"""


@pytest.fixture
def killed_study(tmp_path: Path) -> Path:
    """A study with a prediction of a, and with a case c that was removed."""
    with make_study(tmp_path) as study:
        write_image(tmp_path / "third", "c", 7)
        write_labels(tmp_path / "better", "a", 8)
        shutil.copytree(tmp_path / "images", tmp_path / "moved")
        import_folder(study, tmp_path / "third")
        accept(study, "c", 2, seed=3)
        study.changes.remove(["c"])
        prediction = np.random.default_rng(4).integers(0, 4, (4, 6, 7)).astype(np.uint8)
        study.arrays.create("a", ArrayName.PREDICTION, [(0, prediction)], axis=0)
        study.back_up()  # or the first change makes one
    return study.path


def state_of(path: Path) -> tuple[object, ...]:
    """All that a study says, after a writer has opened it and tidied up."""
    with Study.open(path) as study:
        cases = [(case.id, case.name, case.image_path, case.labels_path) for case in study.cases]
        removed = [case.id for case in study.changes.removed]
        shown = [study.labels.working(case.id).tolist() for case in study.cases]
        clean = [(key, study.slices.mask(key).tolist()) for key in study.slices.clean()]
        hidden = study.slices.mask(SliceKey("c", 0, 2)).tolist()
        classes = study.classes
    arrays = sorted(str(one.relative_to(path)) for one in (path / "arrays").glob("*/*"))
    return cases, removed, shown, clean, hidden, classes, arrays


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill")
@pytest.mark.parametrize(
    "deed",
    ["remove", "restore", "rename", "relabel", "relocate", "merge", "compact"],
)
def test_a_change_that_is_killed_anywhere_happened_as_a_whole_or_not_at_all(
    killed_study: Path, deed: str
) -> None:
    kept = killed_study.with_name("kept")
    shutil.copytree(killed_study, kept)

    def afresh() -> None:
        shutil.rmtree(killed_study)
        shutil.copytree(kept, killed_study)

    before = state_of(killed_study)
    seen = set[int]()
    with killer(PROGRAM) as kills:
        afresh()
        assert not kills.killed(0, killed_study, killed_study, deed)
        after = state_of(killed_study)
        assert after != before
        step, going_on = 1, True
        while going_on:
            afresh()
            going_on = kills.killed(step, killed_study, killed_study, deed)
            found = state_of(killed_study)
            assert found in (before, after), step
            seen.add(int(found == after))
            step += 1
        assert verify(killed_study).findings == ()
    assert seen == {0, 1}
