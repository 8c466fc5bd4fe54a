"""The origin of an exported file: a JSON document beside it, and a sentence inside DICOM.

Names of files and of cases are the user's own; nothing is taken from the headers of images.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from napari_mlbseg.formats.dicom_out.about import SOFTWARE
from napari_mlbseg.formats.registry import stem_of
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.runs import RunRecord
from napari_mlbseg.project.exporting.chosen import Chosen
from napari_mlbseg.project.exporting.hashes import sha256_of, source_hash
from napari_mlbseg.project.exporting.kinds import ExportKind
from napari_mlbseg.project.folder.lock import current_user
from napari_mlbseg.project.labels import along
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.channels import Channel
from napari_mlbseg.project.records.coverage import looked_at
from napari_mlbseg.project.records.extents import Extent, ExtentRecord, in_file
from napari_mlbseg.project.records.reviews import Review
from napari_mlbseg.project.records.slices import NEVER_LOOKED_AT, SliceRecord
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied

_MAPS: Final = (ExportKind.WEIGHTS, ExportKind.TRUST, ExportKind.PROBABILITIES)
_CLOCKS_DIFFER_S: Final = 1.0
"""How far the time of a file may lag behind the clock that times the runs."""


def provenance_path(path: Path) -> Path:
    """The provenance file of an exported file: ``a.provenance.json`` for ``a.nii.gz``."""
    stem = path.stem if path.suffix == ".csv" else stem_of(path)
    return path.with_name(f"{stem}.provenance.json")


@dataclass(frozen=True)
class Maker:
    """What made the predictions: the hash of a checkpoint (empty without one), and its run."""

    checkpoint_sha256: str
    run: RunRecord | None


NOBODY: Final = Maker("", None)


def maker_of(study: Study) -> Maker:
    """The newest checkpoint and its run; without a checkpoint the newest run."""
    path, run = study.checkpoint_path, run_behind(study)
    return Maker(sha256_of(path) if path.is_file() else "", run)


def run_behind(study: Study) -> RunRecord | None:
    """The newest run that began before the newest checkpoint was written, if there is one."""
    runs, path = study.runs.all(), study.checkpoint_path
    if path.is_file():
        written = path.stat().st_mtime + _CLOCKS_DIFFER_S
        runs = tuple(run for run in runs if run.started_at.timestamp() <= written)
    return runs[-1] if runs else None


def write_provenance(
    path: Path,
    file: Path,
    study: Study,
    cases: Sequence[Case],
    kind: ExportKind,
    *,
    maker: Maker | None = None,
    label: LabelClass | None = None,
    tidied: Mapping[str, Tidied] = MappingProxyType({}),
    chosen: Chosen | None = None,
) -> None:
    """Write the provenance of a complete exported file to `path`.

    `maker` is what made the predictions, by default the study's newest checkpoint; `label` is the
    class that the file is about, if it is about one; `tidied` is what was tidied, by case; `chosen`
    are the slices that the file holds, if not all.
    """
    told = [_case(study, case, kind, maker, tidied.get(case.id)) for case in cases]
    document: dict[str, Any] = {
        "file": file.name,
        "sha256": sha256_of(file),
        "what": kind.value,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "exported_by": current_user(),
        "software": {"name": SOFTWARE, "version": software_version()},
        "study": study.name,
        "only_approved_teach": study.reviews.only_approved,
        "classes": [
            {
                "value": c.value,
                "name": c.name,
                "most_pieces": c.most_pieces,
                "no_holes": c.no_holes,
            }
            for c in study.classes
        ],
    }
    if label is not None:
        document["class"] = {"value": label.value, "name": label.name}
    if chosen is not None:
        document["only_slices"] = _chosen(cases[0], chosen)
    document |= told[0] if kind is not ExportKind.VOLUMES else {"cases": told}
    text = json.dumps(_without_nan(document), indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    """The same document with null for numbers that JSON cannot express."""
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def software_version() -> str:
    """Version of this software."""
    return version(SOFTWARE)


def is_predicted(study: Study, case: Case, kind: ExportKind) -> bool:
    """Whether a model contributed to the exported file."""
    if kind in (ExportKind.LABELS, ExportKind.VOLUMES):
        return study.arrays.has(case.id, ArrayName.PREDICTION)
    if kind is ExportKind.ACCEPTED:
        return False
    return kind is not ExportKind.INITIAL or case.labels_path is None


def unseen_slices(study: Study, case: Case) -> list[int]:
    """The slices along a case's axis that nobody looked at and that have no clean slice near."""
    certified = study.extents.certified()
    near = looked_at(case, study.cases, study.slices.clean(), certified=certified)
    human = {r.key.index for r in study.slices.human(case.id) if r.key.axis == case.axis}
    return [i for i in np.flatnonzero(~near).tolist() if i not in human]


