"""A study on the disk: the folder ``NAME.mlbseg`` with human work, machine work and one writer."""

import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.arrays import sweep
from napari_mlbseg.project.arrays.adding import Adding
from napari_mlbseg.project.arrays.store import ARRAYS_NAME, ArrayStore
from napari_mlbseg.project.arrays.sweep import CHECKPOINTS_NAME
from napari_mlbseg.project.catalogue import checking
from napari_mlbseg.project.catalogue.amendments import Standing
from napari_mlbseg.project.catalogue.blind import Blind
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database, in_words
from napari_mlbseg.project.catalogue.extents import Extents
from napari_mlbseg.project.catalogue.log import AuditLog
from napari_mlbseg.project.catalogue.reviews import Reviews
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.runs import Runs
from napari_mlbseg.project.catalogue.unions import Unions
from napari_mlbseg.project.catalogue.verdicts import Verdicts
from napari_mlbseg.project.changes import Changes
from napari_mlbseg.project.folder.durable import make_folder
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.lock import WriterLock, current_user
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.labels import StudyLabels
from napari_mlbseg.project.merging import Merged, merge
from napari_mlbseg.project.parts import Parts
from napari_mlbseg.project.records.cases import Case, LabelClass, NewCase
from napari_mlbseg.project.records.damage import CatalogueReport
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState

SUFFIX = ".mlbseg"
CATALOGUE_NAME = "catalogue.sqlite"


