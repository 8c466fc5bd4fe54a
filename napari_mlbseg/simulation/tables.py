"""Summaries of records as cells of text, for a terminal or a file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

METRICS: Final = {
    "dice": ("Dice", 3),
    "dice_in_one_piece": ("in one piece", 3),
    "surface_dice_1mm": ("surface Dice 1 mm", 3),
    "hd95_mm": ("HD95 mm", 1),
    "assd_mm": ("ASSD mm", 2),
}
EFFORT: Final = {"contour_mm": ("contour drawn mm", 0), "clicks": ("clicks", 0)}
TOLD: Final = {"estimated_dice": ("told", 3), "published_min": ("first shown after min", 2)}


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Heads, and a list of cells for each row.

    Rows of timed runs have columns of their own: the mark, the timing, what the run told of itself.
    """
    timed = any(row["mark"] is not None for row in rows)
    ends = any(row["ends_marked"] for row in rows)
    plain = ["method", "policy", "budget", "where", "class"]
    plain += ["mark", "limit"] if timed else []
    plain += ["ends_marked"] if ends else []
    means = METRICS | (TOLD if timed else {})
    means |= EFFORT if any(row["contour_mm"] is not None for row in rows) else {}
    heads = [name.replace("_", " ") for name in plain] + [head for head, _ in means.values()]
    cells = [
        [_plain(row[name]) for name in plain]
        + [_mean(row[name], digits) for name, (_, digits) in means.items()]
        + [str(row["empty"]), f"{row['seconds']:.0f}", str(row["seeds"])]
        for row in rows
    ]
    return [*heads, "empty", "s", "seeds"], cells


def markdown(rows: Sequence[Row]) -> str:
    """The table for a text file."""
    heads, cells = table(rows)
    lines = [heads, ["---"] * len(heads), *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _mean(found: tuple[float, float | None] | None, digits: int) -> str:
    """Mean and standard deviation; empty where nothing is known."""
    if found is None:
        return ""
    mean, spread = found
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
