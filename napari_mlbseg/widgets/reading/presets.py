"""Grey levels that radiologists use for CT, where the values of an image are Hounsfield units."""

import json

from napari_mlbseg.formats.source import windows_of
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.widgets.case.carried import Limits, contrast_limits

OWN = "The case's own"

# Width and level in Hounsfield units.
_CT = {
    "Soft tissue": (400.0, 40.0),
    "Lung": (1500.0, -600.0),
    "Bone": (1800.0, 400.0),
    "Brain": (80.0, 40.0),
    "Liver": (150.0, 30.0),
}
# Fat has -100. Scanners write down to -3024 where they measure nothing, and up to 4095.
_DARKEST = (-3100.0, -100.0)
_BRIGHTEST = (0.0, 4095.0)


def limits_of(width: float, level: float) -> Limits:
    """Return what is shown as black and as white.

    >>> limits_of(400, 40)
    (-160.0, 240.0)
    """
    return level - width / 2, level + width / 2


def in_hounsfield(case: Case) -> bool:
    """Whether the values of a case look like Hounsfield units: DICOM says so, others are guessed.

    An image that says nothing of its modality is taken for CT if it is darker than fat somewhere,
    and nowhere outside of what CT scanners write.
    """
    modality = _modality(case)
    low, high = case.intensity.low, case.intensity.high
    fits = _DARKEST[0] <= low <= _DARKEST[1] and _BRIGHTEST[0] < high <= _BRIGHTEST[1]
    return modality == "CT" if modality else fits


def grey_levels_for(case: Case) -> tuple[tuple[str, Limits], ...]:
    """Return the grey levels on offer, with their names: those of the case itself first.

    Then come those that its DICOM series proposes, by the names that the scanner gave them.
    """
    ct = _CT if in_hounsfield(case) else {}
    own = (OWN, contrast_limits(case))
    proposed = [(f"DICOM {name}".strip(), shown) for name, *shown in windows_of(case.source)]
    return (own, *((name, limits_of(*shown)) for name, shown in (*proposed, *ct.items())))


def _modality(case: Case) -> str:
    """What DICOM calls the kind of image, such as CT; empty where nothing says so."""
    if case.source.format != "dicom":
        return ""
    return str(json.loads(case.source.header).get("modality") or "")
