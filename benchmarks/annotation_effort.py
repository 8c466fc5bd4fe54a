"""How many slices must be corrected until the labels of a cohort are good?

    python benchmarks/annotation_effort.py --json effort.json --png effort.png

Twelve left atria (the first of `train` in la/splits.json) are the cohort; the last ten are held
out. A simulated annotator corrects slices with their true masks, every method learns from the same
slices, and the exported labels and the predictions of the held-out cases are measured: final
checkpoint, no filtering of components, empty predictions scored as failures. Records that are
already in FILE are not measured again, so a run that was stopped resumes.

With --marks 1,4,8,30 each run lasts 30 minutes, and is measured whenever a mark has passed.

Several files, made at the same time with --first-seed or --methods, become one table with

    python benchmarks/annotation_effort.py --tables a.json b.json --png effort.png
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _shared
import nibabel as nib
import numpy as np
import torch
from _corruption import corrupt_volume
from _shared import LA
from matplotlib.figure import Figure

from napari_mlbseg.cli import output, simulations
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.simulation.clocks import Clock
from napari_mlbseg.simulation.methods import METHODS
from napari_mlbseg.simulation.records import Record, read_records, summarise
from napari_mlbseg.simulation.tables import markdown

HELD_OUT = 10
TABLE = ("supervised", "initial", "mean-teacher", "uniform", "copy-paste", "meta-weights-published")
QUICK = Config(base_steps=3, steps=2, slice_size=32, device="cpu")


def main() -> None:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.tables:
        records = [record for file in options.tables for record in read_records(file)]
    else:
        records = measured(options)
    rows = summarise(records)
    output.simulation_text(rows)
    if options.markdown:
        options.markdown.write_text(markdown(rows), encoding="utf-8")
    if options.png:
        draw_over_time(rows, options.png) if options.marks else draw(rows, options.png)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--budgets", default="4,8,16,32,64")
    parser.add_argument("--policies", default="even", help="even,random,suggested")
    parser.add_argument("--methods", default=",".join((*TABLE, "mlbseg")), help=", ".join(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=12, help="of the cohort, at most 70")
    parser.add_argument("--initial", choices=("base", "corrupted"), default="base")
    parser.add_argument("--share", type=float, default=0.4, help="of the slices, corrupted")
    parser.add_argument("--marks", help="minutes at which to measure each run: 1,4,8,30")
    parser.add_argument("--clock", choices=list(Clock), default=Clock.WALL, help="of the marks")
    parser.add_argument("--mark-ends", action="store_true", help="of each class in each case")
    parser.add_argument("--pieces", type=int, help="that each class has at most; one FILE for each")
    _shared.add_settings(parser)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--quick", action="store_true", help="phantoms and hardly any steps")
    parser.add_argument("--json", type=Path, default=Path("out/annotation_effort.json"))
    parser.add_argument("--png", type=Path, help="the curves as a picture")
    parser.add_argument("--markdown", type=Path, help="the table as a text file")
    parser.add_argument("--tables", type=Path, nargs="+", help="only show these files of records")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> list[Record]:
    """Run the simulation; returns all records of the file."""
    work = options.json.with_name(options.json.name + ".data")
    images, truth, held_out = phantoms(work) if options.quick else atria(options.cases)
    labels: dict[str, Path] = {}
    if options.initial == "corrupted":
        labels = dict(corrupted(images, truth, work / "corrupted", options.share))
    pieces = "" if options.pieces is None else f"-{options.pieces}"
    study = work / f"{options.initial}{pieces}.mlbseg"
    if not study.exists():
        classes = named("organ,lesion" if options.quick else "left atrium")
        make_study(study, images, labels, [replace(c, most_pieces=options.pieces) for c in classes])
    base = QUICK if options.quick else Config()
    plan = simulations.plan(
        options.budgets,
        policy=options.policies,
        method=options.methods,
        seeds=options.seeds,
        holdout=",".join(held_out),
        config=Config.from_dict(
            base.to_dict() | {"threads": options.threads} | _shared.settings(options)
        ),
        timing=simulations.timing(options.marks, options.clock) if options.marks else None,
        ends=options.mark_ends,
    )
    first = options.first_seed
    plan = replace(plan, seeds=tuple(range(first, first + options.seeds)))
    simulations.simulate(study, truth, plan, options.json)
    return read_records(options.json)


def atria(cases: int) -> tuple[list[Path], Path, list[str]]:
    """Images of cohort and held-out cases, the folder of the truth, names of the held-out cases."""
    names = json.loads((LA / "splits.json").read_text())["train"]
    held_out = names[-HELD_OUT:]
    cohort = names[: min(cases, len(names) - HELD_OUT)]
    images = [LA / "images" / f"{name}.nii.gz" for name in [*cohort, *held_out]]
    return images, LA / "labels", held_out


def phantoms(work: Path) -> tuple[list[Path], Path, list[str]]:
    """The same of three phantoms, one of them held out."""
    cohort = make_phantom_cohort(work / "phantoms", cases=3)
    images = sorted(cohort.images.iterdir())
    return images, cohort.truth, [images[-1].name.removesuffix(".nii.gz")]


def corrupted(
    images: Sequence[Path], truth: Path, folder: Path, share: float
) -> Iterator[tuple[str, Path]]:
    """Label files with mistakes; the name of the case is the seed, so they are reproducible."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        path = folder / image.name
        if not path.exists():
            file: Any = nib.load(truth / image.name)
            spacing, labels = file.header.get_zooms(), np.asarray(file.dataobj).astype(np.uint8)
            # Annotated along the axis with the thickest slices, the last of equal ones.
            axis = max(range(3), key=lambda a: (round(float(spacing[a]), 3), a))
            wrong = corrupt_volume(labels, axis, share=share, seed=number)
            nib.save(nib.Nifti1Image(wrong, file.affine), path)
        yield image.name.removesuffix(".nii.gz"), path


