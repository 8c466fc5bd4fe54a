"""A program that accepts slices of a study that another program holds, and tells how it goes.

Argument: the study. It is to be killed.
"""

import sys
from pathlib import Path

from napari.components import ViewerModel
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_mlbseg.widgets.background import in_turn
from napari_mlbseg.widgets.workbench import Workbench


def say(text: str) -> None:
    print(text, flush=True)


def main(path: str) -> None:
    app = QApplication.instance() or QApplication([])
    in_turn._PATIENCE_S = 0.01  # type: ignore[misc]
    bench = Workbench(ViewerModel())
    bench.told.connect(say)
    bench.open_study(Path(path))
    annotation = bench.annotation
    assert annotation is not None
    for index in range(4):
        annotation.go_to(index)
        annotation.layers.working.paint((index, 4, 4), index % 3)
        annotation.commands.accept()

    def look() -> None:
        if "A copy is kept" in bench.holding.text and len(annotation.rescue().masks) == 4:
            watch.stop()
            say("a copy is kept")

    watch = QTimer()
    watch.timeout.connect(look)
    watch.start(10)
    app.exec()


main(sys.argv[1])
