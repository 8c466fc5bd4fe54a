"""What is shown once it has been read: slices that came late, and an axis that is turned to."""

from qtpy.QtCore import QObject

from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.layers import CaseLayers
from napari_mlbseg.widgets.case.stored import CaseArrays

_LATE_MS = 40


class LateSlices(QObject):
    """Looks again and again while something of the case on view is still being read."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = timer(self, _LATE_MS, self._show)
        self._watched: tuple[CaseArrays, CaseLayers] | None = None
        self._turn_to: int | None = None

    def await_more(self) -> None:
        """Something is being read."""
        self._timer.start()

    def watch(self, arrays: CaseArrays, layers: CaseLayers) -> None:
        """Draw what arrives in these arrays on these layers."""
        self._watched = arrays, layers

    def turn(self, axis: int) -> None:
        """Cut across an axis, as soon as the slice that will be seen has been read."""
        self._turn_to = axis
        self._turn()

    def stop(self) -> None:
        """Nothing more is shown."""
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
