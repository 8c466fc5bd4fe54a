"""Grey levels on offer: those of CT where the values are Hounsfield units."""

import json
from dataclasses import replace

import pytest
from bench import WindowAtWork

from napari_mlbseg.formats.source import SourceInfo, windows_of
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.carried import contrast_limits, window_of
from napari_mlbseg.widgets.reading.presets import OWN, grey_levels_for, in_hounsfield

pytestmark = pytest.mark.one_binding


@pytest.fixture
def case(study: Study) -> Case:
    return study.cases[0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1024, 1400, True),
        (-3024, 1500, True),  # padded
        (-120, 250, True),  # no air in the image
        (0, 4095, False),  # stored without an offset, or MR
        (-3, 4, False),  # standardised
        (-1, 1, False),
        (-4096, 4094, False),  # phases of MR
        (-32768, 32767, False),
        (-1000, -200, False),  # nothing as dense as water
    ],
)
def test_hounsfield_units_are_known_by_their_range(
    case: Case, low: float, high: float, expected: bool
) -> None:
    seen = replace(case, intensity=Intensity(low, high, 0.0, 1.0))
    assert in_hounsfield(seen) is expected
    assert len(grey_levels_for(seen)) == (6 if expected else 1)


@pytest.mark.parametrize(("modality", "expected"), [("CT", True), ("MR", False), ("", True)])
def test_dicom_says_what_an_image_is(case: Case, modality: str, expected: bool) -> None:
    source = SourceInfo("dicom", json.dumps({"modality": modality}).encode())
    seen = replace(case, source=source, intensity=Intensity(-1000, 1000, 0.0, 1.0))
    assert in_hounsfield(seen) is expected


def test_the_first_window_is_that_of_the_case(case: Case) -> None:
    assert grey_levels_for(case)[0] == (OWN, contrast_limits(case))


def test_the_windows_of_a_dicom_series_come_before_those_of_ct(case: Case) -> None:
    windows = [["LUNG", 1200, -500], ["", 300, 50], ["flat", 0, 1], ["odd", float("nan"), 1]]
    header = json.dumps({"modality": "CT", "windows": windows}).encode()
    seen = replace(case, source=SourceInfo("dicom", header))
    names = [name for name, _ in grey_levels_for(seen)]
    assert names[:4] == [OWN, "DICOM LUNG", "DICOM", "Soft tissue"]
    assert grey_levels_for(seen)[1][1] == (-1100, 100)
    for odd in (b'{"windows": 3}', b'{"windows": [["a", 1]]}', b"[]", b"no JSON"):
        assert windows_of(SourceInfo("dicom", odd)) == ()


@pytest.mark.slow
def test_a_window_is_chosen_from_the_menu(bench: WindowAtWork) -> None:
    panel, image = bench.dock.habits.panel, bench.viewer.layers["image"]

    def choose(name: str) -> None:
        (action,) = (one for one in panel.menu.actions() if one.text().startswith(name))
        action.trigger()

    choose("Lung")
    assert window_of(image) == (-1350, 150)
    assert panel.levels.text() == "width 1500, level -600"
    bench.dock.workbench.view.choose("b")
    assert window_of(image) == (-1350, 150)
    choose(OWN)
    assert window_of(image) == contrast_limits(bench.annotation.case)
    bench.dock.workbench.close_study()
    assert not panel.levels.isEnabled()
    assert [one.text() for one in panel.menu.actions() if not one.isSeparator()] == [
        "The wheel goes through the slices"
    ]
