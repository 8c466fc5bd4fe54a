"""The dock of a window for reviewing: no painting, no training, and nothing that needs torch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.widgets import shortcuts
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.focus import FocusKeeper
from napari_mlbseg.widgets.panels.message import MessageLine
from napari_mlbseg.widgets.panels.review import ReviewPanel
from napari_mlbseg.widgets.panels.style import heading
from napari_mlbseg.widgets.reading.habits import Habits
from napari_mlbseg.widgets.requests import said_of
from napari_mlbseg.widgets.reviewing import Reviewing
from napari_mlbseg.widgets.workbench import Workbench

NAME = "MLB-Seg review"
_WIDTH = 380


class ReviewDock(QWidget):
    """Shows a study to somebody who reviews what others accepted."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.workbench = bench = Workbench(viewer)
        self.reviewing = Reviewing(bench, self)
        self.panel, self.message = ReviewPanel(), MessageLine()
        self.habits = Habits(self, viewer, bench)
        self._name = heading("")
        self._lay_out()
        self._focus = FocusKeeper(self)
        self.panel.verdict_given.connect(self._give)
        self.panel.next_asked.connect(self.go_on)
        self.panel.chosen.connect(bench.view.go_to)
        self.panel.strip.chosen.connect(lambda i: bench.view.show(lambda a: a.go_to(i)))
        self.panel.whole.toggled.connect(lambda _: self._show_slice())
        bench.study_changed.connect(self._take_study)
        self._begin = timer(self, 0, self.go_on, single_shot=True)  # once a case is on view
        bench.view.changed.connect(self._show_slice)
        bench.view.moved.connect(lambda _: self._show_slice())
        bench.failed.connect(partial(self.message.say, error=True))
        bench.told.connect(self.message.say)
        self.reviewing.changed.connect(self._show_study)
        self._bind(viewer)
        # Methods, not functions: Qt would keep whatever a function refers to.
        self.destroyed.connect(bench.lose_window)
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(bench.end)

    def sizeHint(self) -> QSize:
        """As wide as the dock for annotators."""
        return QSize(_WIDTH, 800)

    def go_on(self) -> None:
        """Show the next slice that awaits a review."""
        if not self.reviewing.go_on():
            self.message.say("No slice awaits your review.")

    def _give(self, verdict: Verdict, note: str, whole: bool) -> None:
        self.message.clear()
        if self.reviewing.give(verdict, note, whole=whole):
            self.panel.given()
            self.go_on()

    def _take_study(self) -> None:
        self._show_study()
        if self.workbench.study is not None:
            self._begin.start()

    def _show_study(self) -> None:
        study = self.workbench.study
        self._name.setText("" if study is None else study.name)
        self.panel.set_rows(self.reviewing.rows())
        self._show_slice()

    def _show_slice(self) -> None:
        annotation, record = self.workbench.annotation, self.reviewing.record()
        if annotation is None:
            self.panel.show_slice("Review", "", may_review=False)
            return
        title = f"Slice {annotation.key.index} of {annotation.case.name}"
        may_review = self.reviewing.may_review()
        self.panel.show_slice(title, said_of(record), may_review=may_review)
        self.panel.show_states(*self.reviewing.states())
        self.panel.set_current(annotation.key)

    def _bind(self, viewer: Viewer) -> None:
        actions: dict[str, Callable[[], object]] = {
            "initial": partial(self._toggle, ArrayName.INITIAL_LABELS),
            "prediction": partial(self._toggle, ArrayName.PREDICTION),
            "hide_all": self._hide,
            "approve": partial(self.panel.give, Verdict.APPROVED),
            "send_back": partial(self.panel.give, Verdict.RETURNED),
            "next_to_review": self.go_on,
        }
        shortcuts.bind_for_review(viewer, actions, blink=self._hide)

    def _toggle(self, name: ArrayName) -> None:
        self.workbench.view.show(lambda annotation: annotation.toggle_map(name))

    def _hide(self) -> None:
        self.workbench.view.show(lambda annotation: annotation.layers.hide_all())

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addWidget(self._name)
        layout.addWidget(self.panel, 1)
        layout.addWidget(self.habits.panel)
        layout.addWidget(self.message)


def open_review(viewer: Viewer, study: Path) -> ReviewDock:
    """Show a study for review, at the first slice that awaits one."""
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name=NAME)
    dock.workbench.open_study(study, writable=False)
    return dock
