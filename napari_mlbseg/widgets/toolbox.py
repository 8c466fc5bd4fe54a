"""Connects the tools that spare strokes: their panel, their keys, the case on view."""

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.widgets.background.task import Report
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.tool_commands import ToolCommands
from napari_mlbseg.widgets.case.working_layer import Labels
from napari_mlbseg.widgets.panels.tools import ToolsPanel
from napari_mlbseg.widgets.tools.whole_volume import CLEANINGS
from napari_mlbseg.widgets.workbench import Workbench

_HOW_TO_FIX = (
    "Click a region that is wrong: it takes the proposed labels. Ctrl: the prediction. Alt: the "
    "initial labels. Shift: on into untouched slices as well."
)


class Toolbox(QObject):
    """Carries out the commands of the tools on the case on view.

    Signals
    -------
    asked()
        The panel has to be seen, because a number is to be typed.
    """

    asked = Signal()

    def __init__(self, bench: Workbench, panel: ToolsPanel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench, self._panel = bench, panel
        self._layer: Labels | None = None
        self._actions: dict[str, Callable[[], None]] = {
            "smart_brush": self._switch_smart_brush,
            "fix_region": self._switch_fix_region,
            "answer": partial(self._on_annotation, lambda annotation: annotation.answers.ask()),
            "pass_on": partial(self._act, ToolCommands.pass_on),
            "interpolate": partial(self._act, lambda do: do.interpolate(only_here=False)),
            "interpolate_here": partial(self._act, lambda do: do.interpolate(only_here=True)),
            "grow": partial(self._act, ToolCommands.grow),
            "shrink": partial(self._act, ToolCommands.shrink),
            "smooth": partial(self._act, ToolCommands.smooth),
            "fill_holes": partial(self._act, ToolCommands.fill_holes),
            "keep_largest": partial(self._act, ToolCommands.keep_largest),
            "remove_islands": partial(
                self._act, lambda do: do.remove_islands(panel.island.value())
            ),
            **{f"{name}_in_volume": partial(self._clean_volume, name) for name in CLEANINGS},
            "range_from": lambda: panel.first.setValue(panel.number.value()),
            "accept_range": partial(self._act, lambda do: do.accept_range(panel.first.value())),
            "go_to_number": self._ask_number,
        }
        panel.command.connect(self.do)
        panel.slice_chosen.connect(lambda index: bench.view.show(lambda a: a.go_to(index)))
        bench.view.changed.connect(self._on_case)
        bench.view.moved.connect(self._show_slice)
        bench.view.label_picked.connect(self._show_class)
        bench.classes_changed.connect(self._show_class)

    def do(self, name: str) -> bool:
        """Carry out a command of `shortcuts.TOOLS`; return whether it is one."""
        if name not in self._actions:
            return False
        self._actions[name]()
        self._show_tool()  # a button stays pressed only if its tool is on
        return True

    # --- inside ----------------------------------------------------------------------------------

    def _act(self, command: Callable[[ToolCommands], None]) -> None:
        self._on_annotation(lambda annotation: command(annotation.tools))

    def _clean_volume(self, name: str) -> None:
        below = self._panel.volume_island.value()
        self._on_annotation(lambda annotation: annotation.volume.clean_up(name, below, self._run))

    def _run(self, work: Callable[[Report], Any], done: Callable[[Any], None]) -> None:
        """Run work on the case on view, and drop what it found if another one is shown then."""
        annotation = self._bench.annotation

        def ended(found: Any) -> None:
            if self._bench.annotation is annotation:
                self._bench.view.act(lambda _: done(found))
            else:
                self._bench.told.emit("Another case is on view now, so nothing changed.")

        cancelled = "Cancelled. Nothing changed."
        self._bench.errands.run(work, ended, cancelled=cancelled, doing="Reading the labels")

    def _on_annotation(self, action: Callable[[Annotation], None]) -> None:
        """Act on the case on view if that is possible; else say why not."""
        self._bench.view.act(lambda _: self._bench.view.show(action))

    def _switch_smart_brush(self) -> None:
        def switch(annotation: Annotation) -> None:
            annotation.layers.take_up()
            layer = annotation.layers.working
            layer.smart = not layer.smart
            self._bench.told.emit(f"The smart brush is {'on' if layer.smart else 'off'}.")

        self._on_annotation(switch)

    def _switch_fix_region(self) -> None:
        def switch(annotation: Annotation) -> None:
            annotation.layers.take_up()
            layer = annotation.layers.working
            layer.fixing = not layer.fixing
            self._bench.told.emit(_HOW_TO_FIX if layer.fixing else "Back to the brush.")

        self._on_annotation(switch)

    def _ask_number(self) -> None:
        self.asked.emit()
        self._panel.ask_number()

    def _on_region(self, event: Any) -> None:
        held = event.modifiers
        source = ArrayName.PROPOSED_LABELS
        if "Control" in held:
            source = ArrayName.PREDICTION
        elif "Alt" in held:
            source = ArrayName.INITIAL_LABELS
        self._act(lambda do: do.fix_region(event.place, source, through="Shift" in held))

    def _on_case(self) -> None:
        annotation = self._bench.annotation
        layer = annotation.layers.working if annotation else None
        if layer is not None and layer is not self._layer:
            layer.events.tool_changed.connect(self._show_tool)
            layer.events.region_clicked.connect(self._on_region)
        self._layer = layer
        self._show_slice()
        self._show_class()
        self._show_tool()

    def _show_slice(self) -> None:
        annotation, study = self._bench.annotation, self._bench.study
        if annotation is None or study is None:
            self._panel.set_slice(None, 0)
        else:
            count = annotation.case.geometry.shape[annotation.key.axis]
            self._panel.set_slice(annotation.key.index, count, writable=study.writable)

    def _show_class(self) -> None:
        annotation, study = self._bench.annotation, self._bench.study
        names = {c.value: c.name for c in study.classes} if study else {}
        self._panel.set_class(names.get(annotation.label, "") if annotation else "")

    def _show_tool(self) -> None:
        layer = self._layer
        self._panel.set_tool(
            smart=layer is not None and layer.smart, fixing=layer is not None and layer.fixing
        )
