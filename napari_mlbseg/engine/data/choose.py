"""Chooses the source of a run by the study, the settings and the device."""

from typing import Any

import torch

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.dimensions import Dimensions, anisotropy, choose_dimensions
from napari_mlbseg.engine.data.grid import choose_grid, choose_volume_grid
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.project.records.cases import has_imported_labels
from napari_mlbseg.project.study import Study

# Noisy and clean samples per step, unless the settings say otherwise.
_SLICES = (4, 8)
_PATCHES = (2, 4)
_PATCHES_ON_CPU = (1, 2)


def choose_source(
    study: Study,
    config: Config,
    device: torch.device,
    check: Check = never,
    *,
    volumes: bool | None = None,
) -> tuple[Dimensions, Source]:
    """Choose slices, slices with a neighbour on either side, or patches; see `choose_dimensions`.

    `check` is called before anything is read from the disk. `volumes` says what a network sees that
    exists already; None for a fresh one.
    """
    gpu = device.type != "cpu"
    grid = choose_grid(study.cases, config.slice_size or (256 if gpu else 128))
    dimensions = config.dimensions
    if dimensions == "auto":
        apart = anisotropy(study.cases, grid.resolution_mm)
        quick = device.type == "cuda" and volumes is None
        dimensions = "3d" if volumes else choose_dimensions(apart, volumes=quick)
    mirrored = "flip_x" in config.views, "flip_y" in config.views
    common: dict[str, Any] = {
        "device": device,
        "sees_labels": config.label_input and has_imported_labels(study.cases),
        "mirrored": mirrored,
        "check": check,
    }
    if dimensions == "3d":
        largest = (64, 128, 128) if gpu else (48, 96, 96)
        volume_grid = choose_volume_grid(study.cases, grid, largest)
        return dimensions, PatchSource(study, volume_grid, **common)
    context = 1 if dimensions == "2.5d" else 0
    return dimensions, SliceSource(study, grid, context=context, **common)


def batch_sizes(config: Config, dimensions: Dimensions, device: torch.device) -> tuple[int, int]:
    """The numbers of noisy and clean samples per step."""
    patches = _PATCHES_ON_CPU if device.type == "cpu" else _PATCHES
    noisy, clean = patches if dimensions == "3d" else _SLICES
    return config.batch or noisy, config.clean_batch or clean
