"""A study on disk: the folder ``NAME.mlbseg`` with human work, machine work and one writer."""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import sweep
from napari_mlbseg.project.arrays.adding import Adding
from napari_mlbseg.project.arrays.store import ARRAYS_NAME, ArrayStore
from napari_mlbseg.project.arrays.sweep import CHECKPOINTS_NAME
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.log import AuditLog
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.runs import Runs
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.lock import WriterLock, current_user
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.labels import StudyLabels
from napari_mlbseg.project.records.cases import Case, LabelClass, NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState

SUFFIX = ".mlbseg"
CATALOGUE_NAME = "catalogue.sqlite"


class Study(AbstractContextManager["Study"]):
    """An open study; use `create` or `open`, and `close` it or use it in a ``with`` block.

    Several threads may use one study. Every method that records human work returns when it is
    on the disk. Methods that change anything raise UserError in a study opened for reading.

    Attributes
    ----------
    path, name
        The folder, and its name without the suffix.
    writable
        Whether it was opened for writing.
    checkpoint_path
        Where the engine keeps the state from which a run goes on. Whoever writes there calls
        `require_writable` first.
    slices
        What a person did to the slices.
    arrays
        What the machine made of each case, and the images.
    labels
        The labels in force: what a person sees and what is exported.
    runs
        The runs of the engine and what they measured.
    log
        Everything that was done, line by line.

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
        self.slices = Slices(database, self._catalogue)
        self.arrays = ArrayStore(self.path, place, self._catalogue)
        self.labels = StudyLabels(self.arrays, self.slices, self._catalogue)
        self.runs = Runs(database)
        self.log = AuditLog(database)

    @classmethod
    def create(cls, path: Path, *, author: str | None = None) -> "Study":
        """Make an empty study, open for writing; `path` ends in .mlbseg and must not exist."""
        path = Path(path).absolute()
        if path.suffix != SUFFIX:
            raise UserError(f"A study is a folder NAME{SUFFIX}, but got {path}.")
        if path.exists():
            raise UserError(f"{path} exists already. Open it, or choose another name.")
        try:
            path.mkdir(parents=True)
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
        """Open a study; raises StudyLocked where somebody else is writing to it.

        Reading (``writable=False``) is possible at any time and changes nothing.
        """
        path = Path(path).absolute()
        if not (path / CATALOGUE_NAME).is_file():
            raise UserError(
                f"{path} is not a study: it has no {CATALOGUE_NAME}. Choose a folder NAME{SUFFIX} "
                "that was made by this program."
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
                sweep.sweep(path, {case.id for case in study.cases}, deep=lock.after_crash)
            except BaseException:
                study.close()
                raise
        return study

    def close(self) -> None:
        """Close the catalogue and give the lock back; a second call does nothing.

        From then on nothing is written, whoever still has the study or one of its arrays.
        """
        self._place.leave()
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Close a study that was just made and delete its folder, if that is still its own."""
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
        """Tells this study from every other, wherever its folder lies; a copy has the same."""
        return self._catalogue.identity()

    def require_writable(self) -> None:
        """Raise UserError in a study opened for reading, StudyGone where its folder is gone."""
        self._place.require_writable()

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in order of their values, without the background."""
        return self._catalogue.classes()

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Replace the classes; masks keep their values."""
        self._catalogue.set_classes(classes)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases in the order in which they were added."""
        return self._catalogue.cases()

    def case(self, case_id: str) -> Case:
        """One case; raises UserError with the known names."""
        return self._catalogue.case(case_id)

    def set_axis(self, case_id: str, axis: int) -> None:
        """Annotate a case along another display axis; slices along the old one stay."""
        if axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {axis}")
        self._catalogue.set_axis(case_id, axis)

    def add_cases(self, new_cases: Iterable[NewCase]) -> tuple[Case, ...]:
        """Add cases, all or none: after an error the study is as it was.

        Takes one case after the other, so a generator keeps a single one in memory.
        """
        with self.adding() as adding:
            for new in new_cases:
                adding.add(new)
            return adding.finish()

    def adding(self) -> Adding:
        """Add cases in a block that goes on where one of them is bad, see `Adding`."""
        return Adding(self._catalogue, self.arrays)

    def save_slice(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Keep a person's mask as draft or clean, see `Slices.save`."""
        return self.slices.save(key, mask, state)


def _leave_nothing(place: Place, lock: WriterLock | None) -> None:
    gone = place.gone
    if lock is not None:
        lock.release()
    if not gone:
        shutil.rmtree(place.folder, ignore_errors=True)
