"""The benchmarks run, and what they compare with is what they say it is."""

import argparse
import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from small_study import make_phantoms
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.steps import meta_weights
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth

FOLDER = Path(__file__).parents[1] / "benchmarks"
MEASURED = {"step_s", "noisy_pixels_per_s", "peak_memory_mb"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def carried_out(script: str, *arguments: str, json_file: Path) -> dict[str, Any]:
    command: list[str | Path] = [
        sys.executable,
        FOLDER / script,
        "--quick",
        "--threads",
        "1",
        "--json",
        json_file,
    ]
    result = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(json_file.read_text())
    return found


# --- the reference --------------------------------------------------------------------------------


@pytest.mark.parametrize(("dims", "classes", "size"), [(2, 1, 32), (2, 8, 32), (3, 2, 16)])
def test_double_backward_gives_our_weight_maps(
    bench: Any, dims: int, classes: int, size: int
) -> None:
    torch.manual_seed(dims + classes)
    case = bench("_cases").Case("", "unet", dims, classes, size, 1, 1)
    theirs, ours = bench("_weight_maps").both_weights(case, torch.float64, "cpu")
    for a, b in zip(meta_weights.normalised(*ours), meta_weights.normalised(*theirs), strict=True):
        assert float(b.max()) > 0
        assert float((a - b).abs().max()) <= 1e-9 * float(b.max())
    single, beyond = bench("_weight_maps").weight_difference(case, torch.float32, "cpu")
    assert 0 < single <= 1e-5
    assert beyond == 0


def test_views_are_undone(bench: Any) -> None:
    y, x = np.mgrid[:48, :48]
    ramp = (0.3 * y + 0.7 * x)[None].astype(np.float64)
    inner = np.s_[..., 16:32, 16:32]
    for view in bench("reference_step").draw_views(np.random.default_rng(0)):
        np.testing.assert_allclose(view.undo(view.apply(ramp))[inner], ramp[inner], atol=1e-9)


def test_views_show_labels_where_they_show_the_image(bench: Any) -> None:
    labels = np.zeros((64, 64), dtype=np.int64)
    labels[:, 10:40] = 1
    for view in bench("reference_step").draw_views(np.random.default_rng(1)):
        image, seen = view.apply(labels.astype(np.float64)), view.apply_to_labels(labels)
        assert seen.any()
        inner = np.s_[16:48]  # beyond the edge there is nothing
        assert np.abs(image - seen)[inner].max() <= 0.5 + 1e-9


def test_reference_learns(bench: Any) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.Conv2d(6, 2, 1))
    images = torch.rand(3, 1, 32, 32)
    labels = (images[:, 0] > 0.5).long()
    step = bench("reference_step").ReferenceStep(network)
    before = [wrong(network, images, labels), wrong(step.teacher, images, labels)]
    for _ in range(40):
        assert math.isfinite(step((images[:1], labels[:1]), (images[1:], labels[1:])))
    assert wrong(network, images, labels) < before[0]
    assert wrong(step.teacher, images, labels) < before[1]


def wrong(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(network(images), labels))


# --- the counted operations -----------------------------------------------------------------------


def test_needed_operations_of_a_convolution(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = bench("_cases")
    monkeypatch.setattr(cases, "network_of", lambda case: nn.Conv2d(3, 4, 1, bias=False))
    case = cases.Case("", "unet", 2, 3, 32, batch=2, clean_batch=3)
    product = 2 * 3 * 4 * 32 * 32
    # The image needs no gradient, so that a pass of a lone layer is one product; torch's tangent
    # is two, because it also multiplies the image's tangent, which is zero.
    noisy, clean = 2 * 2 * (1 + 1 + 2 + 2), 3 * 2
    assert cases.needed_tflop(case, 2) * 1e12 == pytest.approx(product * (noisy + clean))


# --- cheaper derivatives --------------------------------------------------------------------------


def test_cheaper_derivatives_are_what_they_are_called(bench: Any) -> None:
    ways = bench("derivatives")
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=3).double()
    model, point = as_model(network), dict(network.named_parameters())
    direction = {n: torch.randn_like(p) for n, p in point.items()}
    images = torch.randn(2, 1, 32, 32).double()
    logits, exact = meta_weights.logit_derivative(model, point, direction, images)
    near = ways.finite_difference(model, point, direction, images, logits, 1e-7)
    assert float((near - exact).abs().max()) < 1e-4 * float(exact.abs().max())
    upper = {n: d * (n.startswith(ways.HEAD) or ways.UPWARD in n) for n, d in direction.items()}
    expected = meta_weights.logit_derivative(model, point, upper, images)[1]
    assert 0 < sum(bool(d.any()) for d in upper.values()) < len(upper)
    torch.testing.assert_close(ways.decoder_only(model, point, direction, images), expected)


