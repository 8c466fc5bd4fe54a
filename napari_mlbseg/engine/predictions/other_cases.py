"""Predictions by the network of one study for the cases of another."""

from collections.abc import Iterator

from napari_mlbseg.engine.data.source import spans_of
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.engine.training.untrained import is_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study


def predict_other_cases(trained: Study, others: Study) -> Iterator[tuple[int, int]]:
    """Predict all cases of another study; yields the numbers of slices done and of all slices.

    The network, its resolution and its views come from the latest checkpoint of `trained`; the
    grid grows if a case needs more room.
    """
    if not is_trained(trained):
        raise UserError(f"{trained.path} has no trained network yet. Run the training first.")
    network = read_trained_network(trained)
    source = network.source_for(others)
    publisher = Publisher(others, source, network.model, views=network.views, weigh=None)
    spans = [span for case in others.cases for span in spans_of(source, case)]
    total, done = sum(len(span.keys) for span in spans), 0
    step, parameters = network.checkpoint.steps, network.parameters
    for case in others.cases:
        others.arrays.create(case.id, ArrayName.PREDICTION)
    for span in spans:
        publisher.publish(span, parameters=parameters, direction=None, step=step)
        done += len(span.keys)
        yield done, total
