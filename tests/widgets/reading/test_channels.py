"""Channels of a case on one layer, by key, in the real window."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from bench import WindowAtWork
from nifti_files import load_nifti
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from two_channels import two_channel_case

from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.channels import ChannelRule
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import PhantomCohort
from napari_mlbseg.widgets.case.carried import carried_limits, window_of
from napari_mlbseg.widgets.case.channels import Channels
from napari_mlbseg.widgets.case.layers import layer_data


@pytest.fixture
def study_path(cohort: PhantomCohort, tmp_path: Path) -> Path:
    """T1, and as FLAIR the same turned from bright to dark; the second case has no FLAIR."""
    files = tmp_path / "files"
    files.mkdir()
    for number, path in enumerate(sorted(cohort.images.iterdir())):
        t1 = load_nifti(path)
        voxels = np.asarray(t1.dataobj)
        nibabel.save(t1, files / f"p{number}_t1.nii.gz")
        if number == 0:
            turned = (4000 - voxels).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(turned, t1.affine), files / "p0_flair.nii.gz")
    path = tmp_path / "two.mlbseg"
    rule = ChannelRule.parsed("T1=*_t1,FLAIR=*_flair")
    with Study.create(path, author="annotator") as study:
        import_folder(study, files, pairing=Pairing(channels=rule, fill_missing=True))
    return path


def test_a_key_shows_the_next_channel_with_grey_levels_of_its_own(
    bench: WindowAtWork, qtbot: QtBot
) -> None:
    layers, panel = bench.annotation.layers, bench.dock.habits.panel
    names = [layer.name for layer in bench.viewer.layers]
    key = bench.annotation.key
    t1 = np.asarray(layers.image.data[key.index])
    assert (layers.image.name, panel.channel.text()) == ("image: T1", "Channel: T1")
    assert panel.channel.isVisible()
    of_t1 = window_of(layers.image)
    layers.image.contrast_limits = of_t1[0], of_t1[0] + 100
    bench.hand.press(Qt.Key.Key_F6)
    assert (layers.image.name, panel.channel.text()) == ("image: FLAIR", "Channel: FLAIR")
    np.testing.assert_array_equal(np.asarray(layers.image.data[key.index]), 4000 - t1)
    assert window_of(layers.image) == pytest.approx((4000 - of_t1[1], 4000 - of_t1[0]))
    assert layers.working.intensities is not None
    np.testing.assert_array_equal(layers.working.intensities(key.axis, key.index), 4000 - t1)
    layers.image.contrast_limits = 3000, 3500
    bench.dock.habits.panel.channel.click()
    assert window_of(layers.image) == (of_t1[0], of_t1[0] + 100)
    assert len(bench.viewer.layers) == len(names)
    bench.hand.press(Qt.Key.Key_F6)
    assert window_of(layers.image) == (3000, 3500)
    planes = bench.dock.habits.planes
    planes.toggle()
    qtbot.waitUntil(lambda: planes.panel is not None and planes.panel.views[0].picture is not None)
    bench.dock.workbench.view.choose(bench.study.cases[1].id)
    layers = bench.annotation.layers
    assert layers.image.name == "image: FLAIR (missing)"
    assert not np.asarray(layers.image.data[key.index]).any()
    assert planes.panel is not None
    qtbot.waitUntil(lambda: planes.panel is not None and planes.panel.views[0].picture is None)
    bench.hand.press(Qt.Key.Key_F6)
    assert layers.image.name == "image: T1"
    assert np.asarray(layers.image.data[key.index]).any()
    qtbot.waitUntil(lambda: planes.panel is not None and planes.panel.views[0].picture is not None)
    planes.close()


def test_grey_levels_that_were_chosen_are_carried_on_to_the_next_case(tmp_path: Path) -> None:
    with Study.create(tmp_path / "s.mlbseg") as study:
        study.add_cases([two_channel_case(tmp_path, "ann"), two_channel_case(tmp_path, "beate")])
        ann, beate = study.cases
    before = Channels(ann)
    own, chosen = before.levels, (-20.0, 30.0)
    before.keep(chosen)
    before.go_on()
    now, fresh = Channels(beate, before), Channels(beate)
    of_t1 = fresh.levels
    fresh.go_on()
    assert (now.place, now.levels) == (1, fresh.levels)
    now.go_on()
    assert now.levels == carried_limits(chosen, own, of_t1)


def test_without_the_dock_each_channel_is_a_layer_of_its_own(tmp_path: Path) -> None:
    with Study.create(tmp_path / "s.mlbseg") as study:
        study.add_cases(
            [two_channel_case(tmp_path, "ann"), two_channel_case(tmp_path, "bo", filled=True)]
        )
        study.set_classes([LabelClass(1, "lesion", (1, 2, 3))])
        both, alone = (layer_data(study, case) for case in study.cases)
    looks = [(look["name"], look.get("visible", True)) for _, look, _ in both]
    assert looks == [("ann T1", True), ("ann FLAIR", False), ("ann labels", True)]
    assert [look["name"] for _, look, _ in alone] == ["bo T1", "bo labels"]
