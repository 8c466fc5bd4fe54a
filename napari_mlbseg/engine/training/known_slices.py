"""The clean slices as a run knows them: each revision is read once."""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.engine.steps.imported_labels import disagreement
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord
from napari_mlbseg.project.records.values import values_in
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class KnownSlice:
    """One revision of a clean slice, which never changes.

    Attributes
    ----------
    labels
        Class indices.
    shown
        The label values that it shows, without the background.
    disagreement
        How far the imported label is from it (NaN: the imported label shows nothing); None if its
        case came without labels.
    """

    labels: Int[Tensor, "y x"]
    shown: frozenset[int]
    disagreement: float | None


class KnownSlices:
    """Reads clean slices, and keeps them for as long as they are clean.

    `check` is called before a slice is read; if it raises, slices read so far are kept.
    """

    def __init__(self, study: Study, source: Source, check: Check = never) -> None:
        self._study, self._source, self._check = study, source, check
        self._imported = {case.id for case in study.cases if case.labels_path is not None}
        self._known: dict[int, KnownSlice] = {}

    def of(self, records: Iterable[SliceRecord]) -> dict[SliceKey, KnownSlice]:
        """Return the slices of these revisions, in their order; forget all others."""
        revisions = {record.key: record.revision for record in records}
        for key, revision in revisions.items():
            if revision not in self._known:
                self._check()
                self._known[revision] = self._read(key, revision)
        self._known = {revision: self._known[revision] for revision in revisions.values()}
        return {key: self._known[revision] for key, revision in revisions.items()}

    def _read(self, key: SliceKey, revision: int) -> KnownSlice:
        mask = self._study.slices.revision_mask(revision)
        labels = self._source.classes.indices(mask, key)
        differs = None
        if key.case_id in self._imported:
            differs = float(disagreement(self._source.initial_labels(key), labels))
        return KnownSlice(labels, values_in(mask) - {0}, differs)
