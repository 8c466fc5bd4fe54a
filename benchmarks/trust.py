"""Do the maps tell wrong pixels from right ones, early and late in training?

    python benchmarks/trust.py --json docs/trust.json --plot docs/images/trust.png

A study is made of real volumes with the true masks of some slices as clean slices. A base model is
trained, then the loop; at several steps of both the maps of slices that nobody corrected are
compared with the true masks. Each map is a score of every pixel's label, and AUROC is how well a
low score finds the wrong pixels of a slice, averaged over the slices.

`la`: eight left atria, two clean slices each. Two kinds of labels are judged: imported ones, the
true masks made wrong as `--errors` says (see _label_errors.py), and the network's own. `ct`: one CT
with 42 organs, eight of its thirty slices clean; the network's own.

The scores: `confidence` is the network's probability of the label, `confidence, views` its mean
over the mirrored views, `price` the meta-gradient u itself, `trust` the map that the engine
publishes.
`right proposals` is the share of wrong pixels whose proposed label, the best one by trust that is
not the shown one, is the true one. `|u|` is the mean absolute meta-gradient along the plain
gradient of the clean loss, before any normalisation.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import _shared
import numpy as np
import torch
from _label_errors import ERRORS
from _shared import DATA, LA
from bootstrapping import spread
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.events import Stage
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.session.learning import cosine
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import (
    confidence,
    label_prices,
    tilted_probabilities,
    value_of,
)
from napari_mlbseg.engine.steps.predict import look_ahead
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.formats.registry import read_labels, write_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume

FEWEST_PIXELS = 20
"""How many wrong and how many right pixels a slice must have to be judged."""
JUDGED_SLICES = 7
"""Of every case."""
LOWEST = 0.05
"""The share of a slice's pixels that are looked at first."""
CT = DATA / "ct_multiorgan"
BASE_MARKS = (30, 60, 100, 200, 400, 700, 1000)
LOOP_MARKS = (100, 300, 600, 1000)

Truth = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Setting:
    """A study whose slices can be judged; `judged` names the labels compared with the truth."""

    study: Study
    truth: Truth
    slices: tuple[SliceKey, ...]
    judged: tuple[str, ...]


def main() -> None:
    options = parse()
    records: list[dict[str, Any]] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for data in asked(options):
            with tempfile.TemporaryDirectory() as folder:
                made = organs if data == "ct" else partial(left_atria, error=data)
                setting = made(Path(folder), seed)
                with setting.study:
                    for record in trajectory(setting, seed, quick=options.quick):
                        records.append({"data": data, "seed": seed, **record})
    show(records)
    if options.json:
        about = _shared.about(torch=torch.__version__)
        content = {"about": about, "records": records}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.plot:
        plot(records, options.plot)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=("la", "ct"), default=("la", "ct"))
    parser.add_argument("--errors", default="L2B 40 %", help="of the labels of `la`")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps, to try it out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a picture of both curves (needs matplotlib)")
    return parser.parse_args()


def asked(options: argparse.Namespace) -> list[str]:
    """`ct`, and the errors of the left atria."""
    errors = options.errors.split(",") if "la" in options.data else []
    return errors + [data for data in options.data if data == "ct"]


# --- what is judged -------------------------------------------------------------------------------


def left_atria(folder: Path, seed: int, *, error: str) -> Setting:
    """Eight volumes with wrong masks as their initial labels."""
    cases = json.loads((LA / "splits.json").read_text())["labelled_8"]
    rng = np.random.default_rng(seed)
    truth, labels = {}, {}
    for number, case in enumerate(cases):
        volume, source = read_labels(LA / "labels" / f"{case}.nii.gz")
        truth[case] = volume.voxels.astype(np.uint8)
        labels[case] = folder / f"{case}_wrong.nii.gz"
        wrong = ERRORS[error](truth[case], 0, 1000 * seed + number)
        write_labels(labels[case], Volume(wrong, volume.geometry), source)
    study = Study.create(folder / "la.mlbseg", author="truth")
    study.set_classes([LabelClass(1, "left atrium", (230, 159, 0))])
    import_images(study, [LA / "images" / f"{name}.nii.gz" for name in cases], labels)
    accept(study, truth, spread(study, 2 * len(cases), seed=seed))
    return Setting(study, truth, judged_slices(study, rng), ("imported labels", "own labels"))


def organs(folder: Path, seed: int) -> Setting:
    """A CT with 42 organs; the slices between the clean ones are judged."""
    volume, _ = read_labels(next(CT.glob("*seg*.nii.gz")))
    truth = volume.voxels.astype(np.uint8)
    image = next(p for p in CT.glob("*.nii.gz") if "seg" not in p.name)
    study = Study.create(folder / "ct.mlbseg", author="truth")
    values = [int(v) for v in np.unique(truth) if v]
    study.set_classes([LabelClass(v, f"organ {v}", (230, 159, 0)) for v in values])
    import_images(study, [image], {})
    case = study.cases[0]
    count = case.geometry.shape[case.axis]
    clean = [SliceKey(case.id, case.axis, round(i)) for i in np.linspace(1, count - 2, 8)]
    accept(study, {case.id: truth}, clean)
    others = [SliceKey(case.id, case.axis, i) for i in range(count)]
    return Setting(
        study, {case.id: truth}, tuple(k for k in others if k not in clean), ("own labels",)
    )


