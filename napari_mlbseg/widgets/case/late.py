"""Shows what takes long to read: slices that arrive late, and the first view along an axis."""

from qtpy.QtCore import QObject

from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.layers import CaseLayers
from napari_mlbseg.widgets.case.stored import CaseArrays

_LATE_MS = 40


class LateSlices(QObject):
    """Polls while slices of the case on view are still being read."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = timer(self, _LATE_MS, self._show)
        self._watched: tuple[CaseArrays, CaseLayers] | None = None
        self._turn_to: int | None = None

    def await_more(self) -> None:
        """Start to poll, because a slice is still being read."""
        self._timer.start()

    def watch(self, arrays: CaseArrays, layers: CaseLayers) -> None:
        """Draw whatever arrives in these arrays on these layers."""
        self._watched = arrays, layers

    def turn(self, axis: int) -> None:
        """Show slices along an axis as soon as the slice to show has been read."""
        self._turn_to = axis
        self._turn()

    def stop(self) -> None:
        """Stop polling."""
        self._timer.stop()

    def _turn(self) -> None:
        axis = self._turn_to
        if axis is None or self._watched is None:
            return
        arrays, layers = self._watched
        if not arrays.machine.ready(axis, layers.index(axis)):
            self._timer.start()
            return
        self._turn_to = None
        layers.show_axis(axis)

    def _show(self) -> None:
        self._turn()
        if self._watched is None:
            return
        arrays, layers = self._watched
        arrived = arrays.arrived()
        if arrived:
            layers.draw(arrived, working=False)
        if not arrays.awaited and self._turn_to is None:
            self._timer.stop()
