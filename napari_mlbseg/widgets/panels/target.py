"""A Dice that somebody wants to reach, and how many more slices it is likely to take."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_mlbseg.engine.forecast import Measured, forecast_in_words
from napari_mlbseg.widgets.panels.style import Line

_LOWEST, _HIGHEST, _STEP = 0.5, 0.99, 0.01
_HINT = (
    "How many more accepted slices a Dice on validation slices is likely to take (95 %), judged by "
    "how it has grown with their number so far. It says nothing about slices that nobody looked at."
)


class TargetLine(QWidget):
    """Chooses a target and tells how far it is.

    Signals
    -------
    chosen(float)
        Somebody chose another target.
    """

    chosen = Signal(float)

    def __init__(self, target: float) -> None:
        super().__init__()
        self._points: Sequence[Measured] = ()
        self.spin = QDoubleSpinBox()
        self.spin.setRange(_LOWEST, _HIGHEST)
        self.spin.setSingleStep(_STEP)
        self.spin.setDecimals(2)
        self.spin.setValue(target)
        self.spin.setToolTip("The Dice to reach")
        self.told = Line(_HINT)
        row = QHBoxLayout()
        row.addWidget(QLabel("Dice to reach"))
        row.addWidget(self.spin)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.told)
        self.spin.valueChanged.connect(self._choose)

    def show_points(self, points: Sequence[Measured]) -> None:
        """Tell how far the target is, by what was measured so far."""
        self._points = points
        self.told.say(forecast_in_words(points, self.spin.value()))

    def _choose(self, target: float) -> None:
        self.show_points(self._points)
        self.chosen.emit(target)