class Study(AbstractContextManager["Study"]):
    """An open study; use `create` or `open`, and `close` it or use it in a ``with`` block.

    Several threads may use one study. Methods that record human work return once it is on the
    disk. Methods that change anything raise UserError if the study was opened for reading.

    Attributes
    ----------
    path, name
        The folder, and its name without the suffix.
    writable
        Whether it was opened for writing.
    checkpoint_path
        File in which the engine saves the state that a run resumes from. Call `require_writable`
        before writing there.
    slices
        Human work: the revisions and states of the slices.
    reviews
        Human work: what others said of accepted slices, and whether only approved ones teach.
    extents
        Human work: between which slices each class shows, and which slices that certifies as empty.
    arrays
        The images, and the arrays that the machine made of them.
    labels
        The working labels, which a person sees and exports, and the machine's labels alone.
    runs
        The runs of the engine, with their metrics.
    log
        The log of everything that was done.
    changes
        Renames, removes and restores cases.
    unions
        Slices that were united from copies of the study, and conflicts among them.
    blind
        Slices of a copy that its owner is to correct without seeing what others did to them.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder, read_labels
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> case = study.cases[0]
    >>> truth = read_labels(Path("truth/phantom_01.nii.gz"))[0].voxels  # z y x
    >>> key = SliceKey(case.id, case.axis, 12)
    >>> record = study.save_slice(key, truth.take(12, axis=case.axis), SliceState.CLEAN)
    >>> study.slices.clean()
    (SliceKey(case_id='phantom_01', axis=0, index=12),)
    >>> bool((study.labels.working(case.id)[12] == truth[12]).all())
    True
    >>> study.close()
    """

    def __init__(self, place: Place, database: Database, lock: WriterLock | None) -> None:
        self.path, self.name = place.folder, place.folder.stem
        self.writable = place.writable
        self.checkpoint_path = self.path / CHECKPOINTS_NAME / "latest.pt"
        self._place = place
        self._lock = lock
        self._database = database
        self._catalogue = Catalogue(database)
        verdicts = Verdicts(database)
        self.slices = Slices(database, self._catalogue, verdicts)
        self.reviews = Reviews(database, self.slices, verdicts)
        self.arrays = ArrayStore(self.path, place, self._catalogue)
        self.extents = Extents(database, self._catalogue, self.slices)
        self.labels = StudyLabels(self.arrays, self.slices, self._catalogue, self.extents)
        self.runs = Runs(database)
        self.log = AuditLog(database)
        self.changes = Changes(database, self._catalogue, self.arrays, self.runs)
        self.unions = Unions(database, self.slices)
        self.blind = Blind(database, self.slices)

    @classmethod
    def create(cls, path: Path, *, author: str | None = None) -> "Study":
        """Make an empty study, open for writing; `path` ends in .mlbseg and must not exist."""
        path = Path(path).absolute()
        if path.suffix != SUFFIX:
            raise UserError(f"A study is a folder named NAME{SUFFIX}, but got {path}.")
        if path.exists():
            raise UserError(f"{path} exists already. Open it, or choose another name.")
        try:
            make_folder(path)
        except OSError as error:
            raise UserError(f"{path} cannot be made ({error}). Choose another place.") from error
        place = Place(path)
        lock = WriterLock(place)
        try:
            lock.acquire()
            database = Database.create(
                path / CATALOGUE_NAME, place, author=author or current_user()
            )
            with database.transaction() as write:
                write.note("create study")
        except BaseException:
            _leave_nothing(place, lock)
            raise
        return cls(place, database, lock)

    @classmethod
    def open(cls, path: Path, *, writable: bool = True, author: str | None = None) -> "Study":
        """Open a study; raises StudyLocked if somebody else is writing to it.

        Opening for reading (``writable=False``) is always possible and changes nothing.
        """
        path = Path(path).absolute()
        if not (path / CATALOGUE_NAME).is_file():
            raise UserError(
                f"{path} is not a study: it has no {CATALOGUE_NAME}. Choose a folder NAME{SUFFIX} "
                "that this program made."
            )
        require_own(path, ARRAYS_NAME, CHECKPOINTS_NAME, *sweep.checkpoints_in(path))
        place = Place(path, writable=writable)
        lock = WriterLock(place) if writable else None
        if lock is not None:
            lock.acquire()
        try:
            database = Database(
                path / CATALOGUE_NAME, place, writable=writable, author=author or current_user()
            )
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        study = cls(place, database, lock)
        if lock is not None:
            try:
                study._sweep(deep=lock.after_crash)
            except BaseException:
                study.close()
                raise
        return study

    def _sweep(self, *, deep: bool) -> None:
        """Finish or delete what interrupted writers left."""
        kept, dropped = {}, []
        for case_id, standing in self._catalogue.ids().items():
            if standing is Standing.DROPPED:
                dropped.append(case_id)
            else:
                kept[case_id] = self._catalogue.edition(case_id)
        sweep.sweep(self.path, kept, dropped, deep=deep)

    def close(self) -> None:
        """Close the catalogue and release the lock; a second call does nothing.

        Afterwards nothing is written, even by code that still holds the study or one of its arrays.
        """
        self._place.leave()
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Close a study that was just made, and delete its folder unless it was replaced."""
        self._place.leave()
        self._database.close()
        _leave_nothing(self._place, self._lock)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def identity(self) -> str:
        """Identifies this study wherever its folder lies; a copy has the same identity."""
        return self._catalogue.identity()

    def require_writable(self) -> None:
        """Raise UserError if the study was opened for reading, StudyGone if its folder is gone."""
        self._place.require_writable()

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order that people gave them, without the background."""
        return self._catalogue.classes()

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels of every case, in their order; a single one is ``image``."""
        return self._catalogue.channels.names()

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Replace the classes, in this order; masks keep their values."""
        self._catalogue.set_classes(classes)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases in the order in which they were added, without removed ones."""
        return self._catalogue.cases()

    def case(self, case_id: str) -> Case:
        """One case by its id; an unknown one raises a UserError that lists the names."""
        return self._catalogue.case(case_id)

    def named(self, name: str) -> Case:
        """The case that people call so; raises the same error."""
        return self._catalogue.named(name)

    def set_axis(self, case_id: str, axis: int) -> None:
        """Annotate a case along another display axis; slices along the former one are kept."""
        if axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {axis}")
        self._catalogue.set_axis(case_id, axis)

    def damage(self) -> tuple[str, ...]:
        """A sentence for each thing that is damaged and passed over; empty for a sound study.

        Looks at what counts now; `verify` looks at everything.
        """
        missing = self._database.missing
        lost = [in_words(self._database.path, missing)] if missing else []
        revisions = map(str, self.slices.damaged())
        marks = (*self.extents.damaged(), *self.reviews.damaged(), *self.blind.damaged())
        return (*lost, *revisions, *marks, *self.runs.damaged())

    def check(self) -> CatalogueReport:
        """Look at all that the catalogue holds, also at what was superseded."""
        flaws = [*checking.flaws_in(self._database)]
        if self._database.missing:
            flaws.insert(0, in_words(self._database.path, self._database.missing))
        try:
            _ = self.cases
            flaws += self._odd_classes()
            flaws += [f"revision {number} is damaged: {why}" for number, why in self.slices.flaws()]
            flaws += [*self.runs.damaged(), *self.log.damaged()]
            [(revisions,)] = self._database.rows("SELECT count(*) FROM revisions")
        except Damaged as error:
            return CatalogueReport((*flaws, str(error)))
        unhashed, free = checking.unhashed(self._database), checking.free_pages(self._database)
        return CatalogueReport(tuple(dict.fromkeys(flaws)), revisions, unhashed, free)

    def _odd_classes(self) -> list[str]:
        """A sentence if the classes are not those that the log says were set last."""
        classes = [asdict(one) | {"color": list(one.color)} for one in self.classes]
        for line in [one for one in self.log.entries() if one.action == "set classes"][-1:]:
            named = line.details["classes"]
            same = len(named) == len(classes) and all(
                now[key] == value
                for now, then in zip(classes, named, strict=True)
                for key, value in then.items()
            )
            if not same:
                return [f"the classes are not those that line {line.number} of the log names"]
        return []

    def merge(self, other: "Study", chosen: Collection[str] | None = None) -> Merged:
        """Take the human work of a copy of this study that somebody else worked on.

        `chosen` are the ids of the cases to take (all by default); those that are not here come
        with their arrays. Merging again takes nothing, and the order of merges does not matter.
        Raises UserError if the classes differ, or the image of a case; nothing is taken then.
        """
        return merge(self._parts, other._parts, chosen)

    @property
    def _parts(self) -> Parts:
        return Parts(
            self.identity,
            self._database,
            self._catalogue,
            self.arrays,
            self.slices,
            self.extents,
            self.unions,
            self.reviews,
            self.blind,
            self.runs,
        )

    def back_up(self) -> Path:
        """Copy the catalogue, all human work, into a new backup in the study; returns its path.

        The last seven are kept. The study itself makes one before the first change of a day.
        """
        return self._database.back_up()

    def add_cases(self, new_cases: Iterable[NewCase]) -> tuple[Case, ...]:
        """Add all of the cases or none: after an error the study is unchanged.

        Takes one case after the other, so a generator keeps only one in memory.
        """
        with self.adding() as adding:
            for new in new_cases:
                adding.add(new)
            return adding.finish()

    def adding(self) -> Adding:
        """Add cases in a ``with`` block that can continue after a bad case, see `Adding`."""
        self.runs.require_none("add cases")
        return Adding(self._catalogue, self.arrays)

    def save_slice(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Save a person's mask as a draft or clean slice, see `Slices.save`."""
        return self.slices.save(key, mask, state)


def _leave_nothing(place: Place, lock: WriterLock | None) -> None:
    gone = place.gone
    if lock is not None:
        lock.release()
    if not gone:
        shutil.rmtree(place.folder, ignore_errors=True)
