"""What window tests do with a workbench, and what they hear."""

from typing import Any

from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.workbench import Workbench


def heard(signal: Any) -> list[Any]:
    """Everything that a signal emits from now on."""
    told: list[Any] = []
    signal.connect(lambda *values: told.append(values if len(values) != 1 else values[0]))
    return told


def on_view(bench: Workbench) -> Annotation:
    assert bench.annotation is not None
    return bench.annotation


def paint(bench: Workbench, index: int = 5, label: int = 2) -> None:
    annotation = on_view(bench)
    annotation.go_to(index)
    annotation.layers.working.paint((index, 4, 4), label)
