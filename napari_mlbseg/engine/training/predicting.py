"""Predictions of single slices at the pixels of their files, for comparison with the truth."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from napari_mlbseg.engine.data.source import Source, Span, as_planes
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.steps.predict import probabilities


def predicted_slice(
    model: Model, parameters: Parameters, source: Source, span: Span, views: Sequence[View]
) -> Int[Tensor, "y x"]:
    """The predicted class indices of a span of one slice, averaged over the views."""
    scene = source.scene(span)
    found = probabilities(model, parameters, scene.images, views=views, tile=source.tile)
    return scene.to_file(as_planes(found), span).argmax(dim=1)[0]
