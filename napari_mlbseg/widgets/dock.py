"""The dock widget: builds the panels and connects them to the workbench."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from napari.viewer import Viewer, current_viewer
from qtpy.QtCore import QSize
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QApplication, QTabWidget, QVBoxLayout, QWidget

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Failed, Pause, Resume, Stop, ValidationScored
from napari_mlbseg.engine.forecast import measured
from napari_mlbseg.engine.training.untrained import is_trained
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.pace import pace_of
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.widgets import preferences, shortcuts
from napari_mlbseg.widgets.agreeing import Agreeing
from napari_mlbseg.widgets.background.suggester import Suggester
from napari_mlbseg.widgets.case.commands import BY_NAME, SliceCommands
from napari_mlbseg.widgets.case.unseen import Unseen
from napari_mlbseg.widgets.conflicts import Conflicts
from napari_mlbseg.widgets.focus import FocusKeeper
from napari_mlbseg.widgets.lifetime.dock_life import NAME, Lifetime
from napari_mlbseg.widgets.panels.cases import CasesPanel
from napari_mlbseg.widgets.panels.export import ExportPanel
from napari_mlbseg.widgets.panels.layout import UprightArea, key_sheet, scrolled
from napari_mlbseg.widgets.panels.message import MessageLine
from napari_mlbseg.widgets.panels.slices import OVERLAYS, SlicesPanel
from napari_mlbseg.widgets.panels.study import StudyPanel
from napari_mlbseg.widgets.panels.style import quiet_sheet, restyle
from napari_mlbseg.widgets.panels.suggestions import SuggestionsPanel
from napari_mlbseg.widgets.panels.tools import ToolsPanel
from napari_mlbseg.widgets.panels.tour import Station, Tour
from napari_mlbseg.widgets.panels.training import TrainingPanel
from napari_mlbseg.widgets.reading.habits import Habits
from napari_mlbseg.widgets.refusals import reporting
from napari_mlbseg.widgets.requests import (
    CaseRow,
    case_rows,
    cohort_in_words,
    returned_in_words,
    said_of,
)
from napari_mlbseg.widgets.sample_study import PHANTOM_STUDY, phantom_study
from napari_mlbseg.widgets.toolbox import Toolbox
from napari_mlbseg.widgets.workbench import Workbench

_VIEWS = {
    "initial": ArrayName.INITIAL_LABELS,
    "prediction": ArrayName.PREDICTION,
    "weights": ArrayName.META_WEIGHTS_INITIAL,
    "trust": ArrayName.TRUST,
}
_WIDTH = 380
# Keyed by the id of the viewer. The viewer keeps its dock alive, since its keys are bound to it.
_docks: "WeakValueDictionary[int, MLBSegDock]" = WeakValueDictionary()


class MLBSegDock(QWidget):
    """The dock of a window, which shows a study: cases, slices, training and export."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.workbench = Workbench(napari_viewer)
        self.study_panel = StudyPanel()
        self.cases_panel = CasesPanel()
        self.slices_panel = SlicesPanel()
        self.training_panel = TrainingPanel(target_dice=preferences.target_dice())
        self.training_panel.form.choose_device(preferences.device())
        self.suggester = Suggester(self)
        self._unseen = Unseen()
        self.suggestions_panel = SuggestionsPanel()
        self.export_panel = ExportPanel()
        self.message = MessageLine()
        self.tools_panel = ToolsPanel()
        self.toolbox = Toolbox(self.workbench, self.tools_panel, self)
        self.habits = Habits(self, napari_viewer, self.workbench)
        self.conflicts = Conflicts(self, self.workbench)
        self.agreeing = Agreeing(self, self.workbench)
        self.tabs = QTabWidget()
        self.tour = Tour(self, self._stops())
        self._touring = False
        self._work = QWidget()
        self._lay_out()
        self._follow_theme()
        napari_viewer.events.theme.connect(self._follow_theme)
        self._work.hide()  # there is nothing to do without a study
        self._focus = FocusKeeper(self)
        self._clear_at_next_action()
        self._connect_panels()
        self._connect_workbench()
        self._connect_suggester()
        names = [command.name for command in shortcuts.EVERY]
        shortcuts.bind(
            napari_viewer,
            {name: partial(self.run, name) for name in names},
            blink=self._blink,
            choose=self._choose_class,
        )
        self.lifetime = Lifetime(self, self.workbench)
        self.rescues = self.lifetime.rescues
        self.lifetime.closing.closed.connect(self._on_closed)
        app = QApplication.instance()
        if app is not None:  # last, since others may still show something
            app.aboutToQuit.connect(self.training_panel.let_go)

    def sizeHint(self) -> QSize:
        """A size narrow enough to leave most of a small screen to the image."""
        return QSize(_WIDTH, 800)

    # --- panels ask ------------------------------------------------------------------------------

    def _connect_panels(self) -> None:
        bench = self.workbench
        self.study_panel.open_requested.connect(
            lambda path, writable: bench.open_study(path, writable=writable)
        )
        self.study_panel.create_requested.connect(bench.create_study)
        self.study_panel.close_requested.connect(bench.close_study)
        self.study_panel.cases_requested.connect(bench.changes.add)
        self.study_panel.cancel_requested.connect(bench.errands.cancel)
        self.study_panel.sample_requested.connect(self._show_sample)
        self.study_panel.case_asked.connect(self.cases_panel.step)
        self.study_panel.tour_asked.connect(self.tour.begin)
        self.study_panel.list_asked.connect(lambda: self.bring(self.cases_panel))
        self.cases_panel.case_chosen.connect(self._choose_case)
        self.cases_panel.rename_asked.connect(bench.changes.rename)
        self.cases_panel.relabel_asked.connect(bench.changes.relabel)
        self.cases_panel.remove_asked.connect(bench.changes.remove)
        self.cases_panel.restore_asked.connect(bench.changes.restore)
        self.slices_panel.command.connect(self.run)
        self.slices_panel.axis_chosen.connect(bench.view.turn)
        self.slices_panel.slice_chosen.connect(lambda i: bench.view.show(lambda a: a.go_to(i)))
        self.slices_panel.label_chosen.connect(lambda v: bench.view.show(lambda a: a.paint_with(v)))
        self.slices_panel.classes_chosen.connect(bench.set_classes)
        self.slices_panel.opacity_chosen.connect(self._fade)
        self.slices_panel.outline_chosen.connect(
            lambda px: bench.view.show(lambda a: a.layers.set_outline(px))
        )
        self.slices_panel.chips.lock_asked.connect(bench.view.marks.switch_lock)
        self.slices_panel.chips.eye_asked.connect(bench.view.marks.switch_eye)
        self.training_panel.start_requested.connect(self._train)
        self.training_panel.pause_requested.connect(lambda: bench.send(Pause()))
        self.training_panel.resume_requested.connect(lambda: bench.send(Resume()))
        self.training_panel.stop_requested.connect(lambda: bench.send(Stop()))
        self.training_panel.target.chosen.connect(preferences.prefer_target_dice)
        self.export_panel.export_requested.connect(bench.export)
        self.export_panel.model_requested.connect(bench.export_model)
        self.study_panel.report_requested.connect(bench.report)
        self.study_panel.conflicts_requested.connect(self.conflicts.open)
        self.study_panel.agreement_requested.connect(self.agreeing.open)
        self.study_panel.teaching_chosen.connect(bench.let_teach)
        self.suggestions_panel.chosen.connect(bench.view.go_to)
        self.toolbox.asked.connect(lambda: self.bring(self.tools_panel))

    def _clear_at_next_action(self) -> None:
        """Messages go stale with whatever is done next."""
        slices, training, study = self.slices_panel, self.training_panel, self.study_panel
        for acted in (
            study.open_requested,
            study.create_requested,
            study.report_requested,
            self.cases_panel.case_chosen,
            self.suggestions_panel.chosen,
            slices.axis_chosen,
            slices.slice_chosen,
            slices.classes_chosen,
            training.start_requested,
            self.export_panel.export_requested,
            self.export_panel.model_requested,
        ):
            acted.connect(lambda *_: self.message.clear())

    def _show_sample(self, folder: Path) -> None:
        self._touring = True
        with reporting(self._show_failure):
            path = folder / PHANTOM_STUDY
            if path.exists():
                self.workbench.open_study(path)
            else:
                self.workbench.create_study(phantom_study(folder))

    def bring(self, widget: QWidget) -> None:
        """Show the tab that a widget is in."""
        for place in range(self.tabs.count()):
            page = self.tabs.widget(place)
            if page is not None and (page is widget or page.isAncestorOf(widget)):
                self.tabs.setCurrentIndex(place)

    def run(self, name: str) -> None:
        """Run a command, by its name in `shortcuts.EVERY`."""
        self.message.clear()
        if name in _VIEWS:
            self.slices_panel.fade(name)
            self.workbench.view.show(lambda annotation: annotation.toggle_map(_VIEWS[name]))
        elif name == "hide_all":
            self.workbench.view.show(lambda annotation: annotation.layers.hide_all())
        elif name == shortcuts.READING_LAYOUT.name:
            self.habits.side_panels.toggle()
        elif name == shortcuts.PLANES.name:
            self.habits.planes.toggle()
        elif name == shortcuts.PLANES_HERE.name:
            self.habits.planes.look_here()
        elif name == shortcuts.RULER.name:
            self.habits.ruler.toggle()
        elif name == shortcuts.NEXT_CHANNEL.name:
            self.habits.next_channel()
        elif name == "next_suggested":
            self._go_to_suggested()
        elif name == "take_proposed_labels":
            self.workbench.view.act(self._take_proposed_labels)
        elif not self.toolbox.do(name):
            self.workbench.view.act(BY_NAME[name])

    def _blink(self) -> None:
        self.workbench.view.show(lambda annotation: annotation.layers.hide_all())

    def _choose_class(self, place: int) -> None:
        """Paint with a class by its place among those of the study, from 0."""
        study = self.workbench.study
        classes = study.classes if study is not None else ()
        if place < len(classes):
            self.workbench.view.show(lambda annotation: annotation.paint_with(classes[place].value))

    def _fade(self, name: str, opacity: float) -> None:
        self.workbench.view.show(lambda a: a.layers.set_opacity(_VIEWS.get(name), opacity))

    def _go_to_suggested(self) -> None:
        annotation = self.workbench.annotation
        key = self.suggester.after(annotation.key if annotation else None)
        if key is not None:
            self.workbench.view.go_to(key)
        else:
            self.message.say(self.suggestions_panel.note.text())

    def _take_proposed_labels(self, commands: SliceCommands) -> None:
        taken = commands.take_proposed_labels(self.slices_panel.doubt.value())
        text = f"{taken} pixels of the slice now have the proposed label."
        self.message.say(text if taken else "Nothing is proposed for this slice.")

    def _train(self, config: Config) -> None:
        study = self.workbench.study
        if not config.resume and study is not None and is_trained(study):
            self.training_panel.ask_afresh().accepted.connect(partial(self._begin, config))
        else:
            self._begin(config)

    def _begin(self, config: Config) -> None:
        if self.workbench.train(config):
            self.training_panel.begin()
            preferences.prefer_device(config.device)

    # --- the workbench tells ---------------------------------------------------------------------

    def _connect_workbench(self) -> None:
        bench = self.workbench
        bench.study_changed.connect(self._show_study)
        bench.study_changed.connect(self.conflicts.read)  # after what clears the message
        self.conflicts.changed.connect(self._show_conflicts)
        bench.view.changed.connect(self._show_case)
        bench.classes_changed.connect(self._show_classes)
        bench.teaching_changed.connect(self._show_teaching)
        bench.changes.changed.connect(self._show_cases)
        bench.view.slices_changed.connect(self._show_slice_states)
        bench.view.moved.connect(self._show_slice)
        bench.view.extent_changed.connect(self._show_extent)
        bench.view.label_picked.connect(self.slices_panel.set_label)
        bench.view.label_picked.connect(lambda _: self._show_outside())
        bench.view.marks.changed.connect(self._show_marks)
        bench.view.history_changed.connect(self._show_history)
        bench.view.overlays_changed.connect(self._show_overlays)
        bench.engine_event.connect(self._show_event)
        bench.failed.connect(self._show_failure)
        bench.told.connect(self.message.say)
        bench.holding.changed.connect(lambda _: self._show_unsaved())
        bench.locked.connect(self.study_panel.ask_read_only)
        bench.errands.busy.connect(self.study_panel.show_busy)
        bench.errands.can_cancel.connect(self.study_panel.show_cancel)
        bench.intake.choice_needed.connect(self.study_panel.ask_choices)
        bench.imported.connect(self.study_panel.list_problems)

    def _connect_suggester(self) -> None:
        bench, suggester = self.workbench, self.suggester
        bench.study_changed.connect(lambda: suggester.set_study(bench.study))
        bench.view.slices_changed.connect(suggester.slices_changed)
        bench.view.extent_changed.connect(suggester.extent_changed)
        bench.engine_event.connect(suggester.hear)
        # Connected after the workbench: suggestions lie along the axes of the cases.
        self.slices_panel.axis_chosen.connect(suggester.refresh)
        suggester.changed.connect(self._show_suggestions)

    def _show_study(self) -> None:
        study = self.workbench.study
        self._work.setVisible(study is not None)
        self.message.clear()
        self._show_rows()
        self._show_classes()
        writable = study is not None and study.writable
        read_only = study is not None and not study.writable
        self.training_panel.set_available(writable, read_only=read_only)
        self._show_teaching()
        self._show_past_run()
        self._show_case()
        self.message.say(returned_in_words(self.cases_panel.model.rows))
        if study is None:
            self.tour.end()
        elif self._touring:
            self._touring = False
            self.tour.begin()

    def _show_rows(self) -> None:
        study = self.workbench.study
        rows = case_rows(study)
        self.cases_panel.set_rows(rows)
        self._show_cohort()
        if study is None:
            self.study_panel.set_study(None)
            return
        removed = [case.name for case in study.changes.removed]
        self.cases_panel.set_removed(removed, writable=study.writable)
        self.study_panel.set_study(study.path, cases=len(rows), writable=study.writable)

    def _show_cohort(self) -> None:
        study = self.workbench.study
        clean = study.slices.records(state=SliceState.CLEAN) if study is not None else ()
        pace = pace_of([record.created_at for record in clean])
        self.cases_panel.summary.say(cohort_in_words(self.cases_panel.model.rows, pace))

    def _show_cases(self) -> None:
        """Cases came, went, or are called otherwise."""
        self._unseen.forget()
        self._show_rows()
        self._show_accepted()
        self._show_case()
        self.suggester.refresh()

    def _show_past_run(self) -> None:
        study = self.workbench.study
        with reporting(self._show_failure):
            runs = () if study is None else study.runs.all()
            curves = study.runs.curves(runs[-1].id) if study is not None and runs else {}
            self.training_panel.plot.show_past(curves)
        self._show_forecast()

    def _show_forecast(self) -> None:
        study = self.workbench.study
        with reporting(self._show_failure):
            self.training_panel.target.show_points(() if study is None else measured(study))

    def _show_classes(self) -> None:
        study = self.workbench.study
        self.slices_panel.set_classes(study.classes if study else ())
        self._unseen.forget()  # which slices are certified empty depends on the classes
        self._show_slice()

    def _show_case(self) -> None:
        annotation = self.workbench.annotation
        case_id = annotation.case.id if annotation else None
        self.cases_panel.set_current(case_id)
        self.study_panel.set_case(annotation.case.name if annotation else None)
        study = self.workbench.study
        self.export_panel.set_available(() if study is None else study.cases, case_id)
        self._show_slice()
        self._show_history()
        self._show_overlays()

    def _show_overlays(self) -> None:
        annotation = self.workbench.annotation
        if annotation is None:
            self.slices_panel.set_overlays((), {}, None)
            return
        layers = annotation.layers
        shown, opacities = layers.shown(), {n: layers.opacity(_VIEWS.get(n)) for n in OVERLAYS}
        names = [name for name, which in _VIEWS.items() if which in shown]
        self.slices_panel.set_overlays(names, opacities, layers.outline_px)

    def _show_marks(self) -> None:
        marks = self.workbench.view.marks
        self.slices_panel.chips.set_marks(marks.locked, marks.hidden)

    def _show_history(self) -> None:
        annotation = self.workbench.annotation
        steps = (annotation.history.last, annotation.history.next) if annotation else (None, None)
        self.slices_panel.set_history(*(step.name if step else None for step in steps))

    def _show_accepted(self) -> None:
        study = self.workbench.study
        if study is not None:
            accepted, trained = len(study.slices.teaching()), is_trained(study)
            self.training_panel.set_accepted(accepted, trained=trained)

    def _show_teaching(self) -> None:
        study = self.workbench.study
        only = study is not None and study.reviews.only_approved
        self.study_panel.set_teaching(only_approved=only)
        self._show_accepted()

    def _choose_case(self, case_id: str) -> None:
        """Show a case, at the first slice that the list was filtered for."""
        study, index = self.workbench.study, self.cases_panel.first_of(case_id)
        if study is None or index is None:
            self.workbench.view.choose(case_id)
        else:
            self.workbench.view.go_to(SliceKey(case_id, study.case(case_id).axis, index))

    def _show_slice_states(self, keys: Sequence[SliceKey]) -> None:
        self._unseen.forget()
        study = self.workbench.study
        assert study is not None, "slices change in an open study"
        for case_id in {key.case_id for key in keys}:
            self.cases_panel.set_row(CaseRow.of(study, case_id))
        self._show_cohort()
        self._show_accepted()
        self._show_slice()

    def _show_slice(self) -> None:
        annotation, study = self.workbench.annotation, self.workbench.study
        self._mark_suggestions()
        if annotation is None or study is None:
            self.slices_panel.set_slice(None, None, ())
            return
        key = annotation.key
        self.slices_panel.set_slice(
            key.axis, key.index, annotation.states(), writable=study.writable
        )
        self.slices_panel.strip.set_never_looked_at(
            self._unseen.slices_of(study, key.case_id, key.axis)
        )
        self.slices_panel.set_label(annotation.label)
        record = study.slices.record(key)
        reviewed = record is not None and record.review is not None
        self.slices_panel.review.say(said_of(record) if reviewed else "")
        along_it = annotation.case.axis == key.axis
        row = next((row for row in self.cases_panel.model.rows if row.case_id == key.case_id), None)
        marked = (row.returned, row.blind) if row is not None and along_it else ((), ())
        self.slices_panel.strip.set_asked(*marked)
        self._show_outside()

    def _show_extent(self) -> None:
        self._unseen.forget()
        self._show_slice()

    def _show_outside(self) -> None:
        annotation = self.workbench.annotation
        if annotation is not None:
            found = annotation.extents.seen(annotation.key.axis, annotation.label)
            self.slices_panel.strip.set_outside(*found)

    def _show_suggestions(self) -> None:
        found, study = self.suggester, self.workbench.study
        names = {c.value: c.name for c in study.classes} if study else {}
        cases = {case.id: case.name for case in study.cases} if study else {}
        self.suggestions_panel.set_suggestions(
            [one for one in found.best if one.key.case_id in cases],
            names=names,
            cases=cases,
            looking=found.looking,
            problem=found.problem,
        )
        self._mark_suggestions()

    def _mark_suggestions(self) -> None:
        annotation = self.workbench.annotation
        key = annotation.key if annotation else None
        following = self.suggester.after(key)
        if following is not None:
            self.workbench.view.expect(following)
        self.suggestions_panel.set_current(key)
        best = [one.key for one in self.suggester.best]
        suggested: dict[str, set[int]] = {}
        for one in best:
            suggested.setdefault(one.case_id, set()).add(one.index)
        self.cases_panel.model.set_suggested(suggested)
        self.slices_panel.strip.set_suggested(
            k.index for k in best if key and (k.case_id, k.axis) == (key.case_id, key.axis)
        )

    def _show_event(self, event: Event) -> None:
        self.training_panel.apply(event)
        if isinstance(event, ValidationScored):
            self._show_forecast()
        if isinstance(event, Failed):
            self._show_failure(event.message)

    def _show_conflicts(self, count: int) -> None:
        self.study_panel.conflicts.setVisible(bool(count))
        if count:
            slices = "1 slice was" if count == 1 else f"{count} slices were"
            self.message.say(
                f"{slices} accepted differently by several people: ☰ > Accepted differently…"
            )

    def _show_unsaved(self) -> None:
        self.message.hold(self.workbench.holding.text)

    def _show_failure(self, text: str) -> None:
        self.message.say(text, error=True)
        show_error(text)

    def _on_closed(self) -> None:
        shortcuts.unbind(self._viewer)
        self._viewer.events.theme.disconnect(self._follow_theme)
        _docks.pop(id(self._viewer), None)

    def _follow_theme(self, event: object = None) -> None:
        theme = get_theme(self._viewer.theme)
        text, ground = (QColor(color.as_hex()) for color in (theme.text, theme.background))
        restyle(self, quiet_sheet(text, ground))

    def _stops(self) -> list[Station]:
        slices = self.slices_panel
        return [
            (slices.strip, "These are the slices of the case. Click one, or turn the wheel."),
            (
                slices.chips,
                "Choose a class, and paint or erase on the image. All is saved at once.",
            ),
            (slices.buttons["accept"], "When a slice is right, accept it (A): the network learns."),
            (self.training_panel.line, "After a few slices, start the training. Go on meanwhile."),
            (slices.buttons["prediction"], "The prediction appears as an outline and improves."),
            (
                slices.buttons["next_suggested"],
                "This leads to the slice that would teach most (G).",
            ),
            (self.tabs, "Tools that spare strokes, all cases, export, and all keys are here."),
        ]

    # --- looks -----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.tabs.addTab(self.cases_panel, "Cases")
        self.tabs.addTab(scrolled(self.tools_panel), "Tools")
        self.tabs.addTab(scrolled(self.training_panel), "Training")
        self.tabs.addTab(scrolled(self.suggestions_panel), "Suggested")
        self.tabs.addTab(scrolled(self.export_panel), "Export")
        self.tabs.addTab(key_sheet(), "Keys")
        self.tabs.setUsesScrollButtons(False)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(4)
        column.addWidget(self.study_panel)
        column.addWidget(self._work, 1)
        column.addStretch()
        work = QVBoxLayout(self._work)
        work.setContentsMargins(0, 0, 0, 0)
        work.setSpacing(4)
        work.addWidget(self.slices_panel)
        work.addWidget(self.habits.panel)
        work.addWidget(self.training_panel.line)
        work.addWidget(self.tabs, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(UprightArea(inside), 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(6, 2, 6, 4)
        foot.addWidget(self.tour)
        foot.addWidget(self.message)
        layout.addLayout(foot)


def dock_of(viewer: Viewer) -> MLBSegDock:
    """Return the dock of a window: one and the same for the lifetime of the window."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari passes a proxy to plugins
    dock = _docks.get(id(viewer))
    if dock is None:
        dock = _docks[id(viewer)] = MLBSegDock(viewer)
    return dock


def plugin_dock() -> MLBSegDock:
    """Return the current window's dock for napari to add: a new one, or one closed before."""
    viewer = current_viewer()
    assert viewer is not None, "the dock needs a window"
    dock = dock_of(viewer)
    if dock.parentWidget() is not None:  # added under another name: a window has one dock
        viewer.window.remove_dock_widget(dock)
    return dock


def open_dock(viewer: Viewer, study: Path | None = None) -> MLBSegDock:
    """Show the dock of a window, and open a study in it if one is given."""
    dock = dock_of(viewer)
    if dock.parentWidget() is None:
        viewer.window.add_dock_widget(dock, name=NAME)
        dock.lifetime.find_window()
    place = dock.parentWidget()
    if place is not None:
        place.show()
        place.raise_()
    if study is not None:
        dock.workbench.open_study(study)
    return dock
