"""What could weights for single pixels be worth at most?

    python benchmarks/weights_worth.py --threads 2 --json docs/weights_worth.json

The study of imported_labels.py, and the same without imported labels. The network learns from its
pseudo labels, every pixel of which has one of these weights:

    equal       1, as by default
    oracle      1 where the pseudo label is right, 0 where it is wrong: no rule can weigh better
    placebo     the weights of the oracle, shuffled within each slice

Where the oracle gains nothing, no rule can gain anything. Rows that are already in FILE are not
measured again.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from unittest import mock

import _shared
import annotation_effort
import imported_labels
import torch
from _label_errors import ERRORS
from imported_labels import Row
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.events import Failed, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.nets.labels import IGNORE
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
ARMS = ("equal", "oracle", "placebo")


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
    """Pixels of pseudo labels whose weight is 0 are not learnt from."""
    plain, generator = Reader.labels, torch.Generator().manual_seed(seed)

    def labels(self: Reader, name: ArrayName, key: SliceKey) -> Tensor:
        found = plain(self, name, key)
        if arm == "equal" or name is not ArrayName.PSEUDO_LABELS:
            return found
        right = found == self.classes.indices(truth.mask(key), key)
        if arm == "placebo":
            order = torch.randperm(right.numel(), generator=generator)
            right = right.flatten()[order].reshape(right.shape)
        return torch.where(right, found, IGNORE)

    with mock.patch.object(Reader, "labels", labels):
        yield


if __name__ == "__main__":
    main()
