"""The same clean slices and the same minutes for what a user would pick instead.

    scripts/peers.sh                      # once: nnU-Net and scikit-learn, in build/peers
    python benchmarks/peers.py --json peers.json --threads 2

Twelve left atria (the first of `train` in la/splits.json) without labels, of which some slices are
corrected, spread evenly. Every arm sees the same images and the same clean slices, and computes on
the same number of threads of the CPU:

    mlbseg      the engine as the window runs it: one run, measured whenever a mark has passed
    supervised  its network on the clean slices alone: a training for each mark
    forest      a random forest on multi-scale features, as in pixel-classification tools
    nnunet      nnU-Net v2, 2-D, all other voxels ignored: a training for each mark

The clean slices lie on top of what each arm finds. `mlbseg` is measured as it is shown at the mark.
Of the others the model counts that is trained at the mark, with its learning rates scheduled until
then; its labels come later, see the column `labels after`. Their time includes everything from the
start of the program.

Records that are already in FILE are not measured again. An arm whose programs are not installed is
left out, and the reason is printed.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import _shared
import annotation_effort
import numpy as np
import torch
from _peer_data import Found, Row, Setting, export, scored, with_clean
from _peer_ours import of_ours

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, take
from napari_mlbseg.simulation.clocks import Clock
from napari_mlbseg.simulation.copies import remove
from napari_mlbseg.simulation.policies import Policy, proposals

CASES = 12
OURS, OTHERS = ("mlbseg", "supervised"), ("forest", "nnunet")
HERE = Path(__file__).parent
PROGRAMS = {"forest": "sklearn", "nnunet": "nnunetv2"}


def main() -> None:
    options = parse()
    asked = {"clock": str(options.clock), "minutes": options.minutes, "threads": options.threads}
    record = opened(options.json, asked | {"config": options.config.to_dict()})
    work = options.json.with_name(options.json.name + ".work")
    study, truth = cohort(work, quick=options.quick)
    arms, record["left_out"] = available(options.arms, options.python)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for slices in options.slices:
            setting = make_setting(study, truth, slices, seed, work, options)
            for arm in arms:
                of = {"arm": arm, "slices": slices, "seed": seed}
                if any(of.items() <= row.items() for row in record["rows"]):
                    continue
                record["rows"] += [of | row for row in carried_out(arm, setting, options.python)]
                write(options.json, record)
                show(record["rows"])
    write(options.json, record)
    show(record["rows"])
    for arm, reason in record["left_out"].items():
        print(f"left out: {arm}: {reason}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--slices", type=int, nargs="+", default=[4, 16, 64], help="clean slices")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 4, 8, 30], help="the marks")
    parser.add_argument("--clock", choices=list(Clock), default=Clock.WALL, help="of the minutes")
    parser.add_argument("--arms", nargs="+", default=[*OURS, *OTHERS], choices=[*OURS, *OTHERS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--python",
        type=Path,
        default=HERE.parent / "build" / "peers" / "bin" / "python",
        help="of the environment that scripts/peers.sh makes",
    )
    _shared.add_settings(parser)
    parser.add_argument("--quick", action="store_true", help="tiny, on phantoms; no nnU-Net")
    parser.add_argument("--json", type=Path, default=Path("out/peers.json"))
    options = parser.parse_args()
    base = annotation_effort.QUICK if options.quick else Config()
    own = {"threads": options.threads} | _shared.settings(options)
    options.config = Config.from_dict(base.to_dict() | own)
    if options.quick:
        quick = {"slices": [4], "minutes": [0.00001, 0.2], "seeds": 1}
        vars(options).update(quick, arms=[a for a in options.arms if a != "nnunet"])
    return options


# --- what the arms are given ----------------------------------------------------------------------


def cohort(work: Path, *, quick: bool) -> tuple[Path, Path]:
    """A study of the cohort without labels, and the folder of the truth."""
    if quick:
        images, truth, _ = annotation_effort.phantoms(work)
    else:
        images, truth, held_out = annotation_effort.atria(CASES)
        images = [path for path in images if path.name.removesuffix(".nii.gz") not in held_out]
    study = work / "cohort.mlbseg"
    if not study.exists():
        classes = named("organ,lesion" if quick else "left atrium")
        annotation_effort.make_study(study, images, {}, classes)
    return study, truth


def available(arms: Sequence[str], python: Path) -> tuple[list[str], dict[str, str]]:
    """The arms that can be carried out here, and why the others can not."""
    left_out = {}
    for arm in arms:
        if arm not in PROGRAMS:
            continue
        if not python.exists():
            left_out[arm] = f"{python} is not there; scripts/peers.sh makes it"
            continue
        command = [str(python), "-c", f"import {PROGRAMS[arm]}"]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode:
            left_out[arm] = tried.stderr.strip().splitlines()[-1]
    return [arm for arm in arms if arm not in left_out], left_out


def make_setting(
    path: Path, truth: Path, slices: int, seed: int, work: Path, options: argparse.Namespace
) -> Setting:
    """Choose the clean slices as a simulated annotator does."""
    with Study.open(path, writable=False) as study:
        known = Truth(truth, study)
        proposed = proposals(
            Policy.EVEN, study.cases, clean=[], count=slices, seed=seed, trained=None
        )
        missing = frozenset(one.value for one in study.classes)
        picks = take(proposed, slices, truth=known, missing=missing)
    return Setting(
        path,
        truth,
        tuple(picks),
        seed,
        work / f"{slices}-{seed}",
        tuple(options.minutes),
        str(options.clock),
        options.threads,
        options.config,
    )


def carried_out(arm: str, setting: Setting, python: Path) -> list[Row]:
    """The rows of an arm: each mark and class."""
    folder = setting.folder / arm
    if arm in OURS:
        # In a process of its own, so that each starts alike.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows = pool.apply(of_ours, (arm, setting, folder))
            pool.close()
            pool.join()
    else:
        rows = of_another(arm, setting, folder, python)
    remove([folder])
    return rows


# --- the others -----------------------------------------------------------------------------------


def of_another(arm: str, setting: Setting, folder: Path, python: Path) -> list[Row]:
    """Run a program for each mark; the forest once: it learns until it is done."""
    export(setting, folder)
    marks = setting.marks_min
    asked = {mark: marks[-1] if arm == "forest" else mark for mark in marks}
    ran = {last: started(arm, setting, folder, python, last) for last in set(asked.values())}
    rows = []
    for mark in marks:
        labels, about = ran[asked[mark]]
        if arm == "forest" and about["trained_min"] > mark:
            labels = {}
        rows += scored(setting, with_clean(setting, labels), {"mark_min": mark} | about)
    return rows


def started(
    arm: str, setting: Setting, folder: Path, python: Path, mark: float
) -> tuple[Found, Row]:
    """Run a program until a mark; the labels (slices first) and what it says of itself."""
    command = [python, HERE / f"_peer_{arm}.py", folder, "--mark", f"{mark:g}"]
    command += ["--threads", str(setting.threads), "--clock", setting.clock]
    command += ["--seed", str(setting.seed), "--began", repr(time.time())]
    threads = {f"{name}_NUM_THREADS": str(setting.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    with (folder / f"{mark:g}.log").open("w") as log:
        done = subprocess.run(
            [str(part) for part in command],
            env=os.environ | threads,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        told = (folder / f"{mark:g}.log").read_text()
        sys.exit(f"{arm} failed:\n{told[-3000:]}")
    about: Row = json.loads((folder / f"{mark:g}.json").read_text())
    with np.load(folder / f"{mark:g}.npz") as kept:
        return {name: kept[name] for name in kept.files}, about


# --- results --------------------------------------------------------------------------------------


def show(rows: Sequence[Row]) -> None:
    """A table of means over the seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        of = (row["slices"], row["mark_min"], row["arm"], row["class"])
        groups.setdefault(of, []).append(row)

    def mean(group: Sequence[Row], name: str) -> float | None:
        known = [row[name] for row in group if row.get(name) is not None]
        return fmean(known) if known else None

    table = [
        dict(zip(("slices", "minutes", "arm", "class"), of, strict=True))
        | {"Dice": mean(group, "dice"), "in one piece": mean(group, "dice_in_one_piece")}
        | {"surface Dice 1 mm": mean(group, "surface_dice_1mm"), "told": mean(group, "told")}
        | {"steps": mean(group, "steps"), "labels after min": mean(group, "labels_min")}
        | {"seeds": len(group)}
        for of, group in sorted(groups.items())
    ]
    _shared.show("Labels of the cohort with the clean slices on top", table)


def opened(path: Path, asked: Row) -> Row:
    """What an earlier run with the same settings has measured, or nothing yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = _shared.about(torch=torch.__version__) | asked
    if not path.exists():
        return {"about": about, "left_out": {}, "rows": []}
    found: Row = json.loads(path.read_text(encoding="utf-8"))
    if {name: found["about"][name] for name in asked} != asked:
        sys.exit(f"{path} has records with other settings; name another file.")
    return found


def write(path: Path, record: Row) -> None:
    """Replace the file."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