# --- trust ----------------------------------------------------------------------------------------


def test_auroc_is_the_chance_that_a_wrong_pixel_scores_higher(bench: Any) -> None:
    rng = np.random.default_rng(0)
    wrong, score = rng.random(60) < 0.3, rng.integers(0, 9, 60).astype(float)
    pairs = np.subtract.outer(score[wrong], score[~wrong])
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert bench("trust").auroc(score, wrong) == pytest.approx(expected)


def test_wrong_pixels_among_the_lowest_are_counted(bench: Any) -> None:
    suspicion, wrong = np.linspace(0, 1, 200), np.zeros(200, bool)
    wrong[[199, 198, 197, 3]] = True  # the ten most suspicious ones are looked at
    assert bench("trust").among_lowest(suspicion, wrong) == pytest.approx(0.3)
    assert bench("trust").among_lowest(-suspicion, wrong) == pytest.approx(0.1)


# --- the scripts ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_engine_script_and_its_resumption(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    first = carried_out("engine.py", "--device", "cpu", "--cases", "def*", json_file=file)
    assert {(r["name"], r["views"]) for r in first["rows"]} == {("defaults", 5), ("defaults", 2)}
    both = carried_out("engine.py", "--device", "cpu", json_file=file)
    assert both["rows"][:2] == first["rows"]
    assert {r["dims"] for r in both["rows"]} == {2, 3}
    for row in both["rows"]:
        assert {"network", "dims", "classes", "size", "batch", "device", "precision"} <= set(row)
        for who in ("reference", "ours", "ratio"):
            assert set(row[who]) >= MEASURED
            assert all(row[who][k] > 0 for k in ("step_s", "noisy_pixels_per_s"))
        assert row["ours"]["roofline"] > 0
        assert row["weight_difference"]["float32"] <= 1e-5
        assert row["weight_difference"]["float64"] <= 1e-9


def test_latency_script(tmp_path: Path) -> None:
    found = carried_out("latency.py", "--device", "cpu", json_file=tmp_path / "latency.json")
    summary = found["summary"]
    assert summary["accepts"] == len(found["accepts"]) == 3
    assert 0 < summary["median"] <= summary["p95"] <= summary["max"]
    assert all(a["noticing_s"] < a["seconds"] for a in found["accepts"])


def test_accept_cost_script(tmp_path: Path) -> None:
    found = carried_out("accept_cost.py", json_file=tmp_path / "accept_cost.json")
    assert [row["clean slices"] for row in found["rows"]] == [10, 40]
    for row in found["rows"]:
        parts = [row[part] for part in ("saving", "showing", "taking up")]
        assert min(parts) > 0
        assert row["all"] == pytest.approx(sum(parts))
    assert found["rows"][0]["all: ratio"] == 1


@pytest.mark.parametrize("specks", [False, True])
def test_tidying_removes_specks_and_nothing_else(bench: Any, specks: bool) -> None:
    for what in ("organ", "body"):
        row = bench("tidying").measured((40, 64, 64), what, specks=specks)
        assert (row["removed"] + row["filled"] > 0) is specks
        assert row["packed MB"] > 0


def test_annotation_effort_script(tmp_path: Path) -> None:
    file, picture, table = (tmp_path / name for name in ("effort.json", "effort.png", "effort.md"))
    asked = ("--budgets", "4", "--methods", "initial", "--seeds", "1", "--initial", "corrupted")
    shown = ("--png", str(picture), "--markdown", str(table))
    found: Any = carried_out("annotation_effort.py", *asked, *shown, json_file=file)
    assert {(r["method"], r["where"], r["class"]) for r in found} == {
        ("initial", where, name)
        for where in ("exported", "held_out")
        for name in ("organ", "lesion")
    }
    assert picture.stat().st_size > 10_000
    assert table.read_text().count("\n") == 2 + 4


