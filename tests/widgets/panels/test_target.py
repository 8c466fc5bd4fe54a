"""The Dice to reach, and how far it is."""

import pytest
from at_work import heard
from pytestqt.qtbot import QtBot

from napari_mlbseg.engine.forecast import Measured
from napari_mlbseg.widgets.panels.target import TargetLine

pytestmark = pytest.mark.one_binding


def test_another_target_is_judged_by_the_same_scores(qtbot: QtBot) -> None:
    line = TargetLine(0.9)
    qtbot.addWidget(line)
    chosen = heard(line.chosen)
    assert line.spin.value() == 0.9
    line.show_points([Measured(n, 1 - n**-0.5, 0.005) for n in (10, 20, 40)])
    assert line.told.text() == "likely after 45 to 83 more slices"
    line.spin.stepBy(-6)  # below 1 - 40**-0.5
    assert line.told.text() == "reached on the validation slices"
    assert chosen == [pytest.approx(0.84)]
