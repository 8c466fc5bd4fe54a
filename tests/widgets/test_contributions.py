import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
import SimpleITK
from napari._app_model import get_app_model
from npe2 import PluginManifest
from npe2.manifest.contributions import MenuCommand
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog, QWidget
from screenshot import screenshot

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import write_rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets import contributions, palette
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.lifetime.rescues import FoundRescue
from napari_mlbseg.widgets.requests import case_rows
from napari_mlbseg.widgets.shortcuts import EVERY

PALETTE = "napari_mlbseg.widgets.palette"
NAMES = tuple(command.name for command in EVERY)
PLUGIN = "napari-mlbseg"


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> Iterator[napari.Viewer]:
    viewer = make_napari_viewer()
    yield viewer
    open_dock(viewer).workbench.shut_down()


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution(PLUGIN)


def test_the_manifest_is_valid_and_everything_in_it_exists(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert manifest.package_metadata is not None
    assert manifest.package_metadata.version == importlib.metadata.version(PLUGIN)
    assert [w.display_name for w in manifest.contributions.widgets or []] == ["MLB-Seg"]


def test_menus_offer_known_commands(manifest: PluginManifest) -> None:
    commands = {c.id for c in manifest.contributions.commands or []}
    menus = manifest.contributions.menus
    assert {"napari/layers/annotate", "napari/layers/segment"} <= set(menus)
    found = {
        item.command for items in menus.values() for item in items if isinstance(item, MenuCommand)
    }
    assert found <= commands


def test_only_studies_are_claimed(study_path: Path, tmp_path: Path) -> None:
    assert contributions.get_reader(str(study_path)) is not None
    assert contributions.get_reader([str(study_path)]) is not None
    (tmp_path / "a.mlbseg").write_text("no folder")
    for other in ("a.mlbseg", "b.nii.gz", "missing.mlbseg"):
        assert contributions.get_reader(str(tmp_path / other)) is None


def test_rescued_edits_are_claimed_and_offered(
    window: napari.Viewer, study_path: Path, tmp_path: Path
) -> None:
    key = SliceKey("phantom_01", 0, 5)
    path = tmp_path / "mine.mlbseg-rescue"
    with Study.open(study_path, writable=False) as study:
        write_rescue(path, Rescue.of(study, {key: study.labels.working(key.case_id)[5]}))
    assert contributions.get_reader(str(path)) is not None
    assert contributions.get_reader(str(tmp_path / "none.mlbseg-rescue")) is None
    offered: list[FoundRescue] = []
    rescues = open_dock(window).rescues
    rescues.offered.disconnect()
    rescues.offered.connect(offered.append)
    window.open(str(path), plugin=PLUGIN)
    assert [list(one.rescue.masks) for one in offered] == [[key]]


def test_without_a_window_a_study_is_read_as_layers(study_path: Path) -> None:
    layers = contributions.read_study(str(study_path))
    assert [kind for _, _, kind in layers] == ["image", "labels"]
    with Study.open(study_path) as study:
        spacing = study.cases[0].geometry.spacing_mm
    assert all(meta["scale"] == spacing for _, meta, _ in layers)


def test_opening_a_study_in_napari_opens_the_dock(window: napari.Viewer, study_path: Path) -> None:
    window.open(str(study_path), plugin=PLUGIN)
    assert "working labels" in window.layers
    assert open_dock(window).workbench.study is not None


def test_saving_a_labels_layer_writes_the_frame_of_its_image(
    window: napari.Viewer, study_path: Path, tmp_path: Path
) -> None:
    open_dock(window, study_path)
    layer = window.layers["working labels"]
    layer.data[3, 5:9, 5:9] = 2
    path = tmp_path / "labels.nii.gz"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    with Study.open(study_path, writable=False) as study:
        case = study.cases[0]
    saved, image = SimpleITK.ReadImage(str(path)), SimpleITK.ReadImage(str(case.image_path))
    assert np.allclose(saved.GetDirection(), image.GetDirection(), atol=1e-5)
    assert np.allclose(saved.GetOrigin(), image.GetOrigin(), atol=1e-4)
    voxels = SimpleITK.GetArrayFromImage(saved).transpose()
    assert np.array_equal(voxels, case.geometry.to_file(np.asarray(layer.data)))


def test_layers_of_nobody_are_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    assert contributions.write_labels(str(path), np.zeros((2, 2, 2), np.uint8), {}) == []
    assert not path.exists()


def test_a_sample_case_is_plain_layers(window: napari.Viewer) -> None:
    layers = window.open_sample(PLUGIN, "phantom-case")
    assert [type(layer).__name__ for layer in layers] == ["Image", "Labels"]


def test_a_command_opens_a_study_of_phantoms_where_the_user_says(
    qtbot: QtBot, window: napari.Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "mine", tmp_path / "temporary"
    for folder in (home, elsewhere):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    answers = iter(["", str(home), str(home)])
    folder_asked = lambda *args, **kwargs: next(answers)  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", folder_asked)
    bench = open_dock(window).workbench
    contributions.open_phantom_study(window)
    assert (bench.study, list(home.iterdir())) == (None, [])
    contributions.open_phantom_study(window)
    qtbot.waitUntil(lambda: bench.annotation is not None)
    assert bench.study is not None
    assert bench.study.path == home / "phantoms.mlbseg"
    tour = open_dock(window).tour
    assert not tour.isHidden()
    assert tour.text.text().startswith("1 of ")
    assert len(case_rows(bench.study)) == 4
    assert list(elsewhere.iterdir()) == []
    identity = bench.study.identity
    bench.close_study()
    assert tour.isHidden()
    contributions.open_phantom_study(window)
    assert bench.study is not None
    assert bench.study.identity == identity


def test_a_sample_case_leaves_no_files(window: napari.Viewer, tmp_path: Path) -> None:
    tempfile.tempdir = str(tmp_path)
    try:
        window.open_sample(PLUGIN, "phantom-case")
    finally:
        tempfile.tempdir = None
    assert list(tmp_path.glob("napari-mlbseg-*")) == []


def test_every_command_of_the_palette_that_can_be_run_runs_without_an_argument(
    qtbot: QtBot, window: napari.Viewer, study_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lambda *args, **kwargs: str(study_path)  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", folder)
    app, ran = get_app_model(), set()
    for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID):
        rule = item.command
        if not rule.id.startswith(PLUGIN):
            continue
        if rule.enablement is None or rule.enablement.eval({}):
            app.commands.execute_command(rule.id).result()
            ran.add(rule.id.removeprefix(f"{PLUGIN}."))
    assert {"open_study", "open_dock", "open_phantom_study", *NAMES} <= ran
    assert not ran & {"read_study", "read_image", "write_labels"}


def test_the_palette_offers_every_command_that_has_a_key(manifest: PluginManifest) -> None:
    commands = {c.id.removeprefix(f"{PLUGIN}."): c for c in manifest.contributions.commands or []}
    ours = {n: c for n, c in commands.items() if str(c.python_name).startswith(PALETTE)}
    assert set(ours) == set(NAMES)
    assert all(c.python_name == f"{PALETTE}:{name}" for name, c in ours.items())
    assert len({c.title for c in commands.values()}) == len(commands)


def test_a_command_of_the_palette_does_what_its_key_does(
    window: napari.Viewer, study_path: Path
) -> None:
    bench = open_dock(window, study_path).workbench
    assert bench.annotation is not None
    key = bench.annotation.key
    get_app_model().commands.execute_command(f"{PLUGIN}.accept").result()
    assert bench.annotation.state(key) is SliceState.CLEAN
    get_app_model().commands.execute_command(f"{PLUGIN}.undo").result()
    assert bench.annotation.state(key) is SliceState.UNTOUCHED
    with pytest.raises(AttributeError, match="no command is called 'rub_out'"):
        getattr(palette, "rub_" + "out")


def test_a_command_asks_for_a_study_and_opens_it(
    qtbot: QtBot, window: napari.Viewer, study_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lambda *args, **kwargs: str(study_path)  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", folder)
    contributions.open_study(window)
    bench = open_dock(window).workbench
    qtbot.waitUntil(lambda: bench.annotation is not None)
    assert bench.study is not None
    assert bench.study.path == study_path


def test_the_command_opens_one_dock(window: napari.Viewer) -> None:
    contributions.open_dock(window)
    contributions.open_dock(window)
    docks = [w for w in window.window.dock_widgets.values() if isinstance(w, MLBSegDock)]
    assert len(docks) == 1
    assert isinstance(docks[0], QWidget)


def test_a_screenshot_shows_the_case_and_the_dock(study_path: Path, tmp_path: Path) -> None:
    picture = screenshot(study_path, tmp_path / "a.png", size=(1300, 850))
    assert picture.shape[:2] == (850, 1300)
    assert (tmp_path / "a.png").stat().st_size > 20_000
    middle = picture[200:600, 450:800, :3].reshape(-1, 3)
    assert np.unique(middle, axis=0).shape[0] > 50