def test_annotation_effort_script_over_time(tmp_path: Path) -> None:
    file, picture, table = (tmp_path / name for name in ("effort.json", "effort.png", "effort.md"))
    asked = ("--budgets", "4", "--methods", "mlbseg,supervised", "--seeds", "1")
    timed = ("--marks", "0.001,600", "--clock", "processor", "--pieces", "1")
    shown = ("--png", str(picture), "--markdown", str(table))
    found: Any = carried_out("annotation_effort.py", *asked, *timed, *shown, json_file=file)
    at = {(r["method"], r["mark_min"], r["where"]) for r in found if r["class"] == "organ"}
    ends = {(None, "exported"), (None, "held_out"), (600, "exported"), (0.001, "exported")}
    assert at == {(method, *end) for method in ("mlbseg", "supervised") for end in ends}
    with Study.open(tmp_path / "effort.json.data" / "base-1.mlbseg", writable=False) as study:
        assert [one.most_pieces for one in study.classes] == [1, 1]
    assert picture.stat().st_size > 10_000
    assert table.read_text().count("\n") == 2 + 2 * 2 * 4


@pytest.mark.slow
def test_peers_script_and_its_resumption(tmp_path: Path) -> None:
    file, nowhere = tmp_path / "peers.json", tmp_path / "nowhere"
    asked = ("--python", str(nowhere))
    first = carried_out("peers.py", *asked, "--arms", "supervised", json_file=file)
    assert first["left_out"] == {}
    found: Any = carried_out("peers.py", *asked, json_file=file)
    assert "scripts/peers.sh" in found["left_out"]["forest"]
    assert found["rows"][: len(first["rows"])] == first["rows"]
    rows = [row for row in found["rows"] if row["class"] == "organ"]
    assert [(row["arm"], row["mark_min"]) for row in rows] == [
        (arm, mark) for arm in ("supervised", "mlbseg") for mark in (0.00001, 0.2)
    ]
    for row in found["rows"]:
        assert 0 <= row["dice_in_one_piece"] <= 1
        assert row["labels_min"] > 0
    assert rows[0]["steps"] == 0
    assert rows[0]["dice"] == rows[2]["dice"] > 0  # the clean slices alone
    assert rows[1]["steps"] > 0
    assert not list((tmp_path / "peers.json.work").rglob("study.mlbseg"))


@pytest.fixture
def setting(bench: Any, tmp_path: Path) -> Any:
    """Four clean slices of phantoms, for the arms of `peers.py`."""
    peers = bench("peers")
    options = argparse.Namespace(minutes=[1.0], clock="wall", threads=1, config=Config())
    study, truth = peers.cohort(tmp_path, quick=True)
    return peers.make_setting(study, truth, 4, 0, tmp_path, options)


def test_others_get_the_clean_slices_alone_and_give_labels_back(
    bench: Any, setting: Any, tmp_path: Path
) -> None:
    data, peer, folder = bench("_peer_data"), bench("_peer"), tmp_path / "peer"
    data.export(setting, folder)
    with Study.open(setting.study, writable=False) as study:
        cases, truth = study.cases, Truth(setting.truth, study)
        classes = [one.value for one in study.classes]
    labels = {name: voxels_of(path) for name, path in peer.labels(folder).items()}
    images = {name: voxels_of(path) for name, path in peer.images(folder).items()}
    assert set(images) == {case.id for case in cases}
    assert set(labels) == {key.case_id for key in setting.picks}
    unknown = peer.unknown_label(folder)
    assert unknown == len(classes) + 1
    for name, voxels in labels.items():
        known = np.flatnonzero((voxels != unknown).all(axis=(1, 2)))
        assert known.tolist() == sorted(k.index for k in setting.picks if k.case_id == name)
        assert (np.delete(voxels, known, axis=0) == unknown).all()
        assert voxels.shape == images[name].shape
    # A program that finds the truth, slices first, gets it back in the frame of the study.
    perfect = {
        case.id: data.indices(np.moveaxis(truth.volume(case.id), case.axis, 0), classes)
        for case in cases
    }
    assert {row["dice"] for row in data.scored(setting, data.with_clean(setting, perfect), {})} == {
        1
    }
    alone = data.with_clean(setting, {})
    shown = {key.case_id for key in setting.picks if alone[key.case_id].any()}
    assert shown
    for key in setting.picks:
        mine = alone[key.case_id].take(key.index, axis=key.axis)
        np.testing.assert_array_equal(mine, truth.mask(key))


