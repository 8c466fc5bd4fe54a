"""All reading habits of a window: they come with a study, and go with it."""

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QWidget

from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.carried import Limits, contrast_limits, window_of
from napari_mlbseg.widgets.focus import canvas_beside, main_window_of
from napari_mlbseg.widgets.panels.reading import ReadingPanel
from napari_mlbseg.widgets.preferences import prefer_wheel_scrolls, wheel_scrolls
from napari_mlbseg.widgets.reading.grey_levels import GreyLevelDrag
from napari_mlbseg.widgets.reading.letters import EdgeLetters
from napari_mlbseg.widgets.reading.planes import Planes
from napari_mlbseg.widgets.reading.pointer import Pointer
from napari_mlbseg.widgets.reading.presets import grey_levels_for
from napari_mlbseg.widgets.reading.ruler import Ruler
from napari_mlbseg.widgets.reading.side_panels import SidePanels
from napari_mlbseg.widgets.reading.wheel import Wheel
from napari_mlbseg.widgets.workbench import Workbench


class Habits(QObject):
    """Wheel, grey levels, letters, pointer and side panels, while a study is open.

    Attributes
    ----------
    panel
        Shows them in the dock.
    side_panels
        The reading layout.
    planes, ruler
        The two other planes; lines with their lengths.
    """

    def __init__(self, dock: QWidget, viewer: ViewerModel, bench: Workbench) -> None:
        super().__init__(dock)
        self._dock, self._bench = dock, bench
        self._image: Image | None = None
        self._classes: dict[int, str] = {}
        self._attached = False
        self.panel = panel = ReadingPanel()
        self.side_panels = SidePanels(lambda: main_window_of(dock), panel.show_layout, self)
        self.planes = Planes(dock, viewer, bench)
        self.ruler = Ruler(viewer, bench, self)
        panel.planes_asked.connect(self.planes.toggle)
        panel.ruler_asked.connect(self.ruler.toggle)
        panel.channel_asked.connect(self.next_channel)
        self._wheel = Wheel(self._scroll, self)
        self._drag = GreyLevelDrag(self._levels_for, self._show_levels, self._reset_levels, self)
        self._letters = EdgeLetters(viewer)
        self._pointer = Pointer(viewer, lambda: bench.annotation, lambda: self._classes, self)
        self._pointer.told.connect(panel.say)
        panel.levels_chosen.connect(self._show_levels)
        panel.wheel_chosen.connect(prefer_wheel_scrolls)
        panel.layout_asked.connect(self.side_panels.toggle)
        panel.menu.aboutToShow.connect(self._tell_wheel)
        bench.view.changed.connect(self._follow)
        bench.study_changed.connect(self._read_classes)
        bench.classes_changed.connect(self._read_classes)
        bench.study_changed.connect(self._end_with_study)
        for signal in (bench.view.moved, bench.view.slices_changed, bench.view.history_changed):
            signal.connect(self._pointer.look)

    # --- with a case, and without one ------------------------------------------------------------

    def _follow(self) -> None:
        """Be there for the case on view; give everything back where there is none."""
        annotation = self._bench.annotation
        if annotation is None:
            self._release()
            return
        if not self._attached:
            canvas = canvas_beside(self._dock)
            if canvas is not None:
                self._wheel.attach(canvas)
                self._drag.attach(canvas)
                self._attached = True
        self._letters.show(annotation.case.geometry)
        self._pointer.follow()
        self._tell_channel()
        self._listen_to(annotation.layers.image)

    def _release(self) -> None:
        self._attached = False
        self._wheel.release()
        self._drag.release()
        self._letters.release()
        self._pointer.release()
        self._listen_to(None)
        self.panel.offer(())
        self.panel.show_channel("")

    def _end_with_study(self) -> None:
        if self._bench.study is None:
            self.side_panels.bring_back()

    def _listen_to(self, image: Image | None) -> None:
        if self._image is not None:
            self._image.events.contrast_limits.disconnect(self._tell_levels)
        self._image = image
        if image is not None:
            image.events.contrast_limits.connect(self._tell_levels)
            self._tell_levels()

    def next_channel(self) -> None:
        """Show the next channel of the case on view, with its own grey levels."""
        annotation = self._bench.annotation
        if annotation is not None and annotation.case.further and annotation.layers.complete:
            annotation.layers.show_next_channel()
            self._tell_channel()
            self._pointer.look()

    def _tell_channel(self) -> None:
        """Say which channel is on view, and offer grey levels for it."""
        annotation = self._bench.annotation
        if annotation is not None:
            channels = annotation.layers.channels
            self.panel.offer(grey_levels_for(channels.seen))
            self.panel.show_channel(
                channels.names[channels.place] if annotation.case.further else ""
            )

    # --- what they ask ---------------------------------------------------------------------------

    def _read_classes(self) -> None:
        """Once for all places of the pointer: each reading is a query."""
        study = self._bench.study
        self._classes = {c.value: c.name for c in study.classes} if study else {}

    def _scroll(self, by: int) -> bool:
        annotation = self._in_plane()
        if annotation is None:
            return False
        key = annotation.key
        last = annotation.case.geometry.shape[key.axis] - 1
        if by:
            annotation.go_to(max(0, min(last, key.index + by)))
        return True

    def _levels_for(self, button: Qt.MouseButton) -> Limits | None:
        annotation = self._in_plane()
        if annotation is None:
            return None
        # napari's polygon takes its corners back with the right button.
        polygon = annotation.layers.working.tool == "polygon"
        if polygon and button == Qt.MouseButton.RightButton:
            return None
        return window_of(annotation.layers.image)

    def _show_levels(self, limits: Limits) -> None:
        annotation = self._bench.annotation
        if annotation is not None:
            annotation.layers.image.contrast_limits = limits

    def _reset_levels(self) -> None:
        annotation = self._bench.annotation
        if annotation is not None:
            self._show_levels(contrast_limits(annotation.layers.channels.seen))

    def _tell_levels(self, event: Any = None) -> None:
        if self._image is not None:
            self.panel.show_levels(window_of(self._image))

    def _tell_wheel(self) -> None:
        self.panel.show_wheel(wheel_scrolls())

    def _in_plane(self) -> Annotation | None:
        """The annotation if one of its slices is on view; None in 3-D, which stays napari's."""
        annotation = self._bench.annotation
        return annotation if annotation is not None and annotation.layers.axis is not None else None
