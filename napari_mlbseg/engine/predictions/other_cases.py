"""What the network of a study makes of cases that are not in it."""

from collections.abc import Iterator

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study


def predict_other_cases(trained: Study, config: Config, others: Study) -> Iterator[tuple[int, int]]:
    """Write predictions of all cases of another study; yields slices done and all slices.

    The network, its resolution and its views are those of the last checkpoint of `trained`; the
    grid grows where a case needs more room.
    """
    trainer = Trainer(trained, config)
    if not trainer.restore():
        raise UserError(f"{trained.path} has no network yet. Run the training first.")
    source = trainer.source.elsewhere(others)
    publisher = Publisher(others, source, trainer.model, views=trainer.prediction_views, weigh=None)
    spans = [span for case in others.cases for span in publisher.spans_of(case)]
    total, done = sum(len(span.keys) for span in spans), 0
    for case in others.cases:
        others.create_array(case.id, ArrayName.PREDICTION)
    for span in spans:
        publisher.publish(span, parameters=trainer.shown, direction=None, step=trainer.state.total)
        done += len(span.keys)
        yield done, total
