"""Phases of one series, told apart by whatever their headers say."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import lps_of, voxels, write_series
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import Choice, open_image, read_image
from napari_mlbseg.formats.scan import FrameNeededError
from napari_mlbseg.project.importing.offers import offers_of

SHAPE = (6, 5, 4)
PHASES = 3


def write_phases(
    folder: Path, elements: Callable[[int, int], dict[str, Any]], left_out: Sequence[Any] = ()
) -> list[NDArray[Any]]:
    """Three phases in one folder; `elements` of a phase and a slice say what is which."""
    stored = [voxels(SHAPE, seed=phase) for phase in range(PHASES)]
    folder.mkdir(parents=True, exist_ok=True)
    for phase, array in enumerate(stored):
        for k, file in enumerate(write_series(folder / "x", array, lps_of())):
            dataset = pydicom.dcmread(file)
            # The numbers of instances run the wrong way, so that they cannot help.
            dataset.InstanceNumber = 100 - 10 * k - (phase * 7 + k) % PHASES
            for name, value in elements(phase, k).items():
                setattr(dataset, name, value)
            if (phase, k) not in left_out:
                dataset.save_as(folder / f"p{phase}_{k}.dcm")
            file.unlink()
    (folder / "x").rmdir()
    return stored


ELEMENTS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "AcquisitionTime": lambda p, k: {"AcquisitionTime": f"12000{p}.5"},
    "ContentTime": lambda p, k: {"ContentTime": f"12000{p}"},
    "TriggerTime": lambda p, k: {"TriggerTime": str(33.5 * p)},
    "TemporalPositionIdentifier": lambda p, k: {"TemporalPositionIdentifier": p + 1},
    "TemporalPositionIndex": lambda p, k: {"TemporalPositionIndex": p + 1},
    "DiffusionBValue": lambda p, k: {"DiffusionBValue": 400.0 * p},
    "EchoTime": lambda p, k: {"EchoTime": f"{4.6 * (p + 1):.1f}"},
    "AcquisitionNumber": lambda p, k: {"AcquisitionNumber": p},
    # Times that differ from slice to slice tell nothing; the echo does.
    "one of two": lambda p, k: {"AcquisitionTime": f"1200{p}{k}", "EchoTime": str(1 + p)},
    # Neither of the two alone tells all three apart.
    "both of two": lambda p, k: {"EchoTime": str(1 + p // 2), "DiffusionBValue": 1.0 * (p % 2)},
}


@pytest.mark.parametrize("what", ELEMENTS)
def test_phases_are_never_mixed(tmp_path: Path, what: str) -> None:
    stored = write_phases(tmp_path / "s", ELEMENTS[what])
    with pytest.raises(FrameNeededError, match=r"4 dimensions with 3 frames .*0: .*; 1: .*; 2: "):
        open_image(tmp_path / "s")
    found = [read_image(tmp_path / "s", Choice(frame=k))[0] for k in range(PHASES)]
    arrays = [volume.geometry.to_file(volume.voxels) for volume in found]
    expected = [next(k for k, a in enumerate(stored) if np.array_equal(a, b)) for b in arrays]
    assert sorted(expected) == [0, 1, 2]
    if what != "both of two":
        assert expected == [0, 1, 2]
    (offer,) = offers_of(tmp_path / "s")
    assert (offer.frames, offer.problem) == (PHASES, "")


def test_a_phase_is_described_by_what_tells_it_apart(tmp_path: Path) -> None:
    write_phases(tmp_path / "s", ELEMENTS["TriggerTime"])
    with pytest.raises(UserError, match=r"0: trigger time \(ms\) 0; 1: trigger time \(ms\) 33\.5"):
        open_image(tmp_path / "s")
    (note,) = open_image(tmp_path / "s", Choice(frame=1)).notes
    assert "holds 3 frames; frame 1 is taken" in note


def test_a_phase_that_lacks_slices_is_left_out_with_a_word(tmp_path: Path) -> None:
    stored = write_phases(tmp_path / "s", ELEMENTS["TriggerTime"], left_out=[(1, 2)])
    scan = open_image(tmp_path / "s", Choice(frame=1))
    volume = scan.volume()
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored[2])
    told = "\n".join(scan.notes)
    assert "phases that lack slices are left out: trigger time (ms) 33.5 (3 slices)" in told
    assert "holds 2 frames" in told


def test_the_only_whole_phase_needs_no_choice(tmp_path: Path) -> None:
    stored = write_phases(
        tmp_path / "s", ELEMENTS["AcquisitionTime"], left_out=[(0, 0), (2, 1), (2, 3)]
    )
    scan = open_image(tmp_path / "s")
    volume = scan.volume()
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored[1])
    assert "left out: acquisition time 120000.5 (3 slices)" in "\n".join(scan.notes)


def test_slices_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    write_phases(tmp_path / "s", lambda p, k: {}, left_out=[(1, 2)])
    with pytest.raises(UserError, match="several different slices at one position"):
        open_image(tmp_path / "s")
