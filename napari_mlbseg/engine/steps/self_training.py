"""One step of self-training: clean slices, and noisy samples with the labels that they have."""

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.update import BootstrapGradient


def self_training_gradient(
    model: Model, student: Parameters, noisy: Batch, clean: Batch, *, name: str
) -> BootstrapGradient:
    """Gradient of cross-entropy plus Dice on clean and on noisy samples; both count alike.

    `name` is what the loss of the noisy samples is called.
    """
    ours, clean_found = clean_gradient(model, student, clean.images, clean.labels)
    theirs, noisy_found = clean_gradient(model, student, noisy.images, noisy.labels)
    return BootstrapGradient(
        {key: gradient + theirs[key] for key, gradient in ours.items()},
        {"clean": clean_found, name: noisy_found},
    )
