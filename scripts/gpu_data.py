"""Packs left atria for scripts/gpu_report.sh into FOLDER/la, up to a number of megabytes.

    python scripts/gpu_data.py FOLDER [--megabytes 39]

The twelve scans of the cohort and the ten held-out ones come first, then as many others as fit.
The scans are those of the 2018 Left Atrium Segmentation Challenge, in MLBSEG_DATA or
../shared/data, which are not part of the repository.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

DATA = Path(os.environ.get("MLBSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))
COHORT, HELD_OUT = 12, 10


def main() -> None:
    """Copy as many scans as fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=39.0)
    options = parser.parse_args()
    source, target = DATA / "la", options.folder / "la"
    if not source.is_dir():
        parser.error(f"there are no scans at {source}; set MLBSEG_DATA to the folder with la/")
    names = json.loads((source / "splits.json").read_text(encoding="utf-8"))["train"]
    first = names[:COHORT] + names[-HELD_OUT:]
    left, packed = options.megabytes * 1e6, 0
    for kind in ("images", "labels"):
        (target / kind).mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "splits.json", target)
    for name in [*first, *(n for n in names if n not in first)]:
        files = [Path(kind) / f"{name}.nii.gz" for kind in ("images", "labels")]
        left -= sum((source / file).stat().st_size for file in files)
        if left < 0:
            break
        for file in files:
            shutil.copy(source / file, target / file)
        packed += 1
    print(f"{packed} scans in {target}")


if __name__ == "__main__":
    main()
