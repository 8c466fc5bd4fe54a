import pytest
from pydicom.sr.codedict import codes

from napari_mlbseg.formats import anatomy
from napari_mlbseg.formats.anatomy import anatomy_of


@pytest.mark.parametrize(
    ("name", "code", "side"),
    [
        ("spleen", "78961009", None),
        ("kidney_left", "64033007", "7771000"),
        ("Right Kidney", "64033007", "24028007"),
        ("left atrium", "82471001", None),  # which is an organ, not the left one of two
        ("Tumour", "108369006", None),
        ("urinary bladder", "89837001", None),
        ("fat", "55603005", None),
    ],
)
def test_common_names_have_codes_of_snomed(name: str, code: str, side: str | None) -> None:
    found = anatomy_of(name)
    assert (found.kind.value, found.kind.scheme_designator) == (code, "SCT")
    assert (None if found.side is None else found.side.value) == side


@pytest.mark.parametrize("name", ["class 3", "liver segment 4", "left right kidney", "Leber", ""])
def test_other_names_are_anatomical_structures(name: str) -> None:
    found = anatomy_of(name)
    assert found == anatomy.Anatomy(codes.SCT.AnatomicalStructure, codes.SCT.AnatomicalStructure)


def test_categories_are_those_of_the_standard() -> None:
    allowed = {"91723000", "49755003", "85756007"}  # context group 7150
    for keyword in anatomy._KNOWN:
        assert hasattr(codes.SCT, keyword), keyword
        assert anatomy_of(keyword.lower()).category.value in allowed
    assert anatomy_of("cyst").category == codes.SCT.MorphologicallyAbnormalStructure
