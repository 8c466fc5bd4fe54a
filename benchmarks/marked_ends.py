"""Two corrected slices a case at the same two heights: what are marked ends worth?

    python benchmarks/marked_ends.py --threads 2 --json docs/marked_ends.json

Six left atria (the 59th to the 64th of `train` in la/splits.json) come without labels. In each of
them the slices 35 and 55 of 88 are corrected, which say nothing about where the atrium begins and
ends. The run has a limited time, once without and once with the ends of every case marked. The
exported labels are compared with the truth, and with what the run told of itself.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _shared
import annotation_effort
import torch
from imported_brake import Row, atria, carried_out, phantoms

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Inbox, Stage
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, correct, mark_ends
from napari_mlbseg.simulation.scoring import exported, measured

HEIGHTS = (35 / 88, 55 / 88)
"""Heights of the corrected slices, as shares of a case."""


def main() -> None:
    options = parse()
    base = annotation_effort.QUICK if options.quick else Config(minutes=options.minutes)
    given = {"threads": options.threads, "seed": options.seed}
    config = Config.from_dict(base.to_dict() | given | _shared.settings(options))
    with tempfile.TemporaryDirectory() as folder:
        images, truth = phantoms(Path(folder)) if options.quick else atria()
        names = "organ,lesion" if options.quick else "left atrium"
        both = [ran(images, truth, names, config, ends=ends) for ends in (False, True)]
    rows = [row for of_run in both for row in of_run]
    _shared.show(f"{options.minutes} minutes, seed {config.seed}", rows)
    if options.json:
        about = _shared.about(torch=torch.__version__) | {"config": config.to_dict()}
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    _shared.add_run(parser)
    return parser.parse_args()


def ran(
    images: Sequence[Path], truth_folder: Path, names: str, config: Config, *, ends: bool
) -> list[Row]:
    """One run from import to export; a row for each class."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bare.mlbseg"
        annotation_effort.make_study(path, images, {}, named(names))
        with Study.open(path, author="truth") as study:
            truth = Truth(truth_folder, study)
            correct(study, truth, slices(study))
            if ends:
                mark_ends(study, truth)
            run = carried_out(Bootstrapper(study, config).events(Inbox()))
            labels = partial(exported, study)
            found = measured(study.cases, study.classes, labels, truth.volume)
            return [about(one.name, found[one.value], run, ends=ends) for one in study.classes]


def slices(study: Study) -> list[SliceKey]:
    """The corrected slices, at the same heights in every case."""
    return [
        SliceKey(case.id, case.axis, round(height * case.geometry.shape[case.axis]))
        for case in study.cases
        for height in HEIGHTS
    ]


def about(name: str, found: Any, run: Row, *, ends: bool) -> Row:
    """What was measured of a class, and what the run told."""
    return {
        "ends marked": ends,
        "class": name,
        "Dice": found.mean.dice,
        "in one piece": found.dice_in_one_piece,
        "told": run["told"],
        "minutes": run["minutes"],
        "steps": sum(
            run.get(f"steps {stage}", 0) for stage in (Stage.BASE_MODEL, Stage.BOOTSTRAPPING)
        ),
    }


if __name__ == "__main__":
    main()
