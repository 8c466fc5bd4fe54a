"""What files of segments call a class, and its SNOMED CT codes, from pydicom's dictionary."""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydicom.sr.codedict import codes

_ORGAN_NAMES: Final = """
AdrenalGland Aorta Artery Bone Brain BrachiocephalicVein Breast Bronchus CarotidArtery Clavicle
Colon CostalCartilage Diaphragm Duodenum Esophagus Eye Femur Fibula Gallbladder Heart Hippocampus
Hip Humerus IliacArtery IliacVein InferiorVenaCava Kidney Larynx LeftAtrium LeftVentricle Liver Lung
LymphNode Mandible Muscle Pancreas ParotidGland Patella Pelvis Pericardium Pharynx PortalVein
Prostate PulmonaryArtery PulmonaryVein Radius Rectum Rib RightAtrium RightVentricle Sacrum Scapula
Skin Skull SmallIntestine SpinalCord Spleen Sternum Stomach SubclavianArtery SuperiorVenaCava Thymus
Tibia Tongue Tooth Trachea Ulna Ureter Uterus Vein Vertebra
"""
_ABNORMAL_NAMES: Final = "Cyst Edema Hemorrhage Lesion Necrosis Neoplasm Nodule Scar Thrombus"
_SYNONYMS: Final = {
    "Bladder": "Bladder",
    "Fat": "AdiposeTissue",
    "SmallBowel": "SmallIntestine",
    "Tumor": "Neoplasm",
    "Tumour": "Neoplasm",
    "Oesophagus": "Esophagus",
    "UrinaryBladder": "Bladder",
    "Vertebrae": "Vertebra",
}
_KNOWN: Final = {*_ORGAN_NAMES.split(), *_ABNORMAL_NAMES.split(), *_SYNONYMS.values()}
_SIDES: Final = {"left": "Left", "right": "Right"}


@dataclass(frozen=True)
class Segment:
    """A class by value, name and colour (red, green, blue from 0 to 255)."""

    value: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Anatomy:
    """Codes for a segment: category, type, and the side of the body or None."""

    category: Any
    kind: Any
    side: Any | None = None


def anatomy_of(name: str) -> Anatomy:
    """The codes for the name of a class, such as ``left kidney`` or ``kidney_left``.

    A name that is not in the table, or has more words than its organ and a side, is coded as
    "Anatomical structure"; the segment's label holds the name itself.
    """
    words = re.findall(r"[a-z]+", name.lower())
    whole = _keyword(words)
    if whole is not None:
        return _coded(whole, None)
    sides = [word for word in words if word in _SIDES]
    organ = _keyword([word for word in words if word not in _SIDES])
    if organ is None or len(sides) > 1 or re.search(r"\d", name):
        structure = codes.SCT.AnatomicalStructure
        return Anatomy(structure, structure)
    return _coded(organ, getattr(codes.SCT, _SIDES[sides[0]]) if sides else None)


def _keyword(words: list[str]) -> str | None:
    joined = "".join(word.capitalize() for word in words)
    keyword = _SYNONYMS.get(joined, joined)
    return keyword if keyword in _KNOWN else None


def _coded(keyword: str, side: Any | None) -> Anatomy:
    if keyword in _ABNORMAL_NAMES.split():
        category = codes.SCT.MorphologicallyAbnormalStructure
    elif keyword == "AdiposeTissue":
        category = codes.SCT.Tissue
    else:
        category = codes.SCT.AnatomicalStructure
    return Anatomy(category, getattr(codes.SCT, keyword), side)
