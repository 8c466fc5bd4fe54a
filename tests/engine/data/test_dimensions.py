"""The rule that chooses between slices, slices with neighbours, and volumes."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_phantoms

from napari_mlbseg.engine.config import Config, WantedDimensions
from napari_mlbseg.engine.data.choose import batch_sizes, choose_source
from napari_mlbseg.engine.data.dimensions import anisotropy, choose_dimensions

FROM_SOLID_TO_FLAT = ["3d", "2.5d", "2d"]
ratios = st.floats(0.01, 100)


@given(ratios, ratios, st.booleans())
def test_slices_farther_apart_are_never_seen_as_more_of_a_volume(
    a: float, b: float, volumes: bool
) -> None:
    near, far = (
        FROM_SOLID_TO_FLAT.index(choose_dimensions(r, volumes=volumes)) for r in sorted((a, b))
    )
    assert near <= far


@given(ratios)
def test_a_slow_device_is_spared_volumes_and_otherwise_decides_alike(ratio: float) -> None:
    slow, quick = choose_dimensions(ratio, volumes=False), choose_dimensions(ratio, volumes=True)
    assert slow != "3d"
    assert quick in (slow, "3d")


def test_the_thresholds_are_those_of_nnu_net() -> None:
    assert [choose_dimensions(r, volumes=True) for r in (1, 2, 2.5, 3, 3.5)] == [
        *("3d", "3d", "2.5d", "2.5d", "2d")
    ]


@pytest.mark.parametrize("rounded", [2.0001, 1.9999])
def test_a_rounded_header_decides_as_the_exact_one(rounded: float) -> None:
    assert choose_dimensions(rounded, volumes=True) == choose_dimensions(2.0, volumes=True)
    assert choose_dimensions(1.5 * rounded, volumes=True) == choose_dimensions(3.0, volumes=True)


@pytest.mark.parametrize(
    ("spacing_mm", "wanted", "kind", "channels"),
    [
        ((4.0, 1.0, 1.0), "auto", "2d", 1),
        ((3.0, 1.0, 1.0), "auto", "2.5d", 3),
        ((1.0, 1.0, 1.0), "auto", "2.5d", 3),
        ((4.0, 1.0, 1.0), "3d", "3d", 1),
        ((1.0, 1.0, 1.0), "2d", "2d", 1),
    ],
)
def test_what_is_wanted_comes_before_the_rule(
    tmp_path: Path,
    spacing_mm: tuple[float, float, float],
    wanted: WantedDimensions,
    kind: str,
    channels: int,
) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1, spacing_mm=spacing_mm).study
    config = Config(dimensions=wanted, slice_size=48, precision="float32")
    dimensions, source = choose_source(study, config, torch.device("cpu"))
    assert (dimensions, source.channels) == (kind, channels)
    assert (source.tile is not None) == (kind == "3d")
    assert all(size >= 1 for size in batch_sizes(config, dimensions, torch.device("cpu")))


def test_a_cpu_takes_slices_with_neighbours_whatever_it_multiplies(tmp_path: Path) -> None:
    study = make_phantoms(tmp_path / "s.mlbseg", cases=1, spacing_mm=(1.0, 1.0, 1.0)).study
    config = Config(slice_size=48, precision="bfloat16")
    assert choose_source(study, config, torch.device("cpu"))[0] == "2.5d"


def test_distance_counts_in_working_pixels(tmp_path: Path) -> None:
    cases = make_phantoms(tmp_path / "s.mlbseg", spacing_mm=(5.0, 1.0, 1.0)).study.cases
    assert anisotropy(cases, 2.5) == 2.0
