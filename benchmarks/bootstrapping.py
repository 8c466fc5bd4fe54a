"""Eight left atria, sixteen corrected slices: how far the loop improves the base model's labels.

    python benchmarks/bootstrapping.py --json docs/bootstrapping.json

For each seed a study is made from eight volumes of the 2018 Left Atrium challenge (the folder
`la` of MLBSEG_DATA, by default ../shared/data). The true masks of two slices a volume, spread over
the heights, become clean; the base model learns from them and labels everything else; then the
loop runs. Dice is measured over whole volumes against the true masks, on the final checkpoint and
without any filtering of components.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _shared
import nibabel as nib
import numpy as np
import torch
from _shared import LA
from monai.metrics import compute_dice
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Failed, Inbox, RunStarted
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

WHAT = (ExportKind.INITIAL, ExportKind.PREDICTION, ExportKind.LABELS)


def main() -> None:
    options = parse()
    cases = json.loads((LA / "splits.json").read_text())[options.cases]
    config = Config.from_dict(Config().to_dict() | _shared.settings(options))
    records = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            records += run_seed(Path(folder), cases, options.slices, replace(config, seed=seed))
    show(records, Console())
    if options.json:
        about = _shared.about(torch=torch.__version__) | {"config": config.to_dict()}
        options.json.write_text(json.dumps({"about": about, "records": records}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", default="labelled_8", help="a list of splits.json")
    parser.add_argument("--slices", type=int, default=16, help="corrected slices over all cases")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    _shared.add_settings(parser)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def run_seed(
    folder: Path, cases: Sequence[str], slices: int, config: Config
) -> list[dict[str, object]]:
    """One study from import to export; one record for each case and kind of labels."""
    began = time.perf_counter()
    with Study.create(folder / "la.mlbseg", author="truth") as study:
        study.set_classes([LabelClass(1, "left atrium", (230, 159, 0))])
        import_images(study, [LA / "images" / f"{name}.nii.gz" for name in cases], {})
        for key in spread(study, slices, seed=config.seed):
            truth = read_labels(LA / "labels" / f"{key.case_id}.nii.gz")[0].voxels
            mask = np.ascontiguousarray(np.take(truth, key.index, key.axis)).astype(np.uint8)
            study.save_slice(key, mask, SliceState.CLEAN)
        device = ""
        for event in Bootstrapper(study, config).events(Inbox()):
            if isinstance(event, RunStarted):
                device = event.device
            if isinstance(event, Failed):
                raise SystemExit(event.message + event.details)
        records: list[dict[str, object]] = []
        for kind in WHAT:
            for path in export_study(study, folder / kind.value, kind):
                name = path.name.removesuffix(".nii.gz")
                truth_file = LA / "labels" / path.name
                records.append(
                    {
                        "seed": config.seed,
                        "case": name,
                        "what": kind.value,
                        "dice": dice(voxels(path), voxels(truth_file)),
                        "clean_slices": slices,
                        "device": device,
                    }
                )
    seconds = round(time.perf_counter() - began, 1)
    return [record | {"seconds": seconds} for record in records]


def spread(study: Study, count: int, *, seed: int) -> list[SliceKey]:
    """Slices at `count` heights between 15 and 85 percent, dealt to the cases in random order."""
    generator = np.random.default_rng(seed)
    heights = generator.permutation(np.linspace(0.15, 0.85, count))
    keys = []
    for number, height in enumerate(heights):
        case = study.cases[number % len(study.cases)]
        index = round(float(height) * (case.geometry.shape[case.axis] - 1))
        keys.append(SliceKey(case.id, case.axis, index))
    return keys


def voxels(path: Path) -> NDArray[np.bool_]:
    """Foreground of a NIfTI file, as it lies in the file."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj) > 0


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice of two masks; 0 where nothing was found."""
    ours, other = (torch.from_numpy(mask)[None, None].float() for mask in (found, truth))
    return float(compute_dice(ours, other, ignore_empty=False)[0, 0])


def show(records: Sequence[dict[str, object]], console: Console) -> None:
    """Mean Dice over the cases, for each seed and over the seeds."""
    seeds = sorted({r["seed"] for r in records}, key=str)
    table = Table("labels", *(f"seed {s}" for s in seeds), "mean", "spread (SD)")
    for kind in WHAT:
        means = [
            statistics.mean(
                float(str(r["dice"])) for r in records if (r["what"], r["seed"]) == (kind.value, s)
            )
            for s in seeds
        ]
        spread_of = statistics.stdev(means) if len(means) > 1 else 0.0
        cells = [f"{m:.4f}" for m in (*means, statistics.mean(means), spread_of)]
        table.add_row(kind.value, *cells)
    console.print(table)
    seconds = sorted({(str(r["seed"]), str(r["seconds"]), str(r["device"])) for r in records})
    console.print("; ".join(f"seed {s}: {t} s on {d}" for s, t, d in seconds))


if __name__ == "__main__":
    main()