def accept(study: Study, truth: Truth, keys: Sequence[SliceKey]) -> None:
    for key in keys:
        study.save_slice(key, section(truth, key), SliceState.CLEAN)


def section(truth: Truth, key: SliceKey) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.take(truth[key.case_id], key.index, key.axis))


def judged_slices(study: Study, rng: np.random.Generator) -> tuple[SliceKey, ...]:
    clean, chosen = set(study.slices.clean()), []
    for case in study.cases:
        keys = [SliceKey(case.id, case.axis, i) for i in range(case.geometry.shape[case.axis])]
        free = [key for key in keys if key not in clean]
        picked = rng.choice(len(free), 3 * JUDGED_SLICES, replace=False)
        chosen += [free[i] for i in sorted(picked)]
    return tuple(chosen)


# --- training and measuring -----------------------------------------------------------------------


def trajectory(setting: Setting, seed: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Train the base model, then the loop if there are labels to learn, and judge at times."""
    config = Config(
        seed=seed,
        dimensions="2.5d",
        objective="meta-weights",
        validation_share=0.0,
        resume=False,
    )
    trainer = Trainer(setting.study, config)
    trainer.read_clean_slices()
    base, loop = ((2,), (2,)) if quick else (BASE_MARKS, LOOP_MARKS)
    for step in train(trainer.base_step, base):
        yield {"stage": "base model", "step": step, **judge(trainer, setting)}
    if "imported labels" in setting.judged:
        trainer.state.enter(Stage.BOOTSTRAPPING)
        for step in train(trainer.bootstrap_step, loop):
            yield {"stage": "loop", "step": step, **judge(trainer, setting)}


def train(step: Callable[..., object], marks: Sequence[int]) -> Iterator[int]:
    for done in range(marks[-1]):
        step(learning_rate=1e-3 * cosine(done / marks[-1]))
        if done + 1 in marks:
            yield done + 1


def judge(trainer: Trainer, setting: Setting) -> dict[str, Any]:
    """AUROC for all labels and scores, right proposals, and the size of the meta-gradients."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    lowest: dict[tuple[str, str], list[float]] = defaultdict(list)
    proposals: dict[str, list[float]] = defaultdict(list)
    direction, plain = trainer.direction(), plain_gradient(trainer)
    prices = []
    for key in setting.slices:
        truth = indices(trainer, section(setting.truth, key), key)
        maps = maps_of(trainer, key, direction, plain)
        shown = {"own labels": maps["confidence, views"].argmax(dim=1)}
        if "imported labels" in setting.judged:
            raw = imported(setting.study, key)
            shown["imported labels"] = indices(trainer, raw, key)
        prices.append(float(maps["price"].abs()[:, :, truth[0] != IGNORE].mean()))
        for what in setting.judged:
            if not enough(shown[what], truth):
                continue
            proposals[what].append(right_proposals(maps["trust"], shown[what], truth))
            for score, value in at_pixels(maps, shown[what], truth, auroc).items():
                found[what, score].append(value)
            for score, value in at_pixels(maps, shown[what], truth, among_lowest).items():
                lowest[what, score].append(value)
            lowest[what, "at most"].append(min(1.0, wrong_share(shown[what], truth) / LOWEST))
    return {
        "auroc": means(found, setting.judged),
        "lowest": means(lowest, setting.judged),
        "right_proposals": {what: float(np.mean(v)) for what, v in proposals.items()},
        "judged_slices": {w: len(v) for (w, s), v in found.items() if s == "trust"},
        "gradient_norm": length(plain),
        "direction_norm": length(direction),
        "mean_abs_price": float(np.mean(prices)),
    }


def means(
    found: Mapping[tuple[str, str], Sequence[float]], judged: Sequence[str]
) -> dict[str, dict[str, float]]:
    return {
        what: {s: float(np.mean(v)) for (w, s), v in found.items() if w == what} for what in judged
    }


def enough(shown: Tensor, truth: Tensor) -> bool:
    """Whether a slice has wrong and right pixels enough to be judged."""
    wrong, inside = (shown != truth) & (truth != IGNORE), truth != IGNORE
    return min(int(wrong.sum()), int((inside & ~wrong).sum())) >= FEWEST_PIXELS


def wrong_share(shown: Tensor, truth: Tensor) -> float:
    return float((shown != truth)[truth != IGNORE].float().mean())


def at_pixels(
    maps: Mapping[str, Tensor],
    shown: Tensor,
    truth: Tensor,
    measure: Callable[[NDArray[np.floating[Any]], NDArray[np.bool_]], float],
) -> dict[str, float]:
    """How well each score finds the wrong pixels; a higher value is more suspicious."""
    inside = truth != IGNORE
    wrong = (shown != truth)[inside].numpy()
    return {
        name: measure(-value_of(scores, shown)[inside].numpy(), wrong)
        for name, scores in maps.items()
    }


def right_proposals(trust: Tensor, shown: Tensor, truth: Tensor) -> float:
    """Share of the wrong pixels whose best other label is the true one."""
    inside = truth != IGNORE
    others = trust.scatter(1, shown.clamp_min(0).unsqueeze(1), -1.0)
    right = (others.argmax(dim=1) == truth)[inside]
    return float(right[(shown != truth)[inside]].float().mean())


def source_of(trainer: Trainer) -> SliceSource:
    assert isinstance(trainer.source, SliceSource)  # the settings ask for slices
    return trainer.source


def maps_of(
    trainer: Trainer, key: SliceKey, direction: Mapping[str, Tensor], plain: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``1 classes y x`` each, on the grid of the network."""
    images = source_of(trainer).unmoved([key]).images
    common: dict[str, Any] = {
        "model": trainer.model,
        "parameters": trainer.parameters,
        "images": images,
    }
    identity = [VIEWS["identity"]]
    averaged, trust = look_ahead(
        **common,
        direction=direction,
        views=trainer.prediction_views,
        scores=(confidence, tilted_probabilities),
    )
    single, price = look_ahead(
        **common, direction=plain, views=identity, scores=(confidence, label_prices)
    )
    return {"confidence": single, "confidence, views": averaged, "price": price, "trust": trust}


def plain_gradient(trainer: Trainer) -> dict[str, Tensor]:
    """Gradient of the clean loss of all clean slices at once, as in the released method."""
    keys = list(trainer.training_slices)
    batch = source_of(trainer).unmoved(keys, [trainer.training_slices[k] for k in keys])
    return clean_gradient(trainer.model, trainer.parameters, batch.images, batch.labels)[0]


def imported(study: Study, key: SliceKey) -> NDArray[Any]:
    return study.arrays.read(key.case_id, ArrayName.INITIAL_LABELS, key.axis, key.index)


def length(gradient: Mapping[str, Tensor]) -> float:
    return float(torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt())


def indices(trainer: Trainer, mask: NDArray[Any], key: SliceKey) -> Tensor:
    """``1 y x``: class indices on the grid of the network, `IGNORE` outside the slice."""
    source = source_of(trainer)
    labels: Tensor = source.unmoved([key], [source.classes.indices(mask, key)]).labels
    return labels


def auroc(score: NDArray[np.floating[Any]], wrong: NDArray[np.bool_]) -> float:
    """Chance that a wrong pixel scores higher than a right one (Mann and Whitney 1947)."""
    count = int(wrong.sum())
    ranks = rankdata(score)[wrong].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(wrong) - count)))


def among_lowest(suspicion: NDArray[np.floating[Any]], wrong: NDArray[np.bool_]) -> float:
    """Share of wrong pixels among the `LOWEST` share of pixels with the highest suspicion."""
    count = max(1, round(LOWEST * len(wrong)))
    return float(wrong[np.argpartition(-suspicion, count - 1)[:count]].mean())


# --- tables and pictures --------------------------------------------------------------------------


def show(records: Sequence[dict[str, Any]]) -> None:
    rows = [
        {
            "data": r["data"],
            "seed": r["seed"],
            "stage": r["stage"],
            "step": r["step"],
            "judged": what,
            **{name: f"{value:.4f}" for name, value in scores.items()},
            "right proposals": f"{r['right_proposals'][what]:.3f}",
            "|g|": r["gradient_norm"],
            "|u|": f"{r['mean_abs_price']:.2e}",
            "lowest 5 % by trust": f"{r['lowest'][what]['trust']:.3f}",
            "at most": f"{r['lowest'][what]['at most']:.3f}",
        }
        for r in records
        for what, scores in r["auroc"].items()
    ]
    _shared.show("Finding wrong pixels: AUROC, mean over slices", rows)


def plot(records: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel for each data set and kind of labels; the mean over the seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((r["data"], w) for r in records for w in r["auroc"]))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False)
    for axis, (data, what) in zip(axes[0], panels, strict=True):
        mine = [r for r in records if r["data"] == data]
        marks = list(dict.fromkeys((r["stage"], r["step"]) for r in mine))
        for score in mine[0]["auroc"][what]:
            means = [
                np.mean([r["auroc"][what][score] for r in mine if (r["stage"], r["step"]) == mark])
                for mark in marks
            ]
            axis.plot(range(len(marks)), means, marker="o", markersize=3, label=score)
        axis.set_xticks(
            range(len(marks)), [f"{s[:4]} {n}" for s, n in marks], rotation=60, fontsize=7
        )
        axis.set_title(f"{data}: {what}", fontsize=10)
        axis.set_ylabel("AUROC")
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
