"""The cases of `engine.py`: networks, slices, and the operations that a step needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import UNet
from scipy import ndimage
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps.meta_weights import logit_derivative

FIVE_VIEWS = tuple(VIEWS[n] for n in ("identity", "zoom_in", "zoom_out", "flip_x", "flip_y"))


@dataclass(frozen=True)
class Case:
    """The input of a step; `classes` counts the foreground classes, batches count slices.

    `large` selects the networks that the engine uses on a GPU.
    """

    name: str
    network: str
    dims: int
    classes: int
    size: int
    batch: int
    clean_batch: int
    large: bool = False


def network_of(case: Case) -> nn.Module:
    """The paper's U-Net++, the default U-Net, or (unless large) a small one in 3-D."""
    outputs = case.classes + 1
    if case.dims == 2 or case.large:
        return build_network(
            case.network,
            channels=channels_of(case),
            classes=outputs,
            dims=case.dims,
            large=case.large,
        )
    return UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=outputs,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        num_res_units=1,
        norm=("instance", {"affine": True}),
        act=("leakyrelu", {"negative_slope": 0.01}),
    )


def channels_of(case: Case) -> int:
    """The default network sees a slice and its two neighbours."""
    return 3 if case.network == "unet" and case.dims == 2 else 1


def slices(case: Case, count: int, *, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Smooth random structures in noise, ``count channels *space``, and their class indices."""
    rng = np.random.default_rng(seed)
    space = (case.size,) * case.dims
    images, labels = [], []
    for _ in range(count):
        fields = rng.standard_normal((case.classes + 1, *space), dtype=np.float32)
        smooth = ndimage.gaussian_filter(fields, (0, *(case.size / 10,) * case.dims))
        label = smooth.argmax(axis=0)
        noise = rng.standard_normal((channels_of(case), *space), dtype=np.float32)
        images.append((label - label.mean()) / (label.std() + 1e-3) + 0.5 * noise)
        labels.append(label)
    found = torch.from_numpy(np.stack(images)).float(), torch.from_numpy(np.stack(labels))
    return found[0].to(device), found[1].to(device)


def needed_tflop(case: Case, views: int) -> float:
    """Operations that any implementation of a step needs, in 10**12.

    Student and teacher see every view once; there are two backward passes through the views (one
    to move the virtual point, one for the weights), the tangent of the Jacobian-vector product,
    and one forward and backward pass through the clean slices. Only convolutions count.
    """
    forward, both, tangent = _pass_flop(case)
    seen = views * case.batch
    clean = case.clean_batch * (views if views == len(FIVE_VIEWS) else 1)
    noisy_flop = 2 * forward + 2 * (both - forward) + (tangent - forward)
    return (seen * noisy_flop + clean * both) / 1e12


def _pass_flop(case: Case) -> tuple[int, int, int]:
    """Operations for one image: forward, forward and backward, forward with a tangent."""
    with torch.device("meta"):
        network = network_of(case)
        image = torch.zeros(1, channels_of(case), *(case.size,) * case.dims)
    point = dict(network.named_parameters())
    model = as_model(network)

    def count(act: Callable[[], object]) -> int:
        with FlopCounterMode(display=False) as counter:
            act()
        return int(counter.get_total_flops())

    with torch.no_grad():
        forward = count(lambda: model(point, image))
    both = count(lambda: model(point, image).sum().backward())  # type: ignore[no-untyped-call]
    return forward, both, count(lambda: logit_derivative(model, point, point, image))
