"""Which files become channels of one case, and what is told of the others."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_channels import AFFINE, SHAPE, write

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.case_files import CaseFiles, Layout, Pairing
from napari_mlbseg.project.importing.channels import ChannelRule, grouped
from napari_mlbseg.project.importing.cohort import import_folder, make_study
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

FILL = Pairing(fill_missing=True)


def put(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        write(folder / f"{name}.nii.gz", seed)


def frames(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.stack([np.full(SHAPE, k + 1, np.int16) for k in range(count)], axis=-1)
    voxels[0, 0, 0] = 0
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)


def described(folder: Path, *names: str, key: str = "channel_names") -> None:
    listed = {str(k): name for k, name in enumerate(names)}
    (folder / "dataset.json").write_text(json.dumps({key: listed}))


def told(found: Iterable[Any]) -> str:
    return "\n".join(one.reason for one in found)


def files(case: CaseFiles) -> list[str]:
    rest = ("-" if one is None else one.path.name for one in case.further)
    return [one.removesuffix(".nii.gz") for one in (case.image.name, *rest)]


def shown(layout: Layout) -> dict[str, list[str]]:
    return {case.id: files(case) for case in layout.cases}


def said(text: str, **options: Any) -> Pairing:
    return Pairing(channels=ChannelRule.parsed(text), **options)


@pytest.mark.parametrize("names", [(), ("T1", "FLAIR")])
def test_numbers_of_nnunet_are_channels_named_by_its_dataset(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    put(tmp_path / "imagesTr", "a_0000", "a_0001", "b_0000", "b_0001")
    put(tmp_path / "labelsTr", "a", "b")
    if names:
        described(tmp_path, *names)
    layout = find_cases(tmp_path)
    assert shown(layout) == {"a": ["a_0000", "a_0001"], "b": ["b_0000", "b_0001"]}
    assert layout.channels == (names or ("channel 0", "channel 1"))
    assert [case.labels is not None for case in layout.cases] == [True, True]
    assert layout.failures == ()
    assert f"by their names: {layout.channels[0]} (*_0000)" in told(layout.notes)


@pytest.mark.parametrize(
    ("case", "endings"),
    [("BraTS-GLI-1-000", "-t1n -t1c -t2w -t2f"), ("BraTS20_001", "_t1 _t1ce _t2 _flair")],
)
def test_endings_of_brats_are_channels_of_one_case(tmp_path: Path, case: str, endings: str) -> None:
    mark, words = endings[0], [ending[1:] for ending in endings.split()]
    for name in (f"{case}1", f"{case}2"):
        put(tmp_path / name, *(f"{name}{mark}{word}" for word in (*words, "seg")))
    layout = find_cases(tmp_path)
    assert list(shown(layout)) == [f"{case}1", f"{case}2"]
    assert layout.channels == tuple(words)
    assert all(case.labels is not None for case in layout.cases)
    assert layout.failures == ()


def test_what_may_lie_on_another_grid_or_be_a_number_is_no_channel(tmp_path: Path) -> None:
    put(tmp_path / "bids" / "sub-1" / "anat", "sub-1_T1w", "sub-1_T2w")
    put(tmp_path / "two", "x_t1", "x_flair")
    put(tmp_path / "counted", *(f"scan_{k:04}" for k in range(12)))
    for folder, count in (("bids", 2), ("two", 2), ("counted", 12)):
        layout = find_cases(tmp_path / folder)
        assert (len(layout.cases), layout.channels) == (count, ())
        assert all(case.further == () for case in layout.cases)


def test_a_missing_channel_is_refused_by_its_name_or_filled(tmp_path: Path) -> None:
    put(tmp_path / "i", "a_0000", "a_0001", "b_0000", "c_0001")
    described(tmp_path, "T1", "FLAIR")
    layout = find_cases(tmp_path / "i")
    assert shown(layout) == {"a": ["a_0000", "a_0001"]}
    assert "b has no FLAIR (the channels are T1, FLAIR). Add the file, or" in told(layout.failures)
    assert "c has no T1" in told(layout.failures)
    assert "The first channel is never filled" in told(layout.failures)
    filled = find_cases(tmp_path / "i", pairing=FILL)
    assert shown(filled) == {"a": ["a_0000", "a_0001"], "b": ["b_0000", "-"]}
    assert "b has no FLAIR; the network sees zeros there." in told(filled.notes)
    assert "c has no T1" in told(filled.failures)


def test_patterns_name_the_channels_of_any_files(tmp_path: Path) -> None:
    put(tmp_path / "flat", "x_t1", "x_flair", "x_t1ce", "y_t1", "y_flair", "x_seg", "y_seg")
    layout = find_cases(tmp_path / "flat", pairing=said("F=*_flair.nii.gz,T1=*_t1.nii.gz"))
    assert shown(layout) == {"x": ["x_flair", "x_t1"], "y": ["y_flair", "y_t1"]}
    assert layout.channels == ("F", "T1")
    assert "belong to no channel: x_t1ce.nii.gz" in told(layout.failures)
    assert all(case.labels is not None for case in layout.cases)
    one = find_cases(tmp_path / "flat", pairing=said("T1=*_t1"))
    assert (shown(one), one.channels) == ({"x": ["x_t1"], "y": ["y_t1"]}, ())
    for patient in ("p1", "p2"):
        put(tmp_path / "deep" / patient, "flair", "t1")
    deep = find_cases(tmp_path / "deep", pairing=said("T1=t1,FLAIR=flair"))
    assert shown(deep) == {"p1": ["t1", "flair"], "p2": ["t1", "flair"]}
    with pytest.raises(UserError, match=r"No file in .* is called \*_t2"):
        find_cases(tmp_path / "flat", pairing=said("T2=*_t2"))


@pytest.mark.parametrize("text", ["T1", "T1=*_*", "=*_t1", "A=*_a,a=*_b", ""])
def test_what_says_nothing_of_channels_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"channels|name of its own"):
        ChannelRule.parsed(text)


def test_a_table_has_a_column_for_each_channel(tmp_path: Path) -> None:
    put(tmp_path, "a1", "a2", "b1")
    table = tmp_path / "cases.csv"
    table.write_text("case,image:T1,image:FLAIR,labels\na,a1.nii.gz,a2.nii.gz,\nb,b1.nii.gz,,\n")
    layout = find_cases(tmp_path, pairing=Pairing(table=table))
    assert (shown(layout), layout.channels) == ({"a": ["a1", "a2"]}, ("T1", "FLAIR"))
    assert "b has no FLAIR" in told(layout.failures)
    filled = find_cases(tmp_path, pairing=Pairing(table=table, fill_missing=True))
    assert shown(filled) == {"a": ["a1", "a2"], "b": ["b1", "-"]}
    table.write_text("case,image,image:FLAIR\na,a1.nii.gz,a2.nii.gz\n")
    with pytest.raises(UserError, match="lists no cases"):
        find_cases(tmp_path, pairing=Pairing(table=table))


def test_frames_are_channels_only_if_a_person_says_so(tmp_path: Path) -> None:
    frames(tmp_path / "imagesTr" / "a.nii.gz", 3)
    frames(tmp_path / "imagesTr" / "b.nii.gz", 2)
    put(tmp_path / "imagesTr", "c")
    described(tmp_path, "T2", "ADC", "b=800", key="modality")
    images = tmp_path / "imagesTr"
    study, imported = make_study(tmp_path / "plain.mlbseg", images)
    with study:
        assert [case.id for case in study.cases] == ["c"]
        assert "a.nii.gz has 4 dimensions with 3 frames" in told(imported.failures)
        assert "--channels frames" in told(imported.failures)
    study, imported = make_study(tmp_path / "all.mlbseg", images, pairing=said("frames"))
    with study:
        assert study.channels == ("T2", "ADC", "b=800")
        (case,) = study.cases
        arrays = (ArrayName.IMAGE, ArrayName.CHANNEL_1, ArrayName.CHANNEL_2)
        found = [np.asarray(study.arrays.open("a", name)[:]) for name in arrays]
        assert [int(voxels[1, 1, 1]) for voxels in found] == [1, 2, 3]
        assert "left out" not in told(imported.notes)
        choices = [one.image.source.choice.frame for one in case.channels if one.image]
        assert choices == [0, 1, 2]
    reasons = told(imported.failures)
    assert "b.nii.gz has 2 frames, but the channels are T2, ADC, b=800" in reasons
    assert "c.nii.gz has 1 frame, but" in reasons
    assert verify(tmp_path / "all.mlbseg").findings == ()
    with pytest.raises(UserError, match="Give one of the two"):
        make_study(tmp_path / "both.mlbseg", images, pairing=said("frames"), choice=Choice(frame=1))
    named = find_cases(images, pairing=said("frames: x, y"))
    assert (shown(named), named.channels) == ({"b": ["b", "b"]}, ("x", "y"))


def test_channels_lie_on_one_grid_or_are_refused_with_both(tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[:3, 3] = (0.05, 0, 0)
    far = AFFINE.copy()
    far[2, 2] = 4.0
    turned = np.diag([1.0, -1.0, 3.0, 1.0])
    turned[0, 3] = -(SHAPE[0] - 1.0)
    for name, affine in (("near", shifted), ("far", far), ("turned", turned)):
        write(tmp_path / "i" / f"{name}_0000.nii.gz", 1)
        write(tmp_path / "i" / f"{name}_0001.nii.gz", 2, affine)
    study, imported = make_study(tmp_path / "s.mlbseg", tmp_path / "i")
    with study:
        assert [case.id for case in study.cases] == ["near", "turned"]
        near, turned_round = (
            np.asarray(study.arrays.open(name, ArrayName.CHANNEL_1)[:])
            for name in ("near", "turned")
        )
        np.testing.assert_array_equal(near, turned_round[:, :, ::-1])
    (failure,) = imported.failures
    assert "far_0001.nii.gz does not lie on its image" in failure.reason
    assert "Channel: 8 x 7 x 6 voxels of 1 x 1 x 4 mm" in failure.reason
    assert "Image: 8 x 7 x 6 voxels of 1 x 1 x 3 mm" in failure.reason
    assert "Resample it onto the grid" in failure.reason
    assert "written up to 0.05 voxels apart" in told(imported.notes)


def test_cases_with_other_channels_are_not_added_to_a_study(tmp_path: Path) -> None:
    put(tmp_path / "one", "a")
    put(tmp_path / "two", "b_0000", "b_0001")
    study, _ = make_study(tmp_path / "s.mlbseg", tmp_path / "one")
    with study, pytest.raises(UserError, match="channel 0, channel 1, but the study has one"):
        import_folder(study, tmp_path / "two")
    assert not any((tmp_path / "s.mlbseg" / "arrays").glob("b*"))


def test_a_case_is_imported_with_its_filled_channel(tmp_path: Path) -> None:
    put(tmp_path / "i", "a_0000", "a_0001", "b_0000")
    study, _ = make_study(tmp_path / "s.mlbseg", tmp_path / "i", pairing=FILL)
    study.close()
    with Study.open(study.path, writable=False) as study:
        a, b = study.cases
        assert [channel.image is None for channel in a.further + b.further] == [False, True]


@given(st.text(max_size=60))
def test_any_text_is_a_rule_of_channels_or_refused(text: str) -> None:
    try:
        rule = ChannelRule.parsed(text)
    except UserError:
        return
    assert rule.frames or len(rule.names) == len(rule.patterns) > 0


_PARTS = st.sampled_from(["a", "b", "p/a", "p/b", "x_y"])
_ENDS = st.sampled_from(["", "_0000", "_0001", "_0003", "_t1", "_flair", "-t1n", "-t2f", "_t2"])


@given(
    st.lists(st.tuples(_PARTS, _ENDS), min_size=1, max_size=12, unique=True),
    st.sampled_from([None, "T1=*_t1,FLAIR=*_flair", "A=*_0000,B=*_0001", "X=a"]),
    st.booleans(),
)
def test_every_file_is_in_one_case_or_told(
    parts: list[tuple[str, str]], text: str | None, fill: bool
) -> None:
    paths = {f"{a}{b}": Path("/data", f"{a}{b}.nii.gz") for a, b in parts}
    rule = None if text is None else ChannelRule.parsed(text)
    try:
        found = grouped(paths, list(paths), rule, fill=fill)
    except UserError:
        return
    used = [*found.images, *(n for names in found.further.values() for n in names if n)]
    assert len(set(used)) == len(used)
    assert set(used) <= set(paths)
    if not found.failures:
        assert set(used) == set(paths)
    for names in found.further.values():
        assert found.channels == () or len(names) == len(found.channels) - 1
        assert fill or None not in names
