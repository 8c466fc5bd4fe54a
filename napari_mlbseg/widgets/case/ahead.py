"""Rows of the case that will probably be shown next, read while another case is on view."""

from collections.abc import Iterable
from contextlib import suppress

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.stored import CaseArrays


class Ahead:
    """Holds the arrays of one case at a time, so that memory stays bounded as for a case on view.

    What cannot be read is left to whoever shows the case, and says so.
    """

    def __init__(self) -> None:
        self._case_id = ""
        self._arrays: CaseArrays | None = None

    def expect(self, study: Study, key: SliceKey, shown: Iterable[ArrayName]) -> None:
        """Start to read a slice with the overlays that are shown; waits for nothing."""
        with suppress(UserError, OSError):
            if self._arrays is None or self._case_id != key.case_id:
                self.drop()
                case = study.case(key.case_id)
                self._arrays = CaseArrays(study, case, ArrayName, lambda: None)
                self._case_id = case.id
            self._arrays.expect(shown, key.axis, key.index)

    def take(self, case_id: str) -> CaseArrays | None:
        """Hand the arrays of a case over, or drop those of another one."""
        if self._case_id != case_id:
            self.drop()
        arrays, self._arrays, self._case_id = self._arrays, None, ""
        return arrays

    def published(self, event: SlicesPublished) -> None:
        """Forget what the engine has replaced."""
        if self._arrays is not None and event.case_id == self._case_id:
            with suppress(UserError, OSError):
                names = map(ArrayName, event.arrays)
                self._arrays.reload(names, event.axis, event.start, event.stop)

    def drop(self) -> None:
        """Forget everything."""
        if self._arrays is not None:
            self._arrays.close()
        self._arrays, self._case_id = None, ""
