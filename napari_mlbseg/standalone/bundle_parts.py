"""What the configuration of a MONAI bundle needs besides MONAI itself.

Needs MONAI, torch and numpy.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.standalone.averaged import ViewAveraged
from napari_mlbseg.standalone.image import (
    Grids,
    Labels,
    Layout,
    Preparation,
    layout_of,
    require_alike,
)
from napari_mlbseg.standalone.slices import BLOCK, Slices
from napari_mlbseg.standalone.slices import hardened as hardened_slices
from napari_mlbseg.standalone.volumes import hardened as hardened_volume
from napari_mlbseg.standalone.volumes import on_grid

_FIRST = "_0000"


def images_in(
    folder: str, initial_labels: str | None = None, channels: int = 1
) -> list[dict[str, str | list[str]]]:
    """The NIfTI images of a folder, as MONAI's data sets expect them.

    Of several channels each is a file: ``CASE_0000.nii.gz`` is the first one of a case,
    ``CASE_0001.nii.gz`` the second one, in the order of the model.

    `initial_labels` is a folder with labels of the same file names, for a network that sees them;
    an image without such a file is segmented without them.
    """
    found = sorted(p for p in Path(folder).iterdir() if p.name.endswith((".nii", ".nii.gz")))
    if not found:
        raise FileNotFoundError(f"{folder} holds no NIfTI image; name another with --dataset_dir")
    if channels > 1:
        found = [path for path in found if _FIRST in path.name]
        if not found:
            raise FileNotFoundError(
                f"{folder} holds no file CASE{_FIRST}.nii.gz of a first channel"
            )
    every: list[dict[str, str | list[str]]] = [
        {"image": _files_of(path, channels) if channels > 1 else str(path)} for path in found
    ]
    if initial_labels is not None:
        for path, entry in zip(found, every, strict=True):
            if (Path(initial_labels) / path.name).exists():
                entry["initial_labels"] = str(Path(initial_labels) / path.name)
    return every


def _files_of(first: Path, channels: int) -> list[str]:
    """The files of all channels of a case, by that of the first one."""
    begin, _, end = first.name.rpartition(_FIRST)
    files = [first.with_name(f"{begin}_{number:04}{end}") for number in range(channels)]
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: this model takes {channels} channels")
    return [str(file) for file in files]


class OnGridd(MapTransform):
    """Brings volumes from `LoadImaged` to the grid of the network.

    For a network of slices to all slices, ``slices channels y x``; else to ``channels z y x``. The
    entry `initial_key`, if there is one, holds the initial labels of the volume.
    """

    def __init__(
        self,
        keys: Sequence[str],
        preparation: Mapping[str, Any],
        initial_key: str = "initial_labels",
    ) -> None:
        super().__init__(keys)
        self.preparation, self.initial_key = Preparation.of(preparation), initial_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The entries with those of the keys replaced."""
        found = dict(data)
        rough = found.pop(self.initial_key, None)
        for key in self.key_iterator(found):
            image = found[key]
            volume, affine = image.numpy(), image.affine.numpy()
            initial = None if rough is None else rough.numpy()
            if initial is not None:
                require_alike(volume.shape[-3:], affine, initial.shape, rough.affine.numpy())
            grids = _on_grid(volume, affine, self.preparation, initial)
            found[key] = MetaTensor(torch.from_numpy(grids), meta=image.meta)
        return found


class SlicesInferer(Inferer):
    """Probabilities of all slices, a few at a time, averaged over views."""

    def __init__(self, views: Sequence[str]) -> None:
        super().__init__()
        self.views = list(views)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """``1 slices channels y x`` to ``1 slices classes y x``."""
        plain: Tensor = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        height, width = plain.shape[-2:]
        model = ViewAveraged(network, self.views, (height, width)).to(plain.device)
        with torch.no_grad():
            return torch.cat([model(part) for part in torch.split(plain[0], BLOCK)])[None]


class VolumeInferer(Inferer):
    """Probabilities of a volume, averaged over views of it.

    `tiled` runs the network on tiles of a view and joins them.
    """

    def __init__(self, views: Sequence[str], tiled: Inferer) -> None:
        super().__init__()
        self.views, self.tiled = list(views), tiled

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """``1 channels z y x`` to ``1 classes z y x``."""
        plain: Tensor = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        height, width = plain.shape[-2:]
        model = ViewAveraged(
            lambda images: self.tiled(images, network), self.views, (height, width)
        )
        with torch.no_grad():
            found: Tensor = model.to(plain.device)(plain)
        return found


class LabelsOfFiled(MapTransform):
    """Probabilities on the grid to labels of the volume as its file stores it.

    `image_key` names the entry whose metadata gives the affine of that volume.
    """

    def __init__(
        self, keys: Sequence[str], preparation: Mapping[str, Any], image_key: str = "image"
    ) -> None:
        super().__init__(keys)
        self.preparation, self.image_key = Preparation.of(preparation), image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The entries with those of the keys replaced."""
        found = dict(data)
        meta = found[self.image_key].meta
        shape = tuple(int(n) for n in meta["spatial_shape"])
        layout = layout_of(shape, np.asarray(meta["affine"]), self.preparation.axis)
        for key in self.key_iterator(found):
            labels = _hardened(np.asarray(found[key].cpu()), layout, self.preparation)
            volume = np.ascontiguousarray(layout.unstack(labels))[None]
            found[key] = MetaTensor(torch.from_numpy(volume), meta=meta)
        return found


def _on_grid(
    volume: NDArray[Any],
    affine: NDArray[Any],
    preparation: Preparation,
    initial_labels: NDArray[Any] | None,
) -> Grids:
    if len(preparation.size) == 3:
        grid: Grids = on_grid(volume, affine, preparation, initial_labels)[0]
        return grid
    cut = Slices(volume, affine, preparation, initial_labels)
    return cut.grids(0, cut.layout.shape[0])


def _hardened(found: Grids, layout: Layout, preparation: Preparation) -> Labels:
    if len(preparation.size) == 3:
        return hardened_volume(found[None], layout, preparation)
    starts = range(0, layout.shape[0], BLOCK)
    parts = [hardened_slices(found[s : s + BLOCK], layout, preparation) for s in starts]
    return np.concatenate(parts)