def _kept_slices(study: Study, case: Case) -> Iterator[int]:
    """Slices along the case's axis that show something and are still as they were imported."""
    changed = {r.key.index for r in study.slices.human(case.id) if r.key.axis == case.axis}
    shown = study.labels.machine_windows(case.id)
    for index in sorted(set(range(case.geometry.shape[case.axis])) - changed):
        imported = study.arrays.read(case.id, ArrayName.INITIAL_LABELS, case.axis, index)
        if not imported.any():
            continue
        if np.array_equal(imported, shown[along(case.axis, index, index + 1)].squeeze(case.axis)):
            yield index


def in_words(study: Study, case: Case) -> str:
    """Which slices of a case are a person's, and how many were never looked at."""
    records = study.slices.human(case.id)
    unseen = len(unseen_slices(study, case))
    count = case.geometry.shape[case.axis]
    empty = int(study.extents.certified_empty(case.id, case.axis).sum())
    beyond = f" {empty} of {count} slices are certified empty by marked ends." if empty else ""
    beyond += f" {unseen} of {count} slices were {NEVER_LOOKED_AT}." if unseen else ""
    if not records:
        return f"No slice was corrected by a person.{beyond}"
    places: dict[int, list[int]] = {}
    for record in records:
        axis, index = _place(case, record)
        places.setdefault(axis, []).append(index)
    where = "; ".join(
        f"axis {axis}: {', '.join(map(str, sorted(found)))}" for axis, found in places.items()
    )
    names = ", ".join(sorted({record.author for record in records}))
    last = max(record.created_at for record in records)
    reviewed = _approvals(records)
    return f"{len(records)} slices by {names} until {last:%Y-%m-%d} ({where}).{reviewed}{beyond}"


def _approvals(records: Sequence[SliceRecord]) -> str:
    approved = [one.review for one in records if one.approved and one.review is not None]
    if not approved:
        return ""
    names = ", ".join(sorted({review.author for review in approved}))
    return f" {len(approved)} of them were approved by {names}."


def _case(
    study: Study, case: Case, kind: ExportKind, maker: Maker | None, tidied: Tidied | None
) -> dict[str, Any]:
    predicted = is_predicted(study, case, kind)
    found = (maker or maker_of(study)) if predicted else NOBODY
    model = found.checkpoint_sha256
    return {
        "case": case.name,
        "former_names": list(study.changes.former_names(case.id)),
        "source": _source(case.name, case.image_path, case.source),
        **({"channels": [_channel(case, one) for one in case.channels]} if case.further else {}),
        "imported_labels": _imported_labels(study, case, kind, tidied),
        "tidied": None if tidied is None else tidied_document(tidied),
        "never_looked_at": _never_looked_at(study, case),
        "extents": [_extent(study, case, record) for record in study.extents.of(case.id)],
        "certified_empty": _certified_empty(study, case),
        "model": {"checkpoint_sha256": model} if model else None,
        "run": None if found.run is None else _run(found.run),
        "slices_in_file": kind in (ExportKind.LABELS, ExportKind.ACCEPTED, ExportKind.VOLUMES),
        "slices": [_slice(case, record) for record in _in_file(study, case, kind)],
        "damaged": [
            str(one)
            for one in study.slices.damaged()
            if one.key is not None and one.key.case_id == case.id
        ],
    }


def _in_file(study: Study, case: Case, kind: ExportKind) -> tuple[SliceRecord, ...]:
    if kind is ExportKind.ACCEPTED:
        return study.slices.teaching(case.id)
    return study.slices.human(case.id)


def _chosen(case: Case, chosen: Chosen) -> dict[str, Any]:
    """The slices that a file holds, by axis and index of the file's array."""
    place = case.geometry.file_index
    return {
        "axis": case.geometry.file_axes[chosen.axis],
        "slices": sorted(place(chosen.axis, index) for index in chosen.indices),
    }


def _channel(case: Case, channel: Channel) -> dict[str, Any]:
    """A channel by its name, with its file; one that the case lacks was filled with zeros."""
    image = channel.image
    if image is None:
        return {"name": channel.name, "filled": True}
    return {"name": channel.name, "filled": False} | _source(case.name, image.path, image.source)


