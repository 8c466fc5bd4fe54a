"""Pictures for a page, as PNG files within it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.forecast import BESIDE_DICE, VALIDATION_DICE
from napari_mlbseg.project.records.cases import Case, LabelClass

Curve = Sequence[tuple[int, float]]
"""Pairs of step and value."""

_OPACITY: Final = 0.45
_INCH: Final = 100


def shown(
    image: NDArray[Any], labels: NDArray[np.uint8] | None, case: Case, classes: Sequence[LabelClass]
) -> NDArray[np.uint8]:
    """A slice in the case's own grey levels (rows, columns, red green blue), labels over it."""
    low, high = case.intensity.low, case.intensity.high
    grey = np.clip((np.nan_to_num(image.astype(np.float64)) - low) / ((high - low) or 1.0), 0, 1)
    colors = np.repeat(255 * grey[..., None], 3, axis=-1)
    if labels is not None:
        for one in classes:
            inside = labels == one.value
            colors[inside] += _OPACITY * (np.array(one.color) - colors[inside])
    return np.asarray(colors.round(), np.uint8)


def side_by_side(pictures: Sequence[NDArray[np.uint8]], *, upside_down: bool) -> str:
    """Several pictures of one size in a row, as a data URI; row 0 is at the bottom if asked."""
    gap = np.full((pictures[0].shape[0], 4, 3), 255, np.uint8)
    row = np.concatenate([part for one in pictures for part in (one, gap)][:-1], axis=1)
    from matplotlib.image import imsave

    written = BytesIO()
    imsave(written, row[::-1] if upside_down else row, format="png")
    return _uri(written)


def curves_uri(curves: Mapping[str, Curve]) -> str:
    """The curves of a run as a data URI: losses above, Dice on validation slices below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=_INCH, layout="constrained")
    losses, dice = figure.subplots(2, 1, sharex=True)
    for name, points in curves.items():
        steps, values = [step for step, _ in points], [value for _, value in points]
        if name in BESIDE_DICE:
            continue
        if name == VALIDATION_DICE:
            dice.plot(steps, values, marker="o", markersize=3, color="#1b7f5a")
        else:
            losses.plot(steps, values, linewidth=1, label=name.replace("_", " ").replace("$", ""))
    if losses.lines:
        losses.legend(fontsize="small", frameon=False)
    losses.set_ylabel("loss")
    dice.set_ylabel("Dice")
    dice.set_ylim(0, 1)
    dice.set_xlabel("step")
    written = BytesIO()
    figure.savefig(written, format="png")
    return _uri(written)


def _uri(png: BytesIO) -> str:
    return "data:image/png;base64," + b64encode(png.getvalue()).decode("ascii")