def voxels_of(path: Path) -> Any:
    """The voxels of a file, slices first."""
    file: Any = nib.load(path)
    return np.asarray(file.dataobj).T


class Nearest:
    """Stands in for the forest: gives each pixel the label of the pixel most like it."""

    def fit(self, features: Any, labels: Any) -> object:
        self.labels = np.unique(labels)
        self._scale = features.std(axis=0)
        self._known, self._labels = KDTree(features[::20] / self._scale), labels[::20]
        return self

    def predict(self, features: Any) -> Any:
        return self._labels[self._known.query(features / self._scale, eps=1.0)[1]]


def test_pixels_are_classified_by_their_features(bench: Any, setting: Any, tmp_path: Path) -> None:
    data, forest, folder = bench("_peer_data"), bench("_peer_forest"), tmp_path / "peer"
    data.export(setting, folder)
    classifier = Nearest()
    forest.learn(classifier, folder)
    assert classifier.labels.tolist() == [0, 1, 2]  # and never the label of the unknown
    found = {
        name: forest.labelled(classifier, p) for name, p in bench("_peer").images(folder).items()
    }
    organ, _ = data.scored(setting, data.with_clean(setting, found), {})
    assert organ["dice"] > 0.7


def test_imported_brake_script(tmp_path: Path) -> None:
    found = carried_out("imported_brake.py", json_file=tmp_path / "brake.json")
    summary = found["summary"]
    assert summary["passed"]
    assert [row["case"] for row in found["cases"]] == ["phantom_01", "phantom_02"]
    for row in (*found["cases"], summary):
        for region in ("all", "inside", "outside"):
            assert 0 < row[f"imported {region}"] < 1
            assert row[f"exported {region}"] >= row[f"imported {region}"] - 0.003
    assert summary["minutes"] > 0


def test_marked_ends_script(tmp_path: Path) -> None:
    found = carried_out("marked_ends.py", json_file=tmp_path / "ends.json")
    rows = {(row["ends marked"], row["class"]): row for row in found["rows"]}
    assert set(rows) == {(ends, name) for ends in (False, True) for name in ("organ", "lesion")}
    for row in rows.values():
        assert row["told"] is None  # four clean slices
        assert row["steps"] == 5
    assert rows[True, "organ"]["Dice"] > rows[False, "organ"]["Dice"]


def test_labels_grow_within_their_slices(bench: Any) -> None:
    labels = np.zeros((40, 40, 3), dtype=np.uint8)
    labels[20, 20, 1] = 2
    found = bench("imported_brake").grown_by(labels, 2, 4)
    assert not found[..., [0, 2]].any()
    y, x = np.nonzero(found[..., 1] == 2)
    assert np.hypot(y - 20, x - 20).max() == 4
    assert len(y) == 49  # pixels of a disc of radius 4


def test_corruption_is_that_of_the_recipe(bench: Any) -> None:
    corruption = bench("_corruption")
    truth = np.zeros((144, 144, 40), dtype=np.uint8)
    truth[50:90, 40:100, 5:35] = 1
    wrong = corruption.corrupt_volume(truth, 2, share=0.4, seed=0)
    differ = (wrong != truth).any(axis=(0, 1))
    assert differ.sum() == 12  # 40 % of the 30 slices that show something
    assert not differ[:5].any()
    assert not differ[35:].any()
    assert np.array_equal(wrong, corruption.corrupt_volume(truth, 2, share=0.4, seed=0))
    assert np.array_equal(truth, corruption.corrupt_volume(truth, 2, share=0.0, seed=0))
    disc = corruption.bounding_ellipse(truth[:, :, 10] > 0)
    assert disc.sum() == pytest.approx(np.pi * 20 * 30, rel=0.02)
    assert disc[70, 41:99].all()
    assert not disc[52, 43]


