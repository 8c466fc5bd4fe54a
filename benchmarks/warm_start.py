"""Begin with the model of an earlier study: how many corrected slices does that save?

    python benchmarks/warm_start.py --threads 2 --json docs/warm_start.json

An earlier study, twelve left atria (the first of `train` in la/splits.json) with sixteen evenly
spread corrected slices, is trained once. Then ten other atria (the 21st to the 30th) are labelled
with 0, 2, 4, 8 and 16 corrected slices, once from scratch and once beginning with the earlier
model, for the same time each. No labels are imported anywhere. Rows that are already in FILE are
not measured again.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import _shared
import torch
from _shared import LA

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Failed, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.suggestions import evenly_spread_slices
from napari_mlbseg.project.exporting.tidied import exported_labels
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.simulation.annotator import Truth, correct, take
from napari_mlbseg.simulation.scoring import measured

EARLIER, EARLIER_SLICES = slice(0, 12), 16
OTHERS = slice(20, 30)
COUNTS = (0, 2, 4, 8, 16)
ARMS = ("from scratch", "with the earlier model")

Row = dict[str, Any]
Cohort = tuple[list[Path], Path]
"""The images, and the folder of the truth."""


def main() -> None:
    options = parse()
    clock = _shared.clock(options)
    base = Config(minutes=options.minutes)
    if options.quick:
        base = Config(base_steps=3, steps=2, slice_size=32, device="cpu")
    config = Config.from_dict(
        base.to_dict()
        | {"threads": options.threads, "seed": options.seed}
        | _shared.settings(options)
    )
    rows = _shared.read_rows(options.json)
    done = {(row["slices"], row["arm"], row["seed"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        earlier, others = cohorts(work, quick=options.quick)
        begin_with = work / "earlier.mlbseg"
        dice_of(begin_with, earlier, EARLIER_SLICES, config, clock, quick=options.quick)
        for count in COUNTS[:2] if options.quick else COUNTS:
            for arm in ARMS[count == 0 :]:  # without slices nothing can be learnt from scratch
                if (count, arm, config.seed) in done:
                    continue
                settings = replace(config, begin_with=str(begin_with) if arm == ARMS[1] else None)
                path = work / f"{count} {arm}.mlbseg"
                dice = dice_of(path, others, count, settings, clock, quick=options.quick)
                rows.append({"slices": count, "arm": arm, "seed": config.seed, "dice": dice})
                print(rows[-1], flush=True)
                _shared.write_rows(options.json, rows, config.to_dict(), torch=torch.__version__)
    table = _shared.mean_dice(rows, by="slices", arms=ARMS)
    _shared.show(f"{config.minutes} minutes a run: exported Dice", table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    _shared.add_run(parser)
    _shared.add_clock(parser)
    parser.set_defaults(json=Path("out/warm_start.json"))
    return parser.parse_args()


def cohorts(work: Path, *, quick: bool) -> tuple[Cohort, Cohort]:
    """The earlier cases, and the others."""
    if quick:
        made = make_phantom_cohort(work / "phantoms", cases=3)
        images = sorted(made.images.iterdir())
        return (images[:2], made.truth), (images[2:], made.truth)
    names = json.loads((LA / "splits.json").read_text())["train"]
    images = [LA / "images" / f"{name}.nii.gz" for name in names]
    return (images[EARLIER], LA / "labels"), (images[OTHERS], LA / "labels")


def dice_of(
    path: Path,
    cohort: Cohort,
    count: int,
    config: Config,
    clock: Callable[[], float],
    *,
    quick: bool,
) -> float:
    """Make a study, correct `count` slices, run, and measure the exported labels."""
    images, truth_folder = cohort
    with Study.create(path, author="truth") as study:
        study.set_classes(named("organ,lesion" if quick else "left atrium"))
        import_images(study, images, {})
        truth = Truth(truth_folder, study)
        proposed = list(evenly_spread_slices(study.cases, seed=config.seed))
        missing = frozenset(one.value for one in study.classes)
        correct(study, truth, take(proposed, count, truth=truth, missing=missing) if count else [])
        for event in Bootstrapper(study, config, clock=clock).events(Inbox()):
            if isinstance(event, Failed):
                raise event.error()
        labels = {case.id: exported_labels(study, case) for case in study.cases}
        scores = measured(study.cases, study.classes, labels.__getitem__, truth.volume)
        return fmean(one.mean.dice for one in scores.values())


if __name__ == "__main__":
    main()
