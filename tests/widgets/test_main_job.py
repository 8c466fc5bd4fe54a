"""The whole job in the real window, with the real engine: correct, train, export, read back."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
import SimpleITK
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_mlbseg.engine.config import Config
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.samples import PhantomCohort
from napari_mlbseg.widgets.background.bridge import EventSource, engine_of
from napari_mlbseg.widgets.dock import open_dock

pytestmark = pytest.mark.one_binding

LEFT = Qt.MouseButton.LeftButton
# Imported labels would stand in place of what so short a training makes of them, but for "none".
TINY: dict[str, Any] = {
    "base_steps": 15,
    "steps": 10,
    "slice_size": 48,
    "weights": "none",
    "device": "cpu",
    "threads": 1,
}


def test_from_rough_labels_to_exported_ones(
    qtbot: QtBot,
    make_napari_viewer: Callable[..., napari.Viewer],
    study_path: Path,
    cohort: PhantomCohort,
    tmp_path: Path,
) -> None:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    bench, training = dock.workbench, dock.training_panel
    assert bench.annotation is not None
    assert bench.study is not None
    annotation, case = bench.annotation, bench.annotation.case
    layer = annotation.layers.working

    truth = read_labels(cohort.truth / "phantom_01.nii.gz")[0].voxels
    for index in (8, 11, 14):
        annotation.go_to(index)
        for value in (0, 1, 2):
            with layer.block_history():
                for y, x in np.argwhere((truth[index] == value) & (layer.data[index] != value)):
                    layer.brush_size = 1
                    layer.paint((index, y, x), value)
        qtbot.waitUntil(lambda: annotation.state(annotation.key) is SliceState.DRAFT)
        qtbot.mouseClick(dock.slices_panel.buttons["accept"], LEFT)
    assert [key.index for key in bench.study.slices.clean()] == [8, 11, 14]
    assert all(np.array_equal(layer.data[i], truth[i]) for i in (8, 11, 14))

    def tiny(study: object, config: Config) -> EventSource:
        assert bench.study is not None
        return engine_of(bench.study, dataclasses.replace(config, **TINY))

    bench.engine = tiny
    annotation.go_to(12)
    before = layer.data[12].copy()
    qtbot.mouseClick(training.start, LEFT)
    qtbot.waitUntil(lambda: training.start.isEnabled())
    assert "Finished" in training.status.text(), training.status.text()
    qtbot.waitUntil(lambda: not np.array_equal(layer.data[12], before))
    assert np.array_equal(layer.data[12], viewer.layers["prediction"].data[12])
    assert all(np.array_equal(layer.data[i], truth[i]) for i in (8, 11, 14))
    study = bench.study
    qtbot.waitUntil(lambda: np.array_equal(study.labels.working(case.id), layer.data))

    dock.export_panel.folder.setText(str(tmp_path / "out"))
    with qtbot.waitSignal(bench.told):
        qtbot.mouseClick(dock.export_panel.case, LEFT)
    written = SimpleITK.ReadImage(str(next((tmp_path / "out").glob("*.nii.gz"))))
    source = SimpleITK.ReadImage(str(case.image_path))
    voxels = SimpleITK.GetArrayFromImage(written).transpose()
    assert np.array_equal(voxels, case.geometry.to_file(np.asarray(layer.data)))
    assert np.allclose(written.GetDirection(), source.GetDirection(), atol=1e-5)
    assert np.allclose(written.GetOrigin(), source.GetOrigin(), atol=1e-4)
    bench.shut_down()
