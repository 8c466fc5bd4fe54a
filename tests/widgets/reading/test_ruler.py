"""The ruler, by key and mouse, in the real window."""

import pytest
from bench import WindowAtWork
from qtpy.QtCore import Qt

from napari_mlbseg.widgets.reading.ruler import RULER

pytestmark = pytest.mark.one_binding


def test_a_drag_measures_in_millimetres_and_the_brush_comes_back(bench: WindowAtWork) -> None:
    before = bench.labels
    bench.hand.press(Qt.Key.Key_F10)
    bench.hand.drag((8, 6), (8, 20), (20, 22))
    ruler = bench.viewer.layers[RULER]
    assert len(ruler.data) == 1
    (length,) = ruler.features["length"]
    y, x = bench.annotation.case.geometry.spacing_mm[1:]
    assert length == pytest.approx(((12 * y) ** 2 + (16 * x) ** 2) ** 0.5, abs=1.0)
    assert bench.message == f"Distance: {length:.1f} mm"
    assert (bench.labels == before).all()
    bench.hand.press(Qt.Key.Key_F10)
    assert bench.viewer.layers.selection.active is bench.layer
    bench.hand.drag((8, 6), (8, 20))
    assert not (bench.labels == before).all()
    bench.hand.press(Qt.Key.Key_F10)
    assert bench.viewer.layers.selection.active is ruler
    bench.dock.workbench.view.choose("b")
    assert RULER not in bench.viewer.layers
