"""A study on disk: the folder ``NAME.mlbseg`` with human work, machine work and one writer."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import adding as intake
from napari_mlbseg.project.arrays import sweep
from napari_mlbseg.project.arrays.building import Unfinished
from napari_mlbseg.project.arrays.store import ARRAYS_NAME, ArrayName, ArrayStore, Block
from napari_mlbseg.project.arrays.sweep import CHECKPOINTS_NAME
from napari_mlbseg.project.catalogue.catalogue import AuditEntry, Catalogue
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.revisions import Revisions
from napari_mlbseg.project.catalogue.runs import RunRecord, Runs
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.lock import WriterLock, current_user
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.records.cases import Case, LabelClass, NewCase
from napari_mlbseg.project.records.masks import compose
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.values import require_classes

SUFFIX = ".mlbseg"
CATALOGUE_NAME = "catalogue.sqlite"


class Study:
    """An open study; use `create` or `open`, and `close` it or use it in a ``with`` block.

    Several threads may use one study. Every method that records human work returns when it is
    on the disk. Methods that change anything raise UserError in a study opened for reading.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder, read_labels
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> case = study.cases[0]
    >>> truth = read_labels(Path("truth/phantom_01.nii.gz"))[0].voxels  # z y x
    >>> key = SliceKey(case.id, case.axis, 12)
    >>> record = study.save_slice(key, truth.take(12, axis=case.axis), SliceState.CLEAN)
    >>> study.clean_slices()
    (SliceKey(case_id='phantom_01', axis=0, index=12),)
    >>> bool((study.working_labels(case.id)[12] == truth[12]).all())
    True
    >>> study.close()
    """

    def __init__(self, place: Place, database: Database, lock: WriterLock | None) -> None:
        self.path = place.folder
        self.writable = database.writable
        self._place = place
        self._lock = lock
        self._database = database
        self._catalogue = Catalogue(database)
        self._revisions = Revisions(database, self._catalogue.shape)
        self._runs = Runs(database)
        self._arrays = ArrayStore(self.path, place, self._catalogue.shape, writable=self.writable)

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
        place = Place(path)
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

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The folder's name without its suffix."""
        return self.path.stem

    @cached_property
    def identity(self) -> str:
        """Tells this study from every other, wherever its folder lies; a copy has the same."""
        return self._catalogue.identity()

    @property
    def checkpoint_path(self) -> Path:
        """Where the engine keeps the state from which a run goes on.

        Whoever writes there calls `require_writable` first.
        """
        return self.path / CHECKPOINTS_NAME / "latest.pt"

    def require_writable(self) -> None:
        """Raise UserError in a study opened for reading, StudyGone where its folder is gone."""
        if not self.writable:
            raise UserError(f"{self.path} is open for reading only. Open it for writing.")
        self._place.check()

    # --- classes and cases ------------------------------------------------------------------------

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

    def add_cases(
        self,
        new_cases: Iterable[NewCase],
        *,
        failed: Callable[[NewCase, UserError], None] | None = None,
    ) -> tuple[Case, ...]:
        """Add cases, all or none: after an error the study is as it was.

        Takes one case after the other, so a generator keeps a single one in memory. With
        `failed`, cases whose files are bad are told to it and left out, and the others come in.
        """
        self.require_writable()
        return intake.add_cases(self._catalogue, self._arrays, new_cases, failed)

    def add_case(self, new_case: NewCase) -> Case:
        """Add one case."""
        return self.add_cases([new_case])[0]

    def set_axis(self, case_id: str, axis: int) -> None:
        """Annotate a case along another display axis; slices along the old one stay."""
        if axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {axis}")
        self._catalogue.set_axis(case_id, axis)

    # --- human work -------------------------------------------------------------------------------

    def save_slice(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Keep a person's mask (the slice's two display axes in order) as draft or clean.

        Raises UserError for a clean one with values that are no class of the study.
        """
        expected = self._checked(key).slice_shape(key.axis)
        if mask.shape != expected:
            raise ValueError(f"the mask of {key} has the shape {expected}, got {mask.shape}")
        if state is SliceState.CLEAN:
            require_classes(mask, self.classes, key)
        return self._revisions.save(key, mask, state)

    def set_state(self, key: SliceKey, state: SliceState) -> SliceRecord:
        """Change a slice's state and keep its newest mask.

        Raises UserError for clean without a mask, or with values that are no class of the study.
        """
        self._checked(key)
        record = self.slice_record(key) if state is SliceState.CLEAN else None
        if record is not None and record.has_mask:
            require_classes(self.revision_mask(record.revision), self.classes, key)
        return self._revisions.set_state(key, state)

    def slice_record(self, key: SliceKey) -> SliceRecord | None:
        """The newest revision of a slice; None for one that nobody touched."""
        history = self.slice_history(key)
        return history[-1] if history else None

    def slice_records(
        self, case_id: str | None = None, *, state: SliceState | None = None
    ) -> tuple[SliceRecord, ...]:
        """The newest revision of every touched slice, in order of revision."""
        return self._revisions.newest(case_id, state)

    def slice_history(self, key: SliceKey) -> tuple[SliceRecord, ...]:
        """All revisions of a slice, oldest first."""
        return self._revisions.history(key)

    def slice_mask(self, key: SliceKey) -> NDArray[np.uint8]:
        """The newest mask of a slice; UserError where it has none."""
        record = self.slice_record(key)
        if record is None or not record.has_mask:
            raise UserError(f"Slice {key.index} of {key.case_id} has no corrected mask yet.")
        return self._revisions.mask(record.revision)

    def revision_mask(self, revision: int) -> NDArray[np.uint8]:
        """The mask that belonged to a revision; UserError where it has none."""
        return self._revisions.mask(revision)

    def clean_slices(self) -> tuple[SliceKey, ...]:
        """The slices that a person accepted, in order of revision."""
        return tuple(record.key for record in self.slice_records(state=SliceState.CLEAN))

    def audit(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """The newest `limit` lines of the log (all by default), oldest first."""
        return self._catalogue.audit(limit)

    # --- machine work -----------------------------------------------------------------------------

    def array(self, case_id: str, name: ArrayName) -> zarr.Array[Any]:
        """An array (z y x); UserError that says what to do where it is absent."""
        return self._arrays.array(case_id, name)

    def has_array(self, case_id: str, name: ArrayName) -> bool:
        """Whether an array is there."""
        return self._arrays.has(case_id, name)

    def create_array(
        self,
        case_id: str,
        name: ArrayName,
        blocks: Iterable[Block] = (),
        *,
        axis: int | None = None,
    ) -> zarr.Array[Any]:
        """Replace labels, a prediction or weights by slices, once all of them are written.

        `blocks` are pairs of an index along `axis` (by default the case's) and of slices, stacked
        on the first axis, that stand from there on; where there are none, the array is zero.
        """
        self.require_writable()
        along = self.case(case_id).axis if axis is None else axis
        return self._arrays.create(case_id, name, along, blocks)

    def begin_array(self, case_id: str, name: ArrayName, axis: int) -> Unfinished:
        """Begin an array of slices along a display axis; the study has it when it is finished."""
        self.require_writable()
        return self._arrays.begin(case_id, name, axis)

    def read_slice(self, case_id: str, name: ArrayName, axis: int, index: int) -> NDArray[Any]:
        """One slice along a display axis."""
        return self._arrays.read(case_id, name, axis, index)

    def write_slices(
        self, case_id: str, name: ArrayName, axis: int, start: int, block: NDArray[Any]
    ) -> None:
        """Write slices from `start` on, stacked on the first axis of `block`."""
        self.require_writable()
        self._arrays.write(case_id, name, axis, start, block)

    def rebuild_arrays(self) -> None:
        """Make absent images and imported initial labels again from their source files."""
        self.require_writable()
        intake.rebuild_arrays(self.cases, self._arrays)

    # --- what a person sees and what is exported ------------------------------------------------

    def machine_labels(self, case_id: str) -> NDArray[np.uint8]:
        """The prediction (z y x), else the initial labels, else background."""
        for name in (ArrayName.PREDICTION, ArrayName.INITIAL_LABELS):
            if self.has_array(case_id, name):
                return np.asarray(self.array(case_id, name)[:], dtype=np.uint8)
        return np.zeros(self.case(case_id).geometry.shape, dtype=np.uint8)

    def working_labels(self, case_id: str) -> NDArray[np.uint8]:
        """The machine's labels (z y x) under the drafts and clean slices, the later one on top."""
        return compose(self.machine_labels(case_id), self._revisions.applied(case_id))

    # --- runs -------------------------------------------------------------------------------------

    def start_run(self, config: Mapping[str, Any], *, seed: int, device: str) -> int:
        """Record that a run begins; `config` is plain data. Returns the run's number."""
        return self._runs.start(config, seed=seed, device=device)

    def log_metrics(self, run_id: int, step: int, values: Mapping[str, float]) -> None:
        """Record metrics of a run by name."""
        self._runs.log(run_id, step, values)

    def finish_run(self, run_id: int, *, outcome: str) -> None:
        """Record how a run ended."""
        self._runs.finish(run_id, outcome=outcome)

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first."""
        return self._runs.all()

    def metrics(self, run_id: int, name: str) -> list[tuple[int, float]]:
        """One metric of a run as pairs of step and value."""
        return self._runs.metrics(run_id, name)

    # ----------------------------------------------------------------------------------------------

    def _checked(self, key: SliceKey) -> Case:
        case = self.case(key.case_id)
        if key.axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {key.axis}")
        last = case.geometry.shape[key.axis] - 1
        if not 0 <= key.index <= last:
            raise UserError(
                f"{key.case_id} has the slices 0 to {last} along this axis, but got {key.index}."
            )
        return case


def _leave_nothing(place: Place, lock: WriterLock | None) -> None:
    gone = place.gone
    if lock is not None:
        lock.release()
    if not gone:
        shutil.rmtree(place.folder, ignore_errors=True)
