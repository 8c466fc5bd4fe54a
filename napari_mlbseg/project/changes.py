"""What is done with cases after their import: renamed, removed, restored, dropped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayStore
from napari_mlbseg.project.catalogue.amendments import Amendment, Standing
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.runs import Runs
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.records.cases import Case, LabelClass, require_case_name
from napari_mlbseg.project.records.channels import Channel


class Changes:
    """Changes cases and classes of a study; each change happens as a whole or not at all.

    What a person did to the slices is never touched. What replaces arrays or leaves some out is
    refused while a run goes on.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_mlbseg.api import Study, import_folder
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> study.changes.rename("phantom_01", "first visit").name
    'first visit'
    >>> study.changes.remove(["phantom_01"])
    >>> [case.name for case in study.cases], [case.name for case in study.changes.removed]
    (['phantom_02'], ['first visit'])
    >>> study.changes.restore("first visit").id
    'phantom_01'
    >>> study.close()
    """

    def __init__(
        self, database: Database, catalogue: Catalogue, arrays: ArrayStore, runs: Runs
    ) -> None:
        self._database, self._catalogue = database, catalogue
        self._arrays, self._runs = arrays, runs

    @property
    def removed(self) -> tuple[Case, ...]:
        """The cases that can be restored, in the order in which they were added."""
        return self._catalogue.cases(Standing.REMOVED)

    @property
    def everyone(self) -> tuple[Case, ...]:
        """All cases that there ever were, those that were dropped too."""
        return tuple(case for standing in Standing for case in self._catalogue.cases(standing))

    def former_names(self, case_id: str) -> tuple[str, ...]:
        """The names that a case had before, the first one first."""
        now = self._catalogue.name(case_id)
        return tuple(name for name in self._catalogue.amendments.names(case_id) if name != now)

    def rename(self, case_id: str, name: str) -> Case:
        """Call a case otherwise from now on; its id stays. Possible while a run goes on.

        Raises UserError for a name that another case has (upper and lower case count as one), and
        for one that cannot be that of a case.
        """
        case = self._catalogue.case(case_id)
        require_case_name(name)
        self._require_free(name, case_id)
        if name != case.name:
            amended = replace(self._catalogue.amendments.of(case_id), name=name)
            self._catalogue.amend("rename case", {case_id: amended}, before=case.name, after=name)
        return self._catalogue.case(case_id)

    def remove(self, case_ids: Iterable[str]) -> None:
        """Take cases out of the study; everything of them is kept until `compact`."""
        cases = [self._catalogue.case(case_id) for case_id in case_ids]
        self._runs.require_none("remove the case")
        self._stand(cases, Standing.REMOVED, "remove case")

    def restore(self, name: str) -> Case:
        """Undo the removal of a case, the last one that was called so."""
        found = [case for case in self.removed if case.name == name]
        if not found:
            known = ", ".join(case.name for case in self.removed) or "none"
            raise UserError(f"There is no removed case {name!r} to restore. Removed are: {known}.")
        self._runs.require_none("restore the case")
        self._require_free(name, found[-1].id)
        self._stand(found[-1:], Standing.KEPT, "restore case")
        return self._catalogue.case(found[-1].id)

    def compact(self) -> tuple[str, ...]:
        """Delete the arrays of removed cases for good, after a backup; returns their names.

        What a person did to them stays in the catalogue, but they cannot be restored any more.
        """
        cases = self.removed
        if cases:
            self._runs.require_none("compact the study")
            self._database.back_up()
            self._stand(cases, Standing.DROPPED, "drop case")
            for case in cases:
                self._arrays.discard(case.id)
        return tuple(case.name for case in cases)

    def relabel(self, amended: Mapping[str, Amendment], **details: Any) -> None:
        """Let arrays count that were made beside those of the edition so far."""
        self._runs.require_none("replace the labels")
        self._catalogue.amend("relabel case", amended, **details)
        self.sweep(amended)

    def relocate(
        self, amended: Mapping[str, Amendment], further: Mapping[str, Sequence[Channel]]
    ) -> None:
        """Say where the files of cases are now, those of further channels, too.

        Possible while a run goes on.
        """
        self._catalogue.amend("relocate case", amended, further)

    def set_classes(
        self,
        classes: Iterable[LabelClass],
        becoming: Mapping[int, int],
        amended: Mapping[str, Amendment],
    ) -> None:
        """Replace the classes; pixels of those that are gone count as others (0: background)."""
        self._runs.require_none("merge or remove the classes")
        self._catalogue.set_classes(tuple(classes), becoming, amended)
        self.sweep(amended)

    def amendment(self, case_id: str) -> Amendment:
        """What was changed of a case since its import."""
        return self._catalogue.amendments.of(case_id)

    def sweep(self, case_ids: Iterable[str]) -> None:
        """Delete the arrays of cases that do not belong to their edition."""
        for case_id in case_ids:
            self._arrays.keep_only(case_id, self._catalogue.edition(case_id))

    def _require_free(self, name: str, case_id: str) -> None:
        for other in self._catalogue.cases():
            if other.id != case_id and spelled(other.name) == spelled(name):
                raise UserError(
                    f"There is a case {other.name!r} already, and names differ in more than upper "
                    "and lower case. Choose another name, or rename that case first."
                )

    def _stand(self, cases: Iterable[Case], standing: Standing, action: str) -> None:
        amended = {case.id: replace(self.amendment(case.id), standing=standing) for case in cases}
        self._catalogue.amend(action, amended)
