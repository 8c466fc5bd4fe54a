"""Steps of other methods: what is mixed, and what is learnt from it."""

from collections.abc import Mapping

import torch
from pixelwise import SIZE, batch, model, parameters
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.steps.baselines import (
    BOX_SHARE,
    copy_paste_gradient,
    mixed,
)


def test_mixing_takes_images_and_labels_from_the_same_place() -> None:
    under, over = batch(2), batch(3)
    where = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.bool)
    where[1, :, 4:9, 2:7] = True
    found = mixed(under, over, where)
    inside = where[:, 0]
    assert torch.equal(found.images[where], over.images[where])
    assert torch.equal(found.labels[inside], over.labels[inside])
    assert torch.equal(found.images[~where], under.images[~where])
    assert torch.equal(found.labels[~inside], under.labels[~inside])


def seen_by_the_student(noisy: Batch, clean: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The images of one step, and the losses."""
    shown: list[Tensor] = []

    def watched(p: Mapping[str, Tensor], images: Tensor) -> Tensor:
        shown.append(images.detach())
        return model(p, images)

    found = copy_paste_gradient(
        watched,
        parameters(),
        noisy,
        clean,
        teacher=parameters(),
        generator=torch.Generator().manual_seed(5),
    )
    assert torch.equal(shown[0], noisy.images)  # the teacher's look
    return shown[1], dict(found.losses)


def test_boxes_go_both_ways_and_cover_two_thirds_of_each_side() -> None:
    noisy, clean = batch(4), batch(6, count=6)
    noisy = Batch(torch.full_like(noisy.images, 9.0), noisy.labels)
    images, _ = seen_by_the_student(noisy, clean)
    from_noisy = (images == 9.0).reshape(6, -1).sum(dim=1)
    side = round(BOX_SHARE * SIZE)
    assert from_noisy.tolist() == [side**2] * 3 + [SIZE**2 - side**2] * 3
    # Each clean slice of six lends its pixels once.
    lent = [any(bool((i == c).any()) for i in images) for c in clean.images]
    assert lent == [True] * 6


def test_noisy_pixels_learn_from_the_teacher_not_from_the_initial_labels() -> None:
    noisy, clean = batch(7), batch(8)
    _, losses = seen_by_the_student(noisy, clean)
    other = Batch(noisy.images, 1 - noisy.labels)
    assert seen_by_the_student(other, clean)[1] == losses
    nowhere = Batch(noisy.images, torch.full_like(noisy.labels, IGNORE))
    _, without = seen_by_the_student(nowhere, clean)
    assert without["clean"] == losses["clean"]
    assert without["pseudo labels"] < losses["pseudo labels"]
