"""The weighting rules by their names in the settings."""

from collections.abc import Mapping

from napari_mlbseg.engine.steps.weighting.meta import Meta
from napari_mlbseg.engine.steps.weighting.no_labels import NoLabels
from napari_mlbseg.engine.steps.weighting.published import Published
from napari_mlbseg.engine.steps.weighting.rule import Weighting
from napari_mlbseg.engine.steps.weighting.uniform import Uniform

RULES: Mapping[str, Weighting] = {
    "meta": Meta(),
    "published": Published(),
    "uniform": Uniform(),
    "none": NoLabels(),
}
