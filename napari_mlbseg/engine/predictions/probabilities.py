"""Export of class probabilities: predicted again by the trained network, slice by slice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_mlbseg.engine.data.source import Source, Span, as_planes
from napari_mlbseg.engine.predictions.publisher import SLICES_WRITTEN_AT_ONCE
from napari_mlbseg.engine.training.trained_network import TrainedNetwork, read_trained_network
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.computed import Block, Computed
from napari_mlbseg.project.exporting.export import OutFormat, export_probabilities
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study


def export_predicted_probabilities(
    study: Study,
    folder: Path,
    *,
    case_id: str | None = None,
    form: OutFormat = OutFormat.AUTO,
    progress: Progress | None = None,
) -> list[Path]:
    """Predict one case, or all, with the latest checkpoint's network; write the probabilities.

    `progress` counts slices. The study is only read.

    Raises
    ------
    UserError
        If there is no network that fits the study, and as
        `napari_mlbseg.project.exporting.export.export_case` does.
    """
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    cases = study.cases if case_id is None else (study.case(case_id),)
    network = read_trained_network(study)
    source = network.source_for(study)
    total, done = sum(case.geometry.shape[case.axis] for case in cases), 0

    def blocks(case: Case) -> Iterator[Block]:
        nonlocal done
        for start, found in case_probabilities(network, source, case):
            if progress is not None:
                progress(f"Predicting {case.name}", done, total)
            yield start, found
            done += len(found)

    computed = Computed(blocks, network.maker)
    written = export_probabilities(study, folder, computed, case_id=case_id, form=form)
    if progress is not None:
        progress("Exported", total, total)
    return written


def case_probabilities(network: TrainedNetwork, source: Source, case: Case) -> Iterator[Block]:
    """Yield the probabilities of all classes but the background, a few slices at a time, in order.

    Slices are grouped into the same spans as when predictions are published, so that the most
    probable class is the published one.
    """
    count = case.geometry.shape[case.axis]
    for span in Span(case, case.axis, 0, count).parts(source.span_size(case)):
        scene = source.scene(span)
        seen = as_planes(network.probabilities(scene.images, tile=source.tile))
        for part in span.parts(SLICES_WRITTEN_AT_ONCE):
            found = scene.to_file(seen, part)[:, 1:].cpu().numpy()
            if not np.isfinite(found).all():
                raise UserError(
                    f"The network's probabilities for {case.name} are not finite numbers. Start "
                    "the training again, with a smaller learning rate or afresh, then export."
                )
            yield part.start, np.clip(found, 0, 1)  # rounding may exceed the range a little
