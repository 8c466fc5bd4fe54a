"""Baselines: steps of other methods with the same slices, network and augmentation."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.update import BootstrapGradient

BOX_SHARE = 2 / 3
NOISY_SHARE = 0.5


def copy_paste_gradient(
    model: Model,
    student: Parameters,
    noisy: Batch,
    clean: Batch,
    *,
    teacher: Parameters,
    generator: Generator,
) -> BootstrapGradient:
    """Bidirectional copy-paste (Bai et al., CVPR 2023).

    A box of each noisy slice is pasted into a clean slice, and the other way round. The box is two
    thirds as wide and as high as the slice and lies at random. The targets of noisy pixels are the
    mean teacher's predictions, with half the weight of clean pixels. Unlike the paper, components
    of the teacher's labels are not filtered: a slice may cut a structure several times.
    """
    with torch.no_grad():
        taught = model(teacher, noisy.images).argmax(dim=1)
    pseudo = Batch(noisy.images, torch.where(noisy.labels < 0, noisy.labels, taught))
    count = len(noisy.images)
    first = torch.arange(count) % len(clean.images)
    second = torch.arange(count, 2 * count) % len(clean.images)
    box = _boxes(count, noisy.images, generator)
    inward = mixed(Batch(clean.images[second], clean.labels[second]), pseudo, box)
    outward = mixed(Batch(clean.images[first], clean.labels[first]), pseudo, ~box)
    point = {name: value.detach().requires_grad_() for name, value in student.items()}
    logits = model(point, torch.cat([inward.images, outward.images]))
    labels = torch.cat([inward.labels, outward.labels])
    from_noisy = torch.cat([box, ~box]).squeeze(1)
    losses = {
        "clean": clean_loss(logits, labels.masked_fill(from_noisy, -1)),
        "pseudo labels": clean_loss(logits, labels.masked_fill(~from_noisy, -1)),
    }
    total = losses["clean"] + NOISY_SHARE * losses["pseudo labels"]
    gradient = torch.autograd.grad(total, list(point.values()))
    found = {name: loss.detach() for name, loss in losses.items()}
    return BootstrapGradient(dict(zip(point, gradient, strict=True)), found)


def mixed(under: Batch, over: Batch, where: Tensor) -> Batch:
    """Samples and labels of `over` where the mask (``batch 1 y x``) is set, else of `under`."""
    return Batch(
        torch.where(where, over.images, under.images),
        torch.where(where.squeeze(1), over.labels, under.labels),
    )


def _boxes(count: int, like: Float[Tensor, "batch channels y x"], generator: Generator) -> Tensor:
    """``count 1 y x``: a random box in each slice."""
    sides = []
    for size in like.shape[2:]:
        length = round(BOX_SHARE * size)
        start = torch.randint(size - length + 1, (count, 1), generator=generator)
        pixels: Int[Tensor, "1 size"] = torch.arange(size)[None]
        sides.append((pixels >= start) & (pixels < start + length))
    return (sides[0][:, None, :, None] & sides[1][:, None, None, :]).to(like.device)
