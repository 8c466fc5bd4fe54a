import os
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import napari
import pytest
from desk import Desk
from full_disk import Disk
from napari import settings
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication, QWidget

from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import PhantomCohort, make_phantom_cohort
from napari_mlbseg.widgets.background import in_turn, opening
from napari_mlbseg.widgets.case import stored
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

PATIENCE_MS = 300_000


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out under other bindings what one of them is enough for."""
    if os.environ.get("QT_API", "pyqt6") == "pyqt6":
        return
    enough = [item for item in items if item.get_closest_marker("one_binding")]
    if enough:
        items[:] = [item for item in items if not item.get_closest_marker("one_binding")]
        config.hook.pytest_deselected(items=enough)


class PatientBot(QtBot):
    """Waits as long as a busy machine may take; what never comes fails all the same.

    Widgets live until they are closed: pytest-qt refers to them weakly, and what is collected as
    garbage while Qt paints it takes the process along.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        super().__init__(request)
        self._alive: list[QWidget] = []

    def addWidget(self, widget: QWidget, **options: Any) -> None:  # noqa: N802
        """Close a widget at the end of the test, and keep it until then."""
        self._alive.append(widget)
        super().addWidget(widget, **options)

    waitSignal = partialmethod(QtBot.waitSignal, timeout=PATIENCE_MS)  # noqa: N815
    waitUntil = partialmethod(QtBot.waitUntil, timeout=PATIENCE_MS)  # noqa: N815


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> QtBot:
    return PatientBot(request)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown or saved late because the machine that tests has other work."""
    for module in (stored, in_turn, opening):
        monkeypatch.setattr(module, "_PATIENCE_S", 60.0)


@pytest.fixture(autouse=True)
def data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's data folder of its own: rescue files lie below it."""
    home = tmp_path / "data_home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def preferences_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """napari's preferences of plugins in a folder of its own."""
    home = tmp_path / "napari"
    monkeypatch.setattr(settings, "_CFG_PATH", str(home / "settings.yaml"))
    settings._clear_plugin_settings_cache()
    yield home
    settings._clear_plugin_settings_cache()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> PhantomCohort:
    return make_phantom_cohort(tmp_path_factory.mktemp("cohort"), cases=2)


@pytest.fixture
def study_path(cohort: PhantomCohort, tmp_path: Path) -> Path:
    path = tmp_path / "phantoms.mlbseg"
    with Study.create(path, author="annotator") as study:
        import_folder(study, cohort.images, cohort.labels)
    return path


@pytest.fixture
def study(study_path: Path) -> Iterator[Study]:
    with Study.open(study_path, author="annotator") as opened:
        yield opened


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def desk(qtbot: QtBot, viewer: ViewerModel, study: Study) -> Iterator[Desk]:
    made = Desk(viewer, study)
    yield made
    made.annotation.close()
    assert made.failures == []


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def dock(window: napari.Viewer, study_path: Path) -> Iterator[MLBSegDock]:
    """The dock with its study, in the `window` of a module's own."""
    made = open_dock(window, study_path)
    yield made
    made.workbench.shut_down()
