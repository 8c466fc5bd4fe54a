"""Networks, all from MONAI, all with instance norm.

Batch norm would change its running statistics in the forward-mode pass that prices the pixels, and
its statistics mean little for batches of a few slices.
"""

import torch
from monai.networks.layers.factories import Conv, Norm
from monai.networks.nets import BasicUNetPlusPlus, UNet
from torch import Tensor, nn

_NORM = ("instance", {"affine": True})
_ACTIVATION = ("leakyrelu", {"negative_slope": 0.01})


def build_network(
    name: str, *, channels: int, classes: int, dims: int = 2, large: bool = False
) -> nn.Module:
    """Build a network from ``batch channels *space`` to logits ``batch classes *space``.

    Every spatial size must be a multiple of 16.

    Parameters
    ----------
    name
        ``unet`` or ``unet++``.
    dims
        2 for slices, 3 for volumes.
    large
        A wider U-Net, for GPUs; `unet++` always has the size of the paper (36.6 M parameters,
        features 64 to 1024).
    """
    if name == "unet++":
        return sound(_unet_plus_plus(channels, classes, dims))
    return sound(_unet(channels, classes, dims, large=large))


def _unet_plus_plus(channels: int, classes: int, dims: int) -> nn.Module:
    plus_plus = BasicUNetPlusPlus(
        spatial_dims=dims,
        in_channels=channels,
        out_channels=classes,
        features=(64, 128, 256, 512, 1024, 64),
        norm=_NORM,
    )
    return _LastOutput(plus_plus)


def _unet(channels: int, classes: int, dims: int, *, large: bool) -> nn.Module:
    widths = (32, 64, 128, 256, 320) if large else (16, 32, 64, 128, 128)
    trunk = UNet(
        spatial_dims=dims,
        in_channels=channels,
        out_channels=widths[0],
        channels=widths,
        strides=(2,) * (len(widths) - 1),
        num_res_units=2 if large else 1,
        norm=_NORM,
        act=_ACTIVATION,
    )
    # In MONAI's own last block even the normalisation has only as many channels as there are
    # classes, so it hardly learns a small structure; a plain linear head on features does.
    head = nn.Sequential(
        Norm["instance", dims](widths[0], affine=True),
        nn.LeakyReLU(0.01),
        Conv["conv", dims](widths[0], classes, 1),
    )
    return nn.Sequential(trunk, head)


def sound(network: nn.Module) -> nn.Module:
    """Replace, in place, the layers where torch's own fail by those below; returns the network."""
    ours = {
        nn.Conv3d: _Conv3d,
        nn.InstanceNorm2d: _InstanceNorm2d,
        nn.InstanceNorm3d: _InstanceNorm3d,
    }
    for module in network.modules():
        if type(module) in ours:
            module.__class__ = ours[type(module)]
    return network


class _InstanceNorm2d(nn.InstanceNorm2d):
    """A norm that CUDA can take the forward-mode derivative of in bfloat16, see `plain_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        return plain_norm(self, input) if _needs_plain(input) else super().forward(input)


class _InstanceNorm3d(nn.InstanceNorm3d):
    """A norm that CUDA can take the forward-mode derivative of in bfloat16, see `plain_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        return plain_norm(self, input) if _needs_plain(input) else super().forward(input)


def _needs_plain(input: Tensor) -> bool:
    """Whether this may be a forward-mode product, which records nothing.

    Predictions record nothing either; for them both norms are equally good.
    """
    return input.is_cuda and input.dtype is torch.bfloat16 and not torch.is_grad_enabled()


def plain_norm(norm: nn.InstanceNorm2d | nn.InstanceNorm3d, images: Tensor) -> Tensor:
    """An instance norm made of elementary operations, computed in float32.

    torch's own keeps its statistics in float32 on CUDA and gives a bfloat16 output a float32
    tangent (seen with torch 2.11), which the next convolution refuses.
    """
    wide = images.float()
    over = tuple(range(2, images.ndim))
    variance, mean = torch.var_mean(wide, dim=over, correction=0, keepdim=True)
    shape = (1, -1, *(1,) * len(over))
    scale = norm.weight.float().reshape(shape) * (variance + norm.eps).rsqrt()
    return ((wide - mean) * scale + norm.bias.float().reshape(shape)).to(images.dtype)


class _Conv3d(nn.Conv3d):
    """A convolution whose gradient is right even for bfloat16 inputs of two layers.

    For these, torch 2.13 leaves parts of the gradient of the weights uninitialised on a CPU
    (stride 1, kernel 3). A third layer of zeros changes nothing: the padding is zero, too.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        like_these = (self.kernel_size[0], self.stride[0]) == (3, 1) and input.shape[2] == 2
        affected = like_these and input.dtype is torch.bfloat16
        if affected:
            input = nn.functional.pad(input, (0, 0, 0, 0, 0, 1))
        output: Tensor = super()._conv_forward(input, weight, bias)
        return output[:, :, :2] if affected else output


def count_parameters(network: nn.Module) -> int:
    """The number of parameters of a network."""
    return sum(p.numel() for p in network.parameters())


class _LastOutput(nn.Module):
    """Takes the last of the outputs of MONAI's U-Net++, which returns a list of them.

    The heads of the other outputs are removed: without deep supervision neither the output nor any
    gradient depends on them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for depth in (1, 2, 3):
            setattr(network, f"final_conv_0_{depth}", nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(images)[-1]
        return output
