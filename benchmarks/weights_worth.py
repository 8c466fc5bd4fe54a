"""What could weights for single pixels be worth at most?

    python benchmarks/weights_worth.py --threads 2 --json docs/weights_worth.json

The study of imported_labels.py, and the same without imported labels. The network learns from its
pseudo labels, every pixel of which has one of these weights:

    equal       1, as by default
    oracle      1 where the pseudo label is right, 0 where it is wrong: no rule can weigh better
    placebo     the weights of the oracle, shuffled within each slice
    known       a table by a few features of the pixel, see _binned_weights.py, of how often such
                labels are right, which only the truth can tell
    learnt      the same table, learnt from the prices

Where the oracle gains nothing, no rule can gain anything. Rows that are already in FILE are not
measured again.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean
from unittest import mock

import _shared
import annotation_effort
import imported_labels
import torch
from _binned_weights import Known, Learnt, bin_count, bin_prices, bins, noisy_gradient
from _label_errors import ERRORS
from imported_labels import Row
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.events import Failed, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import logit_derivative
from napari_mlbseg.engine.steps.passes import forward
from napari_mlbseg.engine.steps.update import BootstrapGradient
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.tidied import exported_labels
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, correct
from napari_mlbseg.simulation.scoring import measured

NOTHING = "nothing imported"
ASKED = (NOTHING, "L2B 40 %", "grown")
ARMS = ("equal", "oracle", "placebo", "known", "learnt")
TABLES: dict[str, type[Known | Learnt]] = {"known": Known, "learnt": Learnt}
PRICED = 4
"""Prices are asked for in every fourth step; they take as long as half a step."""
MANY = 64
"""More than there are classes: labels that know the truth are label + MANY * truth."""


def main() -> None:
    options = parse()
    base = Config(minutes=options.minutes, dimensions="2.5d", device="cpu")
    if options.quick:
        base = Config(base_steps=3, steps=2, slice_size=32, dimensions="2.5d", device="cpu")
    config = Config.from_dict(
        base.to_dict()
        | {"threads": options.threads, "seed": options.seed}
        | _shared.settings(options)
    )
    rows = _shared.read_rows(options.json)
    done = {(row["error"], row["arm"], row["seed"]) for row in rows}
    for error in options.errors.split(","):
        for arm in options.arms.split(","):
            if (error, arm, config.seed) not in done:
                rows.append(
                    measure(error, arm, config, _shared.clock(options), quick=options.quick)
                )
                print(rows[-1], flush=True)
                _shared.write_rows(options.json, rows, config.to_dict(), torch=torch.__version__)
    table = _shared.mean_dice(rows, by="error", arms=ARMS)
    _shared.show(f"{config.minutes} minutes: exported Dice", table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--errors", default=",".join(ASKED))
    parser.add_argument("--arms", default=",".join(ARMS))
    _shared.add_run(parser)
    _shared.add_clock(parser)
    parser.set_defaults(json=Path("out/weights_worth.json"))
    return parser.parse_args()


def measure(
    error: str, arm: str, config: Config, clock: Callable[[], float], *, quick: bool
) -> Row:
    """Run once, and measure the exported labels."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images, truth_folder, held_out = (
            annotation_effort.phantoms(work)
            if quick
            else annotation_effort.atria(imported_labels.CASES)
        )
        images = [one for one in images if imported_labels.named_like(one) not in held_out]
        labels = (
            imported_labels.wrong(error, images, truth_folder, work / "wrong")
            if error in ERRORS
            else {}
        )
        with Study.create(work / "study.mlbseg", author="truth") as study:
            study.set_classes(named("organ,lesion" if quick else "left atrium"))
            import_images(study, images, labels)
            truth = Truth(truth_folder, study)
            correct(study, truth, imported_labels.slices(study, truth, config.seed))
            with weighted(arm, truth, config.seed):
                for event in Bootstrapper(study, config, clock=clock).events(Inbox()):
                    if isinstance(event, Failed):
                        raise event.error()
            found = {case.id: exported_labels(study, case) for case in study.cases}
            scores = measured(study.cases, study.classes, found.__getitem__, truth.volume)
            dice = fmean(one.mean.dice for one in scores.values())
    return {"error": error, "arm": arm, "seed": config.seed, "dice": dice}


@contextmanager
def weighted(arm: str, truth: Truth, seed: int) -> Iterator[None]:
    """Pseudo labels have the weights of an arm; those with the weight 0 are not even read."""
    plain, generator = Reader.labels, torch.Generator().manual_seed(seed)

    def labels(self: Reader, name: ArrayName, key: SliceKey) -> Tensor:
        found = plain(self, name, key)
        if arm in ("equal", "learnt") or name is not ArrayName.PSEUDO_LABELS:
            return found
        true = self.classes.indices(truth.mask(key), key)
        if arm == "known":
            return found + MANY * true
        right = found == true
        if arm == "placebo":
            order = torch.randperm(right.numel(), generator=generator)
            right = right.flatten()[order].reshape(right.shape)
        return torch.where(right, found, IGNORE)

    with ExitStack() as patched:
        patched.enter_context(mock.patch.object(Reader, "labels", labels))
        if arm in TABLES:
            step = binned_step(TABLES[arm])
            patched.enter_context(mock.patch.object(Trainer, "_bootstrap_gradient", step))
        yield


def binned_step(kind: type[Known | Learnt]) -> Callable[[Trainer, float], BootstrapGradient]:
    """A step of self-training whose pseudo labels have the weights of a table."""
    tables: list[Known | Learnt] = []

    def gradient(trainer: Trainer, learning_rate: float) -> BootstrapGradient:
        if not tables:
            tables.append(kind(bin_count(len(trainer.class_values))))
        (table,) = tables
        model, state = trainer.model, trainer.state
        images, told = trainer._sampler.noisy()
        clean = trainer._sampler.clean(at_most=state.batch)
        counts = told != IGNORE
        noisy = Batch(images, torch.where(counts, told % MANY, IGNORE))
        believed = forward(model, state.teacher, images).softmax(dim=1)
        numbers = bins(noisy.labels, believed, images[:, trainer.source.sample.image_channels :])
        if isinstance(table, Known):
            table.note(numbers[counts], (told // MANY == noisy.labels)[counts])
        weights = table.weights
        ours, clean_found = clean_gradient(model, state.student, *clean)
        theirs, found = noisy_gradient(model, state.student, noisy, weights[numbers])
        if isinstance(table, Learnt) and state.total % PRICED == 0:
            ahead = logit_derivative(model, state.student, ours, images)
            table.note(bin_prices(*ahead, noisy.labels, numbers, weights))
        both = {name: gradient + theirs[name] for name, gradient in ours.items()}
        return BootstrapGradient(both, {"clean": clean_found, "pseudo labels": found})

    return gradient


if __name__ == "__main__":
    main()
