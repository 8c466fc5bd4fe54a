"""Names of images and labels, as public cohorts have them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.failures import shortened
from napari_mlbseg.project.importing.names import Matched, Rule, matched, says_label

NUMBERS = (1, 2, 10)
CONVENTIONS = {
    "LiTS": ("volume-{}", "segmentation-{}"),
    "BTCV": ("img{:04d}", "label{:04d}"),
    "ACDC": ("patient{:03d}_frame01", "patient{:03d}_frame01_gt"),
    "MONAI": ("DLK{:03d}_T1", "DLK{:03d}_GT"),
    "BraTS": ("BraTS20_{:03d}_flair", "BraTS20_{:03d}_seg"),
    "Slicer": ("case{}", "case{}-label"),
    "Slicer's own": ("case{}", "case{}.seg"),
    "ITK-SNAP": ("case{}", "case{}_segmentation"),
    "BIDS": ("sub-{:02d}_T1w", "sub-{:02d}_dseg"),
    "BIDS masks": ("sub-{:02d}_T1w", "sub-{:02d}_T1w_desc-lesion_mask"),
    "prefixes": ("image_{}", "mask_{}"),
    "upper case": ("c{}", "c{}_SEG"),
    "the same": ("c{}", "c{}"),
    "a word more": ("c{}_ct", "c{}_ct_seg"),
    "nnU-Net": ("imagesTr/la_{:03d}_0000", "labelsTr/la_{:03d}"),
    "patient folders": ("p{}/image", "p{}/mask"),
    "a tree": ("s{0}/anat/s{0}_T1w", "derivatives/m/s{0}/anat/s{0}_T1w_dseg"),
}


def paired(found: Matched) -> dict[str, str]:
    """The labels of each image, none of them unclear or alone."""
    assert (dict(found.unclear), found.alone) == ({}, ())
    assert all(len(labels) == 1 for labels in found.pairs.values())
    return {image: labels[0] for image, labels in found.pairs.items()}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("numbers", [NUMBERS, (7, 8)])
def test_one_rule_pairs_the_names_of_public_cohorts(
    convention: str, numbers: tuple[int, ...]
) -> None:
    image, label = CONVENTIONS[convention]
    expected = {image.format(k): label.format(k) for k in numbers}
    found = matched(list(expected), list(expected.values()))
    assert paired(found) == expected
    (rule,) = set(found.rules.values())
    # The rule that was found, given by a person, finds the same.
    again = matched(list(expected), list(expected.values()), Rule.parsed(str(rule)))
    assert paired(again) == expected


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, min_size=1))
def test_equal_names_always_match(names: list[str]) -> None:
    assert paired(matched(names, names)) == {name: name for name in names}


@given(
    st.lists(st.integers(0, 999), unique=True, min_size=2, max_size=9),
    st.sampled_from(sorted(CONVENTIONS)),
    st.randoms(use_true_random=False),
)
def test_the_order_and_missing_labels_change_no_pair(
    numbers: list[int], convention: str, random: object
) -> None:
    image, label = CONVENTIONS[convention]
    expected = {image.format(k): label.format(k) for k in numbers}
    labels = list(expected.values())[1:]
    random.shuffle(labels)  # type: ignore[attr-defined]
    found = matched(list(expected), labels)
    assert all(expected[name] == one for name, (one,) in found.pairs.items())
    if len(numbers) > 2:
        assert len(found.pairs) == len(labels)


def test_case_and_unicode_count_as_one() -> None:
    nfd, nfc = (unicodedata.normalize(form, "Gerät_ä") for form in ("NFD", "NFC"))
    assert nfd != nfc
    assert paired(matched([nfd, "UPPER"], [nfc, "upper"])) == {nfd: nfc, "UPPER": "upper"}


def test_the_same_name_goes_before_every_rule() -> None:
    names = ["a", "a_seg", "a_0000"]
    assert paired(matched(names, names)) == {name: name for name in names}


def test_several_conventions_in_one_cohort() -> None:
    found = matched(["a_0000", "b", "c"], ["a", "b_mask", "c_seg"])
    assert paired(found) == {"a_0000": "a", "b": "b_mask", "c": "c_seg"}


def test_one_image_and_one_label_file_belong_together_whatever_their_names() -> None:
    assert paired(matched(["series"], ["segmentation"])) == {"series": "segmentation"}


def test_a_number_is_never_exchanged_for_another() -> None:
    found = matched(["c1", "c2", "c3", "d3"], ["c1", "c2", "c9", "d9"])
    assert {image: one for image, (one,) in found.pairs.items()} == {"c1": "c1", "c2": "c2"}
    assert found.alone == ("c9", "d9")


def test_labels_of_several_images_are_unclear_until_a_rule_is_given() -> None:
    images = [f"{case}_{what}" for case in ("a", "b") for what in ("flair", "t1", "t2")]
    found = matched(images, ["a_seg", "b_seg"])
    assert found.pairs == {}
    assert {str(rule) for rule in found.unclear["a_seg"]} == {
        "*flair=*seg",
        "*t1=*seg",
        "*t2=*seg",
    }
    given_rule = matched(images, ["a_seg", "b_seg"], Rule.parsed("*_T1=*_SEG"))
    assert paired(given_rule) == {"a_t1": "a_seg", "b_t1": "b_seg"}


def test_the_longest_common_name_decides_between_images() -> None:
    found = matched(["a_ct", "a_pet", "b_ct", "b_pet"], ["a_ct_seg", "b_ct_seg"])
    assert paired(found) == {"a_ct": "a_ct_seg", "b_ct": "b_ct_seg"}


@pytest.mark.parametrize("text", ["a=b", "*", "*=*=*", "*_*=*", ""])
def test_a_rule_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UserError, match=r"is no rule; write .*'volume-\*=segmentation-\*'"):
        Rule.parsed(text)


@pytest.mark.parametrize(
    ("name", "says"),
    [("a_seg", True), ("p1/masks/x", True), ("c-GT", True), ("masked", False), ("labelled", False)],
)
def test_words_that_say_label(name: str, says: bool) -> None:
    assert says_label(name) is says


@given(st.lists(st.from_regex(r"[a-z]+", fullmatch=True), max_size=9))
def test_no_more_than_five_names_are_shown(names: list[str]) -> None:
    text = shortened(names)
    assert text.count(",") <= 4
    assert (f"and {len(names) - 5} more" in text) == (len(names) > 5)