@pytest.mark.slow
def test_memory_script(tmp_path: Path) -> None:
    found = carried_out("memory.py", json_file=tmp_path / "memory.json")
    assert [row["cases"] for row in found["rows"]] == [2, 6]
    for row in found["rows"]:
        assert row["published"] > 0
        assert row["peak_mb"] > row["opened_mb"] > 0
        assert row["steps"] >= 2


@pytest.mark.slow
def test_dimensions_script(tmp_path: Path) -> None:
    found = carried_out("dimensions.py", json_file=tmp_path / "dimensions.json")
    assert [row["dimensions"] for row in found["rows"]] == ["2d", "2.5d", "3d"]
    assert found["rows"][2]["sample"].startswith("patch")
    for row in found["rows"]:
        assert row["base steps"] >= 1
        assert row["steps"] >= 1
        assert 0 <= row["Dice final"] <= 1
        assert row["peak MB"] > 0


@pytest.mark.slow
def test_imported_labels_script_and_its_resumption(bench: Any, tmp_path: Path) -> None:
    file, asked = tmp_path / "labels.json", ("--errors", "grown,none")
    first = carried_out("imported_labels.py", *asked, "--arms", "imported", json_file=file)
    found = carried_out("imported_labels.py", *asked, json_file=file)
    assert found["rows"][:2] == first["rows"]
    rows = {(row["error"], row["arm"]): row["dice"] for row in found["rows"]}
    arms = bench("imported_labels").ARMS
    assert set(rows) == {(error, arm) for error in ("grown", "none") for arm in arms}
    assert len(found["rows"]) == len(rows)
    assert rows["none", "imported"] == 1
    assert rows["grown", "counted"] > rows["grown", "imported"] + 0.02


@pytest.mark.slow
def test_answer_script(tmp_path: Path) -> None:
    found = carried_out("answer.py", json_file=tmp_path / "answer.json")
    assert {"grown", "shrunk", "shifted"} <= {row["wrong"] for row in found["rows"]}
    assert {row["stroke along"] for row in found["rows"]} == {"middle", "true border"}
    for row in found["rows"]:
        assert row["before"] < row["stroke"]
        assert row["better"] + row["worse"] <= 1
        assert row["CPU ms, max"] >= row["CPU ms, median"] > 0
    assert all(row["slices"] > 0 for row in found["passed on"])


@pytest.mark.slow
def test_warm_start_script_and_its_resumption(tmp_path: Path) -> None:
    file = tmp_path / "warm.json"
    found = carried_out("warm_start.py", json_file=file)
    rows = {(row["slices"], row["arm"]): row["dice"] for row in found["rows"]}
    scratch, warm = "from scratch", "with the earlier model"
    assert set(rows) == {(0, warm), (2, scratch), (2, warm)}
    file.write_text(json.dumps(found | {"rows": found["rows"][:2]}))
    again = carried_out("warm_start.py", json_file=file)
    assert [(row["slices"], row["arm"]) for row in again["rows"]] == list(rows)
    assert again["rows"][:2] == found["rows"][:2]


def test_weights_worth_script(tmp_path: Path) -> None:
    asked = ("--errors", "nothing imported")
    found = carried_out("weights_worth.py", *asked, json_file=tmp_path / "worth.json")
    dice = {row["arm"]: row["dice"] for row in found["rows"]}
    assert set(dice) == {"equal", "oracle", "placebo", "known", "learnt"}
    assert len(set(dice.values())) >= 4  # other labels were learnt from


