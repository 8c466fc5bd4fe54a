"""Live plots of the losses and of the validation Dice."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_mlbseg.engine.events import StageStarted, StepDone, ValidationScored
from napari_mlbseg.engine.forecast import BESIDE_DICE, VALIDATION_DICE
from napari_mlbseg.widgets.panels.style import faint, legible, quieter

_PENS = ("#6cb6ff", "#f0b232", "#c297ff", "#57c99a", "#ff8e7a", "#9fb3c8")
_MOST_POINTS = 1000
_DICE_INK = "#57c99a"


class _PlotArea(pg.GraphicsLayoutWidget):  # type: ignore[misc]
    """A plot area that asks for less space than pyqtgraph's own."""

    def minimumSizeHint(self) -> QSize:
        return QSize(240, 120)

    def sizeHint(self) -> QSize:
        return QSize(320, 170)


class TrainingPlot(QWidget):
    """Two plots over the optimiser steps of the whole run, one stage after another."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Above: losses. Below: Dice on validation slices, which the network never learns from."
            " The steps of all stages follow each other; a dashed line marks where a stage begins."
        )
        self._area = _PlotArea()
        self._area.setBackground(None)
        self._curves: dict[str, pg.PlotDataItem] = {}
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._dice: list[tuple[float, float]] = []
        self._before = self._step = 0
        self._beginnings: list[pg.InfiniteLine] = []
        self._losses = self._add_plot("loss")
        self._losses.getAxis("bottom").setStyle(showValues=False)
        self._area.nextRow()
        self._scores = self._add_plot("Dice")
        self._scores.setXLink(self._losses)
        self._scores.setYRange(0, 1, padding=0.02)
        self._scores.setLabel("bottom", "step")
        self._dice_curve = self._plot_dice()
        # Above the plot, not in it, so that it cannot hide a curve.
        self._legend = QLabel()
        self._legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._legend)
        layout.addWidget(self._area, 1)
        self._legend.hide()
        self._recolor()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme of the window."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self._recolor()

    def clear(self) -> None:
        """Remove the last run from the plots."""
        for plot in (self._losses, self._scores):
            plot.clear()
        self._legend.hide()
        self._curves, self._points, self._dice, self._beginnings = {}, {}, [], []
        self._dice_curve = self._plot_dice()
        self._before = self._step = 0

    def show_past(self, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Show the curves of a run that is over: losses by name, and `VALIDATION_DICE`."""
        self.clear()
        for name, points in curves.items():
            known = _thinned([point for point in points if np.isfinite(point[1])])
            if known and name == VALIDATION_DICE:
                self._dice = known
                self._dice_curve.setData(*np.asarray(known).T)
            elif known and name not in BESIDE_DICE:
                self._points[name] = known
                self._curve(name).setData(*np.asarray(known).T)

    def start_stage(self, event: StageStarted) -> None:
        """Continue the step axis from the end of the previous stage."""
        self._before += self._step
        self._step = 0

    def add_step(self, event: StepDone) -> None:
        """Draw the losses of a step; steps without losses are not optimiser steps."""
        if not event.losses:
            return
        if self._before and not self._step:
            pen = pg.mkPen(faint(self.palette()), width=1, style=Qt.PenStyle.DashLine)
            for plot in (self._losses, self._scores):
                self._beginnings.append(plot.addLine(x=self._before, pen=pen))
        self._step = event.step
        for name, value in event.losses.items():
            if np.isfinite(value):
                points = self._points.setdefault(name, [])
                points.append((self._before + event.step, value))
                self._points[name] = points = _thinned(points)
                self._curve(name).setData(*np.asarray(points).T)

    def add_score(self, event: ValidationScored) -> None:
        """Draw a validation Dice."""
        if np.isfinite(event.dice):
            self._dice.append((self._before + event.step, event.dice))
            self._dice_curve.setData(*np.asarray(self._dice).T)

    def points(self, name: str) -> list[tuple[float, float]]:
        """Return the points drawn: pairs of step and value of a loss, or of ``dice``."""
        return list(self._dice if name == "dice" else self._points.get(name, []))

    def _plot_dice(self) -> pg.PlotDataItem:
        ink = self._ink(_DICE_INK)
        line = {"pen": pg.mkPen(ink, width=2), "symbol": "o", "symbolSize": 5}
        return self._scores.plot(**line, symbolBrush=ink, symbolPen=None)

    def _curve(self, name: str) -> pg.PlotDataItem:
        if name not in self._curves:
            pen = pg.mkPen(self._ink(_PENS[len(self._curves) % len(_PENS)]), width=1.5)
            self._curves[name] = self._losses.plot(pen=pen)
            self._show_legend()
        return self._curves[name]

    def _show_legend(self) -> None:
        self._write_legend()
        self._legend.show()

    def _write_legend(self) -> None:
        entries = (
            f'<span style="color: {self._ink(color).name()}">■</span>&nbsp;{_unbroken(name)}'
            for name, color in zip(self._curves, cycle(_PENS), strict=False)
        )
        self._legend.setText("&nbsp; ".join(entries))

    def _add_plot(self, label: str) -> pg.PlotItem:
        plot = self._area.addPlot()
        plot.setLabel("left", label)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.showGrid(x=False, y=True, alpha=0.15)
        plot.getAxis("left").setWidth(48)
        plot.getAxis("left").enableAutoSIPrefix(False)  # no room for "loss (x0.001)"
        return plot

    def _ink(self, color: str) -> QColor:
        return legible(QColor(color), self.palette())

    def _recolor(self) -> None:
        """Draw everything in colours that show on the ground of the theme."""
        words, line = quieter(self.palette()), faint(self.palette())
        for plot in (self._losses, self._scores):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setTextPen(words)
                axis.setPen(line)
                axis.setLabel(axis.labelText, color=words.name())
        self._scores.getAxis("bottom").showLabel(True)
        self._losses.getAxis("bottom").showLabel(False)
        for curve, color in zip(self._curves.values(), cycle(_PENS), strict=False):
            curve.setPen(pg.mkPen(self._ink(color), width=1.5))
        dice = self._ink(_DICE_INK)
        self._dice_curve.setPen(pg.mkPen(dice, width=2))
        self._dice_curve.setSymbolBrush(dice)
        for beginning in self._beginnings:
            beginning.setPen(pg.mkPen(line, width=1, style=Qt.PenStyle.DashLine))
        self._write_legend()


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Half as many of too many points, evenly spread: a long run costs no more to draw."""
    if len(points) <= _MOST_POINTS:
        return points
    gap = 2 * (points[-1][0] - points[0][0]) / _MOST_POINTS
    kept = points[:1]
    for point in points[1:-1]:
        if point[0] - kept[-1][0] >= gap:
            kept.append(point)
    return [*kept, points[-1]]


def _unbroken(name: str) -> str:
    return "&nbsp;".join(name.replace("_", " ").split())
