import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from left_open import ends_with_the_test, is_open, still_running, studies_watched, threads

import napari_mlbseg.engine
from napari_mlbseg.project.study import Study

if TYPE_CHECKING:
    from command_line import Mlbseg

# Shapes and types of the engine are checked whenever a test calls it. Only the settings are left
# out: they check what they are given themselves, and say in words what is wrong.
engine = [found.name for found in iter_modules(napari_mlbseg.engine.__path__)]
install_import_hook(
    [f"napari_mlbseg.engine.{name}" for name in engine if name != "config"], "checked.annotations"
)

# No test fails because a machine is busy: nothing that Hypothesis does is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
if find_spec("PyQt6"):  # where several bindings are there pytest-qt would take another one
    os.environ.setdefault("PYTEST_QT_API", "pyqt6")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    asking = [item for item in items if item.get_closest_marker("cuda")]
    if not asking:
        return
    import torch  # takes seconds, which other tests need not wait for

    if not torch.cuda.is_available():
        for item in asking:
            item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device here"))


@pytest.fixture
def mlbseg() -> "Mlbseg":
    from command_line import call  # loads the command line, which few tests need

    return call


@pytest.fixture(scope="session")
def every_study() -> Iterator[list[Study]]:
    with studies_watched() as studies:
        yield studies


@pytest.fixture(autouse=True)
def nothing_is_left_open(every_study: list[Study]) -> Iterator[None]:
    """A study or a thread that outlives its test disturbs another one, which is then blamed."""
    earlier, made, running = len(every_study), len(ends_with_the_test), threads()
    yield
    for study in ends_with_the_test[made:]:
        study.close()
    going_on = still_running(running)  # the end of a training may close its study
    left = [study.path.name for study in every_study[earlier:] if is_open(study)]
    del every_study[earlier:], ends_with_the_test[made:]
    assert going_on == [], "threads that do not end"
    assert left == [], "studies that were not closed"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scans, which are not part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLBSEG_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set MLBSEG_DATA to their folder")
    return folder