def test_an_oracle_leaves_out_what_is_wrong_and_a_placebo_as_much(
    bench: Any, tmp_path: Path
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg")
    case, name = phantoms.study.cases[0], ArrayName.PSEUDO_LABELS
    wrong = np.roll(phantoms.truth[case.id], 2, axis=1)
    phantoms.study.arrays.create(case.id, name, [(0, wrong)], axis=0)
    truth = mock.Mock(mask=lambda key: phantoms.truth[key.case_id][key.index])
    key, worth = SliceKey(case.id, 0, 6), bench("weights_worth")

    def read(arm: str, which: ArrayName = name) -> np.ndarray:
        with worth.weighted(arm, truth, 0):
            reader = Reader(phantoms.study, torch.device("cpu"))
            return reader.labels(which, key).numpy()

    equal, oracle, placebo, known, learnt = (read(arm) for arm in worth.ARMS)
    right = wrong[6] == phantoms.truth[case.id][6]
    assert ((oracle == IGNORE) == ~right).all()
    assert (oracle == equal)[right].all()
    assert (placebo == IGNORE).sum() == (~right).sum()
    assert ((placebo == equal) | (placebo == IGNORE)).all()
    assert ((placebo == IGNORE) != ~right).any()
    assert (learnt == equal).all()
    assert (known % worth.MANY == equal).all()
    assert ((known // worth.MANY == equal) == right).all()


def test_learnt_weights_begin_equal_and_then_follow_the_prices(bench: Any, tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    phantoms.accept("phantom0", *range(3, 9))
    config = Config(slice_size=32, dimensions="2.5d", device="cpu", precision="float32")
    trainer, worth = Trainer(phantoms.study, config), bench("weights_worth")
    trainer.read_clean_slices()
    generator = trainer.state.generator
    drawn = generator.get_state()

    def gradient() -> dict[str, Tensor]:
        generator.set_state(drawn)
        return dict(trainer._bootstrap_gradient(1e-3).gradient)

    plain = gradient()
    with worth.weighted("learnt", mock.Mock(), 0):
        first, second = gradient(), gradient()
    apart = [
        max(float((found[name] - plain[name]).abs().max()) for name in plain)
        for found in (first, second)
    ]
    assert apart[0] < 1e-4
    assert apart[1] > 1e-3


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
@pytest.mark.parametrize("by", [-3, 0, 2])
def test_a_counted_correction_finds_what_is_wrong_everywhere(
    bench: Any, shift: tuple[int, int], by: int
) -> None:
    y, x = np.mgrid[:60, :64]
    wrong = [
        (np.hypot(y - a, x - b) < r).astype(np.uint8) for a, b, r in ((30, 28, 12), (25, 35, 9))
    ]
    errors = bench("_label_errors")
    true = [errors.corrected(mask, shift, by) for mask in wrong]
    assert errors.counted(wrong, true) == (shift, by)


def test_labels_are_wrong_as_their_names_say(bench: Any) -> None:
    z, y, x = np.mgrid[:30, :60, :64]
    true = (np.hypot(np.hypot(z - 15, y - 30), x - 30) < 12).astype(np.uint8)
    true[15, 30, 10:50] = 1  # thin
    found = {name: make(true, 0, 0) for name, make in bench("_label_errors").ERRORS.items()}
    size = {name: int(labels.sum()) for name, labels in found.items()}
    assert (found["none"] == true).all()
    assert size["grown"] > size["none"] > size["thin parts missing"] > size["shrunk"]
    assert found["thin parts missing"][15, 30, 10] == 0
    assert size["shifted"] == size["none"]
    assert (found["shifted"] != true).any()
    shown = [np.flatnonzero(labels.any(axis=(1, 2))) for labels in (true, found["a third missing"])]
    assert len(shown[1]) == len(shown[0]) - len(shown[0]) // 3
    assert size["a neighbour merged"] > 1.05 * size["none"]
    assert size["L2B 40 %"] != size["none"] != size["L2B 100 %"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_class_is_cut_in_two_and_the_halves_taken_for_each_other(bench: Any, axis: int) -> None:
    errors, true = bench("_label_errors"), np.zeros((9, 10, 11), np.uint8)
    true[2:6, 2:6, 2:6] = 1
    cut = errors.halves(true, axis)
    assert ((cut > 0) == (true > 0)).all()
    assert np.bincount(cut.ravel())[1:].tolist() == [32, 32]
    in_slices = np.moveaxis(cut, axis, 0)[2]
    assert set(np.unique(in_slices)) == {0, 1, 2}  # every slice shows both
    swapped = errors.wrong_class(cut, axis, 3)
    assert (swapped == np.where(cut > 0, 3 - cut, 0)).all()
    assert (errors.wrong_class(cut, axis, 4) == cut).all()
