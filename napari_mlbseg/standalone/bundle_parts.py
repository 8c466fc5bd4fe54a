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
from torch import Tensor

from napari_mlbseg.standalone.averaged import ViewAveraged
from napari_mlbseg.standalone.slices import (
    BLOCK,
    Preparation,
    Slices,
    hardened,
    layout_of,
)


def images_in(folder: str) -> list[dict[str, str]]:
    """The NIfTI images of a folder, as MONAI's data sets take them."""
    found = sorted(p for p in Path(folder).iterdir() if p.name.endswith((".nii", ".nii.gz")))
    if not found:
        raise FileNotFoundError(f"{folder} holds no NIfTI image; name another with --dataset_dir")
    return [{"image": str(path)} for path in found]


class PrepareSlicesd(MapTransform):
    """Volumes as `LoadImaged` brings them to all their slices, ``slices channels y x``."""

    def __init__(self, keys: Sequence[str], preparation: Mapping[str, Any]) -> None:
        super().__init__(keys)
        self.preparation = Preparation.of(preparation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The entries with those of the keys replaced."""
        found = dict(data)
        for key in self.key_iterator(found):
            image = found[key]
            volume = image.numpy()
            slices = Slices(volume, image.affine.numpy(), self.preparation)
            grids = torch.from_numpy(slices.grids(0, slices.layout.shape[0]))
            found[key] = MetaTensor(grids, meta=image.meta)
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


class LabelsOfFiled(MapTransform):
    """Probabilities of all slices to labels of the volume that they were cut from.

    `image_key` names the entry whose meta data tell where that volume lies.
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
            probabilities = np.asarray(found[key].cpu())
            labels = np.concatenate(
                [
                    hardened(probabilities[start : start + BLOCK], layout, self.preparation)
                    for start in range(0, layout.shape[0], BLOCK)
                ]
            )
            volume = np.ascontiguousarray(layout.unstack(labels))[None]
            found[key] = MetaTensor(torch.from_numpy(volume), meta=meta)
        return found
