"""The two other planes of the case on view, linked by a crosshair; nothing is read while closed."""

from typing import Any, Final

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_mlbseg.engine.events import Event, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.copying import images_of
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import BackgroundTask, timer
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.carried import window_of
from napari_mlbseg.widgets.focus import main_window_of
from napari_mlbseg.widgets.panels.plane_view import Picture, PlanesPanel
from napari_mlbseg.widgets.reading.letters import edge_letters
from napari_mlbseg.widgets.reading.plane_pictures import PLANES, as_seen, color_table, picture
from napari_mlbseg.widgets.reading.pointer import voxel_at
from napari_mlbseg.widgets.workbench import Workbench

Volumes = tuple[NDArray[Any], Labels]
"""The image and the machine's labels (z y x)."""

TITLE: Final = "MLB-Seg: other planes"
_LARGEST_BYTES: Final = 2 << 30
_DRAW_MS: Final = 30
_RENEW_MS: Final = 3_000

_CORNERS: Final = (
    (Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea),
    (Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea),
)


class Planes(QObject):
    """Shows the other planes in a panel of their own, from the first `toggle` on.

    The whole image and the machine's labels are in memory while the panel is open, and only then.
    """

    def __init__(self, dock: QWidget, viewer: ViewerModel, bench: Workbench) -> None:
        super().__init__(dock)
        self.panel: PlanesPanel | None = None
        self._place: QDockWidget | None = None
        self._corners: dict[Qt.Corner, Qt.DockWidgetArea] = {}
        self._dock, self._viewer, self._bench = dock, viewer, bench
        self._annotation: Annotation | None = None
        self._image: Image | None = None
        self._volumes: Volumes | None = None
        self._task: BackgroundTask | None = None
        self._shown = ArrayName.IMAGE
        self._at = [0, 0, 0]
        self._draw_soon = timer(self, _DRAW_MS, self._draw, single_shot=True)
        self._close_soon = timer(self, 0, self.close, single_shot=True)
        self._renew_soon = timer(self, _RENEW_MS, self._load, single_shot=True)
        bench.view.changed.connect(self._follow)
        bench.engine_event.connect(self._hear)
        for signal in (
            *(bench.view.moved, bench.view.slices_changed, bench.view.history_changed),
            *(bench.view.marks.changed, bench.view.extent_changed, bench.classes_changed),
        ):
            signal.connect(self._redraw)

    def toggle(self) -> None:
        """Open the panel, with the planes through the pointer, or close it."""
        if self.panel is not None:
            self.close()
        else:
            self.look_here()

    def look_here(self) -> None:
        """Show the planes through the pointer; opens the panel."""
        annotation = self._bench.annotation
        if annotation is None:
            return
        if self.panel is None:
            self._open()
        point = list(self._viewer.cursor.position[-3:])
        axis = annotation.key.axis
        point[axis] = self._viewer.dims.point[-3:][axis]
        voxel = voxel_at(annotation.case.geometry, tuple(point))
        if voxel is not None:
            self._at = list(voxel)
            self._redraw()

    def close(self) -> None:
        """Close the panel, and forget what was read."""
        place, window = self._place, main_window_of(self._dock)
        self._lose()
        if window is not None:
            for corner, side in self._corners.items():
                window.setCorner(corner, side)
        if place is not None:
            place.destroyed.disconnect(self._lose)
            place.close()
            place.deleteLater()

    # --- inside ----------------------------------------------------------------------------------

    def _open(self) -> None:
        window = main_window_of(self._dock)
        if window is None:
            return
        self.panel = panel = PlanesPanel()
        for which, view in enumerate(panel.views):
            view.asked.connect(lambda row, column, which=which: self._go(which, row, column))
        self._place = place = QDockWidget(TITLE, window)
        place.setObjectName(TITLE)
        place.setWidget(panel)
        place.visibilityChanged.connect(self._on_visible)
        place.destroyed.connect(self._lose)
        self._corners = {corner: window.corner(corner) for corner, _ in _CORNERS}
        for corner, side in _CORNERS:  # below the image alone, so that no other panel shrinks
            window.setCorner(corner, side)
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, place)
        self._follow()

    def _on_visible(self, visible: bool) -> None:
        if self._place is not None and self._place.isHidden():  # closed by its own button
            self._close_soon.start()  # not while Qt is hiding it

    def _lose(self) -> None:
        self.panel = self._place = None
        self._forget()

    def _forget(self) -> None:
        self._volumes = None
        self._draw_soon.stop()
        self._renew_soon.stop()
        if self._image is not None:
            self._image.events.contrast_limits.disconnect(self._redraw)
            self._image.events.data.disconnect(self._redraw)
        self._image = self._annotation = None

    def _follow(self) -> None:
        """Read the case on view, if the panel is open."""
        if self.panel is None:
            return
        self._forget()
        self._annotation = annotation = self._bench.annotation
        if annotation is None:
            self._blank("")
            return
        self._at = [n // 2 for n in annotation.case.geometry.shape]
        self._image = annotation.layers.image
        self._image.events.contrast_limits.connect(self._redraw)
        self._image.events.data.connect(self._redraw)
        self._blank("Reading the case…")
        self._load()

    def _load(self) -> None:
        annotation, study = self._annotation, self._bench.study
        if annotation is None or study is None or self._task is not None:
            return
        case, seen = annotation.case, annotation.layers.channels
        channel = seen.array
        if channel != self._shown:
            self._volumes = None  # of another channel
        self._shown = channel
        if channel not in images_of(case):
            self._blank(f"The case has no {seen.names[seen.place]}.")
            return
        try:
            stored = study.arrays.open(case.id, channel)
        except (UserError, OSError) as error:
            self._blank(str(error))
            return
        size = stored.dtype.itemsize * stored.size + stored.size
        if size > _LARGEST_BYTES:
            self._blank(f"The case would take {size / 2**30:.1f} GiB of memory: more than 2.")
            return
        image = None if self._volumes is None else self._volumes[0]
        self._task = task = BackgroundTask(
            lambda report: _read(study, case.id, channel, image), "mlbseg-planes", self
        )

        def ended(found: Volumes | None, error: BaseException | None) -> None:
            self._task = None
            task.deleteLater()
            if self._annotation is not annotation or annotation.layers.channels.array != channel:
                self._load()  # another case, or channel, is on view by now
            elif error is not None:
                self._blank(f"The case cannot be read: {error}")
            else:
                self._volumes = found
                self._redraw()

        task.ended.connect(ended)
        task.start()

    def _hear(self, event: Event) -> None:
        annotation = self._annotation
        if annotation is None or not isinstance(event, SlicesPublished):
            return
        ours = event.case_id == annotation.case.id and ArrayName.PREDICTION in event.arrays
        if ours and not self._renew_soon.isActive():
            self._renew_soon.start()

    def _redraw(self, *_: object) -> None:
        if self.panel is not None and not self._draw_soon.isActive():
            self._draw_soon.start()

    def _blank(self, why: str) -> None:
        if self.panel is not None:
            self.panel.say(why)
            for view in self.panel.views:
                view.show_picture(None)

    def _draw(self) -> None:
        panel, annotation, volumes = self.panel, self._annotation, self._volumes
        if panel is None or annotation is None:
            return
        if self._shown != annotation.layers.channels.array:
            self._blank("Reading the channel…")
            self._load()
            return
        if volumes is None:
            return
        key, study = annotation.key, self._bench.study
        self._at[key.axis] = key.index
        table = color_table(study.classes if study else (), self._bench.view.marks.hidden)
        axes = _others(key.axis)
        panel.say("")
        panel.name(*(f"{PLANES[axis]}, slice {self._at[axis]}" for axis in axes))
        for view, axis in zip(panel.views, axes, strict=True):
            view.show_picture(self._picture(annotation, volumes, axis, table))

    def _picture(
        self, annotation: Annotation, volumes: Volumes, axis: int, table: NDArray[np.float32]
    ) -> Picture:
        image, machine = volumes
        index, where = self._at[axis], plane(axis, self._at[axis])
        labels = annotation.across(axis, index, lambda: machine[where].copy())
        pixels = picture(image[where], window_of(annotation.layers.image), labels, table)
        down, right = _others(axis)
        geometry = annotation.case.geometry
        runs = ("down" if axis == 0 else "up", "right")
        return Picture(
            pixels if axis == 0 else pixels[::-1],
            annotation.case.sides_mm(axis),
            (as_seen(axis, len(pixels), self._at[down]), self._at[right]),
            edge_letters(geometry, (down, right), runs),
        )

    def _go(self, which: int, row: int, column: int) -> None:
        annotation = self._annotation
        if annotation is None:
            return
        axis = _others(annotation.key.axis)[which]
        down, right = _others(axis)
        shape = annotation.case.geometry.shape
        self._at[down], self._at[right] = as_seen(axis, shape[down], row), column
        annotation.go_to(self._at[annotation.key.axis])
        self._redraw()


def _others(axis: int) -> tuple[int, int]:
    first, second = (k for k in range(3) if k != axis)
    return first, second


def _read(study: Study, case_id: str, channel: ArrayName, image: NDArray[Any] | None) -> Volumes:
    if image is None:
        image = np.asarray(study.arrays.open(case_id, channel)[:])
    return image, study.labels.machine(case_id)
