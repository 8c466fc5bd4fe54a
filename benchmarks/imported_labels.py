"""Imported labels that are wrong in some way: which way of using them gives the best labels?

    python benchmarks/imported_labels.py --threads 2 --json docs/imported_labels.json

Twelve left atria (the first of `train` in la/splits.json) come with labels made wrong on purpose,
see _label_errors.py. Sixteen evenly spread slices are corrected. Each arm has the same time:

    imported    the imported labels, with the corrected slices on top
    ignore      they are not used at all
    counted     a shift and a growth, fitted on the corrected slices, applied to every slice
    as they are the network learns them like clean slices
    uniform     the objective of the paper, with equal weights
    published   the same, with weights by the rule of the paper
    tilted      the same, with weights as in the maps of the window
    unseen      right labels are kept, but the network does not see them
    seen        the network sees them beside the image

For "wrong class" each atrium is cut into two classes.

Rows that are already in FILE are not measured again.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import _shared
import annotation_effort
import nibabel as nib
import numpy as np
import torch
from _label_errors import ERRORS, Error, Labels, corrected, counted, halves

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Failed, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.suggestions import evenly_spread_slices
from napari_mlbseg.project.exporting.tidied import exported_labels
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, correct, take
from napari_mlbseg.simulation.scoring import measured

SLICES = 16
CASES = 12
ARMS: dict[str, dict[str, Any] | None] = {
    "imported": None,
    "counted": None,
    "ignore": {"weights": "none", "label_input": False},
    "as they are": {"objective": "initial labels", "label_input": False},
    "uniform": {"objective": "meta-weights", "weights": "uniform", "label_input": False},
    "published": {"objective": "meta-weights", "weights": "published", "label_input": False},
    "tilted": {"objective": "meta-weights", "weights": "meta", "label_input": False},
    "unseen": {"label_input": False},
    "seen": {"label_input": True},
}
"""The settings of a run; None for an arm without one."""

Row = dict[str, Any]


def main() -> None:
    options = parse()
    base = Config(minutes=options.minutes)
    if options.quick:
        base = Config(base_steps=3, steps=2, slice_size=32, device="cpu")
    config = Config.from_dict(
        base.to_dict() | {"threads": options.threads} | _shared.settings(options)
    )
    rows = _shared.read_rows(options.json)
    done = {(row["error"], row["arm"], row["seed"]) for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for error in options.errors.split(","):
            arms = [arm for arm in options.arms.split(",") if (error, arm, seed) not in done]
            if arms:
                settings = replace(config, seed=seed)
                rows += compared(error, arms, settings, _shared.clock(options), quick=options.quick)
                _shared.write_rows(options.json, rows, config.to_dict(), torch=torch.__version__)
    table = _shared.mean_dice(rows, by="error", arms=ARMS)
    _shared.show(f"{config.minutes} minutes, {SLICES} slices: exported Dice", table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--errors", default=",".join(ERRORS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of torch")
    _shared.add_clock(parser)
    _shared.add_settings(parser)
    parser.add_argument("--quick", action="store_true", help="phantoms and hardly any steps")
    parser.add_argument("--json", type=Path, default=Path("out/imported_labels.json"))
    return parser.parse_args()


def compared(
    error: str,
    arms: Sequence[str],
    config: Config,
    clock: Callable[[], float],
    *,
    quick: bool,
) -> list[Row]:
    """A row for each arm: Dice of one kind of wrong labels."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images, truth_folder, held_out = (
            annotation_effort.phantoms(work) if quick else annotation_effort.atria(CASES)
        )
        images = [image for image in images if named_like(image) not in held_out]
        names = "organ,lesion" if quick else "left atrium"
        if error == "wrong class" and not quick:
            truth_folder, names = in_two_classes(images, truth_folder, work / "halves"), "one,other"
        labels = wrong(error, images, truth_folder, work / "wrong")
        rows = []
        for arm in arms:
            with Study.create(work / f"{arm}.mlbseg", author="truth") as study:
                study.set_classes(named(names))
                import_images(study, images, labels)
                truth = Truth(truth_folder, study)
                keys = slices(study, truth, config.seed)
                correct(study, truth, keys)
                found = carried_out(arm, study, truth, keys, config, clock)
                scores = measured(study.cases, study.classes, found.__getitem__, truth.volume)
                dice = fmean(one.mean.dice for one in scores.values())
                rows.append({"error": error, "arm": arm, "seed": config.seed, "dice": dice})
                print(rows[-1], flush=True)
    return rows


def slices(study: Study, truth: Truth, seed: int) -> list[SliceKey]:
    """The slices to correct, evenly spread."""
    proposed = list(evenly_spread_slices(study.cases, seed=seed))
    missing = frozenset(one.value for one in study.classes)
    return take(proposed, SLICES, truth=truth, missing=missing)


def carried_out(
    arm: str,
    study: Study,
    truth: Truth,
    keys: Sequence[SliceKey],
    config: Config,
    clock: Callable[[], float],
) -> dict[str, Labels]:
    """The labels (z y x) of each case that an arm ends with."""
    settings = ARMS[arm]
    if settings is not None:
        asked = replace(config, **settings)
        for event in Bootstrapper(study, asked, clock=clock).events(Inbox()):
            if isinstance(event, Failed):
                raise event.error()
    labels = {case.id: exported_labels(study, case) for case in study.cases}
    return moved(study, truth, keys, labels) if arm == "counted" else labels


def moved(
    study: Study, truth: Truth, keys: Sequence[SliceKey], labels: dict[str, Labels]
) -> dict[str, Labels]:
    """Labels with all but the corrected slices moved as the corrected slices ask for."""
    imported = {case.id: study.labels.machine(case.id) for case in study.cases}
    were = [np.take(imported[key.case_id], key.index, key.axis) for key in keys]
    shift, by = counted(were, [truth.mask(key) for key in keys])
    found = {}
    for case in study.cases:
        clean = {key.index for key in keys if key.case_id == case.id}
        planes = [
            plane if index in clean else corrected(plane, shift, by)
            for index, plane in enumerate(np.moveaxis(labels[case.id], case.axis, 0))
        ]
        found[case.id] = np.moveaxis(np.stack(planes), 0, case.axis)
    return found


def wrong(error: str, images: Sequence[Path], truth: Path, folder: Path) -> dict[str, Path]:
    """Files with wrong labels, by the name of the case; the same for every seed."""
    rewrite(images, truth, folder, ERRORS[error])
    return {named_like(image): folder / image.name for image in images}


def in_two_classes(images: Sequence[Path], truth: Path, folder: Path) -> Path:
    """A folder with the masks in two classes each."""
    rewrite(images, truth, folder, lambda labels, axis, number: halves(labels, axis))
    return folder


def rewrite(images: Sequence[Path], masks: Path, folder: Path, change: Error) -> None:
    """Each image's mask, changed, in a new folder."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        file: Any = nib.load(masks / image.name)
        labels, spacing = np.asarray(file.dataobj).astype(np.uint8), file.header.get_zooms()
        # Annotated along the axis with the thickest slices, the last of equal ones.
        axis = max(range(3), key=lambda a: (round(float(spacing[a]), 3), a))
        changed = change(labels, axis, number)
        nib.save(nib.Nifti1Image(changed, file.affine), folder / image.name)


def named_like(image: Path) -> str:
    return image.name.removesuffix(".nii.gz")


if __name__ == "__main__":
    main()
