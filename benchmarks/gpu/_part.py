"""Shared by the parts of the report: where the numbers go, and the device."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the other benchmarks


def options(about: str | None) -> argparse.Namespace:
    """The options that `report.py` hands to a part."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder with la/ in it")
    parser.add_argument("--json", type=Path, required=True, help="written after every row")
    parser.add_argument("--seconds", type=float, default=60.0, help="begin nothing after this long")
    parser.add_argument("--tiny", action="store_true", help="hardly any work, to try it out")
    return parser.parse_args()


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write all results so far, so that a part that is cut off leaves them."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