def make_study(
    path: Path, images: Sequence[Path], labels: dict[str, Path], classes: Sequence[LabelClass]
) -> None:
    """A study of the images, with initial labels where there are some."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Study.create(path, author="truth") as made:
        made.set_classes(classes)
        import_images(made, images, labels)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Dice over corrected slices: a line for each method, policy and class."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    places = figure.subplots(1, 2, sharey=True)
    for place, where in zip(places, ("exported", "held_out"), strict=True):
        curves: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["where"] == where:
                curves.setdefault((row["method"], row["policy"], row["class"]), []).append(row)
        for key, points in curves.items():
            points.sort(key=lambda row: row["budget"])
            spread = [row["dice"][1] or 0.0 for row in points]
            x, y = [row["budget"] for row in points], [row["dice"][0] for row in points]
            place.errorbar(x, y, spread, marker="o", capsize=3, label=", ".join(key))
        place.set(title=where.replace("_", " "), xlabel="corrected slices", xscale="log")
        ticks = sorted({row["budget"] for row in rows})
        place.set_xticks(ticks, [str(tick) for tick in ticks])
        place.minorticks_off()
        place.grid(alpha=0.3)
    places[0].set_ylabel("Dice, mean and SD over seeds")
    places[1].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def draw_over_time(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Dice over minutes: solid as exported, dashed with the largest piece alone."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    place = figure.subplots()
    curves: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row["mark"], float):
            key = (row["method"], row["policy"], row["budget"], row["class"], row["ends_marked"])
            curves.setdefault(key, []).append(row)
    for number, ((method, policy, budget, name, ends), points) in enumerate(curves.items()):
        points.sort(key=lambda row: row["mark"])
        x, color = [row["mark"] for row in points], f"C{number}"
        label = f"{method}, {policy}, {budget} slices, {name}{', ends marked' if ends else ''}"
        for metric, line in (("dice", "-"), ("dice_in_one_piece", "--")):
            y = [row[metric][0] for row in points]
            spread = [row[metric][1] or 0.0 for row in points]
            shown = label if metric == "dice" else None
            place.errorbar(x, y, spread, color=color, ls=line, marker="o", capsize=3, label=shown)
    ticks = sorted({row["mark"] for points in curves.values() for row in points})
    place.set(title="solid: as exported; dashed: in one piece", xlabel="minutes", xscale="log")
    place.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    place.minorticks_off()
    place.grid(alpha=0.3)
    place.set_ylabel("Dice, mean and SD over seeds")
    place.legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
