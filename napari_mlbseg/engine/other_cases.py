"""What the network of a study makes of cases that are not in it."""

import math
from collections.abc import Iterator

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data import Grid, SliceSource
from napari_mlbseg.engine.publisher import Publisher, blocks_of
from napari_mlbseg.engine.training import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.study import Study


def predict_other_cases(trained: Study, config: Config, others: Study) -> Iterator[tuple[int, int]]:
    """Write predictions of all cases of another study; yields slices done and all slices.

    The network, its resolution and its views are those of the last checkpoint of `trained`; the
    grid grows where a case needs more room.
    """
    trainer = Trainer(trained, config)
    if not trainer.restore():
        raise UserError(f"{trained.path} has no network yet. Run the training first.")
    source = SliceSource(
        others,
        _roomy(trainer.source.grid, others),
        context=config.context_slices,
        device=trainer.device,
    )
    publisher = Publisher(others, source, trainer.model, views=trainer.prediction_views, weigh=None)
    blocks = [block for case in others.cases for block in blocks_of(case)]
    total, done = sum(block.stop - block.start for block in blocks), 0
    for case in others.cases:
        others.create_array(case.id, ArrayName.PREDICTION)
    for block in blocks:
        publisher.publish(
            block, parameters=trainer.parameters, direction=None, step=trainer.state.total
        )
        done += block.stop - block.start
        yield done, total


def _roomy(grid: Grid, study: Study) -> Grid:
    """The grid, enlarged in steps of 16 pixels until every slice of the study fits."""
    widest = max(
        spacing * count
        for case in study.cases
        for axis, (spacing, count) in enumerate(
            zip(case.geometry.spacing_mm, case.geometry.shape, strict=True)
        )
        if axis != case.axis
    )
    needed = 16 * math.ceil(widest / grid.resolution_mm / 16 - 1e-6)
    return Grid(max(grid.size, needed), grid.resolution_mm)