def _source(case: str, path: Path, source: SourceInfo) -> dict[str, Any]:
    found = source_hash(path, _files_of(case, source))
    return {
        "file": path.name,
        "format": source.format,
        "sha256": found.sha256,
        "not_hashed": found.problem,
        "frame": source.choice.frame,
        "series": source.choice.series,
    }


def _files_of(case: str, source: SourceInfo) -> list[str] | None:
    """The files of a series in its folder; None where a source is one file, or all of a folder."""
    if source.format != "dicom":
        return None
    with readable(f"the series of {case!r}"):
        return [str(found[0]) for found in json.loads(source.header)["slices"]]


def tidied_document(tidied: Tidied) -> list[dict[str, Any]]:
    """What was tidied, class by class."""
    return [
        {
            "value": one.label.value,
            "name": one.label.name,
            "pieces": None if one.pieces is None else asdict(one.pieces),
            "holes": None if one.holes is None else asdict(one.holes),
        }
        for one in tidied.classes
    ]


def _imported_labels(
    study: Study, case: Case, kind: ExportKind, tidied: Tidied | None
) -> dict[str, Any] | None:
    """The file that initial labels came from, and the slices that still have those labels."""
    path = case.labels_path
    if path is None or kind in (*_MAPS, ExportKind.ACCEPTED):
        return None
    axis, found = case.axis, source_hash(path)
    changed = frozenset(() if tidied is None else tidied.slices)
    kept = [index for index in _kept_slices(study, case) if index not in changed]
    return {
        "file": path.name,
        "sha256": found.sha256,
        "not_hashed": found.problem,
        "axis": case.geometry.file_axes[axis],
        "kept_slices": [case.geometry.file_index(axis, index) for index in kept],
    }


def _never_looked_at(study: Study, case: Case) -> dict[str, Any]:
    """The slices that have no clean slice near, by axis and index of the file's array."""
    axis = case.axis
    indices = unseen_slices(study, case)
    return {
        "axis": case.geometry.file_axes[axis],
        "slices": sorted(case.geometry.file_index(axis, i) for i in indices),
    }


def _extent(study: Study, case: Case, record: ExtentRecord) -> dict[str, Any]:
    """One marked extent, by axis and indices of the file's array."""
    geometry, axis, value = case.geometry, record.axis, record.value
    names = {found.value: found.name for found in study.classes}
    counts = study.extents.effective(case.id, axis)[value]
    return {
        "class": {"value": value, "name": names[value]},
        "axis": geometry.file_axes[axis],
        **_ends(in_file(geometry, axis, record.extent)),
        "author": record.author,
        "at": record.created_at.isoformat(),
        "with_clean_slices": _ends(in_file(geometry, axis, counts)),
    }


def _ends(extent: Extent) -> dict[str, int | None]:
    return {"first": extent.first, "last": extent.last}


def _certified_empty(study: Study, case: Case) -> dict[str, Any]:
    """The slices that marked ends certify to show no class, by axis and index of the file."""
    axis = case.axis
    indices = np.flatnonzero(study.extents.certified_empty(case.id, axis)).tolist()
    return {
        "axis": case.geometry.file_axes[axis],
        "slices": sorted(case.geometry.file_index(axis, i) for i in indices),
    }


def _run(run: RunRecord) -> Mapping[str, Any]:
    return {
        "id": run.id,
        "started_at": run.started_at.isoformat(),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
        "outcome": run.outcome,
        "seed": run.seed,
        "device": run.device,
        "config": dict(run.config),
    }


def _slice(case: Case, record: SliceRecord) -> dict[str, Any]:
    axis, index = _place(case, record)
    return {
        "axis": axis,
        "slice": index,
        "state": record.state.value,
        "author": record.author,
        "at": record.created_at.isoformat(),
        "revision": record.revision,
        "review": None if record.review is None else _review(record.review),
    }


def _review(review: Review) -> dict[str, Any]:
    return {
        "verdict": review.verdict.value,
        "author": review.author,
        "at": review.created_at.isoformat(),
        "note": review.note,
        "accepted_by": review.accepted_by,
    }


def _place(case: Case, record: SliceRecord) -> tuple[int, int]:
    """Axis and index of the file's array."""
    key = record.key
    return case.geometry.file_axes[key.axis], case.geometry.file_index(key.axis, key.index)
