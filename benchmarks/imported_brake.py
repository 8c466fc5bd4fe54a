"""Imported labels that are too large, and few corrected slices: are the labels ever made worse?

    python benchmarks/imported_brake.py --json docs/imported_brake.json

Six left atria (the 59th to the 64th of `train` in la/splits.json, which no other benchmark looks
at) come with labels that are the true ones grown by 4 pixels in every slice. Two slices a case are
corrected, all of them between the heights 27 and 66 of 88; beyond these no slice is corrected, and
the structure ends there. The run has a limited time, and the exported labels are compared with the
imported ones: everywhere, between the lowest and the highest corrected slice of the cohort
(`inside`), and beyond them (`outside`).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import _shared
import nibabel as nib
import numpy as np
import torch
from _shared import LA
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    Event,
    Failed,
    Inbox,
    RunStarted,
    Stage,
    StageStarted,
    StepDone,
    ValidationScored,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort

FIRST, CASES = 58, 6
GROWN_PX = 4
LOWEST, HIGHEST = 27 / 88, 66 / 88
"""Heights between which slices are corrected, as shares of a case."""
SLICES_A_CASE = 2
NOISE = 0.003
"""A difference in Dice too small to see: exported labels may be worse by this much."""
REGIONS = ("all", "inside", "outside")

Labels = NDArray[np.uint8]
Row = dict[str, Any]


def main() -> None:
    options = parse()
    base = Config(minutes=options.minutes, dimensions="2.5d", device=options.device)
    if options.quick:
        base = Config(minutes=0.1, base_steps=3, steps=2, slice_size=32, device="cpu")
    threads = {"threads": options.threads, "seed": options.seed}
    config = Config.from_dict(base.to_dict() | threads | _shared.settings(options))
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), config, quick=options.quick)
    _shared.show(f"{config.minutes} minutes, {config.dimensions}", found["cases"])
    summary = found["summary"]
    _shared.show("means over the cases", [summary])
    print("passed" if summary["passed"] else "FAILED: exported labels are worse than imported ones")
    if options.json:
        about = _shared.about(torch=torch.__version__) | {"config": config.to_dict()}
        options.json.write_text(json.dumps({"about": about} | found, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    _shared.add_run(parser)
    return parser.parse_args()


def measured(folder: Path, config: Config, *, quick: bool) -> Row:
    """One study from import to export: Dice of each case before and after, and the means."""
    images, truth_folder = phantoms(folder) if quick else atria()
    with Study.create(folder / "grown.mlbseg", author="truth") as study:
        study.set_classes(named("organ, lesion" if quick else "left atrium"))
        import_images(study, images, grown(images, truth_folder, folder / "grown"))
        truth = {case.id: labels_of(truth_folder, case.id) for case in study.cases}
        for key in corrected(study):
            mask = np.ascontiguousarray(np.take(truth[key.case_id], key.index, key.axis))
            study.save_slice(key, mask, SliceState.CLEAN)
        imported = {case.id: study.labels.machine(case.id) for case in study.cases}
        ran = carried_out(Bootstrapper(study, config).events(Inbox()))
        export_study(study, folder / "out", ExportKind.LABELS)
        heights = relative_heights(study)
        rows = [
            {"case": case.id}
            | compared(
                truth[case.id],
                imported[case.id],
                labels_of(folder / "out", case.id),
                regions_of(case.geometry.shape[case.axis], heights),
                case.axis,
            )
            for case in study.cases
        ]
    return {"summary": means(rows) | ran, "cases": rows}


def atria() -> tuple[list[Path], Path]:
    """The images, and the folder of the truth."""
    names = json.loads((LA / "splits.json").read_text())["train"][FIRST : FIRST + CASES]
    return [LA / "images" / f"{name}.nii.gz" for name in names], LA / "labels"


def phantoms(folder: Path) -> tuple[list[Path], Path]:
    """The same of two phantoms."""
    cohort = make_phantom_cohort(folder / "phantoms", cases=2)
    return sorted(cohort.images.iterdir()), cohort.truth


def grown(images: Sequence[Path], truth: Path, folder: Path) -> dict[str, Path]:
    """Label files in which every class has grown in every slice, by the name of the case."""
    folder.mkdir(parents=True)
    paths = {}
    for image in images:
        file: Any = nib.load(truth / image.name)
        labels, spacing = np.asarray(file.dataobj).astype(np.uint8), file.header.get_zooms()
        # Annotated along the axis with the thickest slices, the last of equal ones.
        axis = max(range(3), key=lambda a: (round(float(spacing[a]), 3), a))
        path = folder / image.name
        nib.save(nib.Nifti1Image(grown_by(labels, axis, GROWN_PX), file.affine), path)
        paths[image.name.removesuffix(".nii.gz")] = path
    return paths


def grown_by(labels: Labels, axis: int, pixels: int) -> Labels:
    """Every class dilated by a number of pixels within each slice; the larger value wins."""
    disc = np.hypot(*np.mgrid[-pixels : pixels + 1, -pixels : pixels + 1]) <= pixels
    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        found[ndimage.binary_dilation(labels == value, np.expand_dims(disc, axis))] = value
    return found


def corrected(study: Study) -> list[SliceKey]:
    """Slices at equal steps between the two heights; each case has a low and a high one."""
    count = len(study.cases)
    heights = np.linspace(LOWEST, HIGHEST, SLICES_A_CASE * count)
    keys = []
    for number, height in enumerate(heights):
        case = study.cases[number % count]
        index = round(float(height) * case.geometry.shape[case.axis])
        keys.append(SliceKey(case.id, case.axis, index))
    return keys


def carried_out(events: Iterable[Event]) -> Row:
    """Follow a run to its end; returns how long it and its stages took, and its validation Dice."""
    began = time.perf_counter()
    stage, since, in_round = Stage.LOADING, began, 0
    stages_min, steps = dict[str, float](), dict[str, int]()
    ran: Row = {"told": None}

    def ended() -> None:
        took_min = (time.perf_counter() - since) / 60
        stages_min[stage.value] = stages_min.get(stage.value, 0.0) + took_min
        steps["steps " + stage.value] = steps.get("steps " + stage.value, 0) + in_round

    for event in events:
        match event:
            case Failed():
                raise SystemExit(event.message + event.details)
            case RunStarted():
                ran |= {"network": event.network, "validation": event.validation_slices}
            case ValidationScored():
                ran["told"] = event.dice
            case StepDone():
                in_round = event.step
            case StageStarted():
                ended()
                stage, since, in_round = event.stage, time.perf_counter(), 0
            case _:
                pass
    ended()
    minutes = (time.perf_counter() - began) / 60
    return ran | steps | {"stages_min": stages_min, "minutes": minutes}


def relative_heights(study: Study) -> tuple[float, float]:
    """The lowest and the highest corrected slice, from 0 to 1."""
    shares = [
        key.index / (study.case(key.case_id).geometry.shape[key.axis] - 1)
        for key in study.slices.clean()
    ]
    return min(shares), max(shares)


def regions_of(count: int, heights: tuple[float, float]) -> dict[str, NDArray[np.bool_]]:
    """Which slices of a case belong to which region."""
    share = np.arange(count) / (count - 1)
    inside = (share >= heights[0] - 1e-9) & (share <= heights[1] + 1e-9)
    return {"all": np.ones(count, bool), "inside": inside, "outside": ~inside}


def compared(
    truth: Labels, imported: Labels, exported: Labels, regions: dict[str, Any], axis: int
) -> Row:
    """Dice of the imported and of the exported labels in each region."""
    row: Row = {}
    for name, chosen in regions.items():
        those = [np.compress(chosen, labels, axis) for labels in (truth, imported, exported)]
        row[f"imported {name}"] = dice(those[0], those[1])
        row[f"exported {name}"] = dice(those[0], those[2])
    return row


def means(rows: Sequence[Row]) -> Row:
    """Means over the cases; passed if no case got worse, overall and in each region."""
    found = {name: statistics.mean(row[name] for row in rows) for name in rows[0] if name != "case"}
    worst = min(row["exported all"] - row["imported all"] for row in rows)
    regions = [found[f"exported {name}"] - found[f"imported {name}"] for name in REGIONS]
    return found | {"worst case": worst, "passed": min(worst, *regions) >= -NOISE}


def labels_of(folder: Path, case_id: str) -> Labels:
    """Labels of a case (z y x)."""
    return read_labels(folder / f"{case_id}.nii.gz")[0].voxels.astype(np.uint8)


def dice(truth: Labels, found: Labels) -> float:
    """Mean over the classes that the truth shows; 0 for a class that is missing in the labels."""
    each = []
    for value in np.unique(truth[truth > 0]):
        ours, theirs = found == value, truth == value
        each.append(2 * int((ours & theirs).sum()) / int(ours.sum() + theirs.sum()))
    return statistics.mean(each) if each else float(not found.any())


if __name__ == "__main__":
    main()
