"""Export: one file per case, named as it came in, where its voxels lay."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import export_suffix, write_labels, write_map
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.pairing import shortened
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume


class ExportKind(StrEnum):
    """What is written for a case.

    LABELS are what a person sees: the machine's labels with every corrected slice on top.
    PREDICTION and INITIAL are the machine's alone. WEIGHTS are two float32 maps per case,
    ``ID_meta_weights_initial`` and ``ID_meta_weights_pseudo``, in multiples of the uniform weight.
    TRUST are ``ID_trust``, float32 from 0 to 1, how far the clean slices bear out the prediction,
    and ``ID_votes``, the label that they vote for.
    """

    LABELS = "labels"
    PREDICTION = "prediction"
    INITIAL = "initial"
    WEIGHTS = "weights"
    TRUST = "trust"


_ARRAYS = {
    ExportKind.LABELS: (),
    ExportKind.PREDICTION: (ArrayName.PREDICTION,),
    ExportKind.INITIAL: (ArrayName.INITIAL_LABELS,),
    ExportKind.WEIGHTS: (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO),
    ExportKind.TRUST: (ArrayName.TRUST, ArrayName.VOTES),
}


def export_case(study: Study, case_id: str, folder: Path, kind: ExportKind) -> list[Path]:
    """Write the file or files of one case into a folder, which is made if need be.

    A file that is there already is replaced once the new one is complete.

    Raises
    ------
    UserError
        If there is nothing to export yet, if a file of the study or one that it was imported
        from would be overwritten, or if the folder cannot be written.
    """
    return _export(study, [study.case(case_id)], folder, kind, None)


def export_study(
    study: Study,
    folder: Path,
    kind: ExportKind,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Write the files of all cases, see `export_case`; nothing is written unless all can be."""
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    return _export(study, study.cases, folder, kind, progress)


def _export(
    study: Study,
    cases: Sequence[Case],
    folder: Path,
    kind: ExportKind,
    progress: Callable[[str, int, int], None] | None,
) -> list[Path]:
    _require_arrays(study, cases, kind)
    targets = [_targets(case, folder, kind) for case in cases]
    _require_safe(study, [path for paths in targets for path in paths])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another."
        ) from error
    for done, (case, paths) in enumerate(zip(cases, targets, strict=True)):
        if progress is not None:
            progress(f"Exporting {case.id}", done, len(cases))
        _write(study, case, paths, kind)
    if progress is not None:
        progress("Exported", len(cases), len(cases))
    return [path for paths in targets for path in paths]


def _targets(case: Case, folder: Path, kind: ExportKind) -> list[Path]:
    suffix = export_suffix(case.image_path, case.source)
    if len(_ARRAYS[kind]) > 1:
        return [folder / f"{case.id}_{name.value}{suffix}" for name in _ARRAYS[kind]]
    return [folder / f"{case.id}{suffix}"]


def _write(study: Study, case: Case, paths: Sequence[Path], kind: ExportKind) -> None:
    if kind is ExportKind.LABELS:
        write_labels(paths[0], Volume(study.working_labels(case.id), case.geometry), case.source)
        return
    for path, name in zip(paths, _ARRAYS[kind], strict=True):
        array: Any = study.array(case.id, name)
        # Where the file's slabs are those of the array, they are read as they are written.
        streamed = case.geometry.display_axis(2) == case.axis
        volume = Volume(array if streamed else np.asarray(array[:]), case.geometry)
        if array.dtype.kind == "f":
            write_map(path, volume, case.source)
        else:
            write_labels(path, volume, case.source)


def _require_arrays(study: Study, cases: Sequence[Case], kind: ExportKind) -> None:
    lacking = [
        case.id
        for case in cases
        if not all(study.has_array(case.id, name) for name in _ARRAYS[kind])
    ]
    if not lacking:
        return
    what, how = {
        ExportKind.PREDICTION: ("prediction", "Start the training, which predicts every case"),
        ExportKind.INITIAL: (
            "initial labels",
            "Import labels with the images, or start the training, whose base model makes them",
        ),
        ExportKind.WEIGHTS: ("weight maps", "Start the training, which computes them"),
        ExportKind.TRUST: ("trust maps", "Start the training, which computes them"),
    }[kind]
    raise UserError(
        f"{len(lacking)} cases have no {what} yet: {shortened(lacking)}. {how} (on the command "
        "line: mlbseg run), then export again."
    )


def _require_safe(study: Study, targets: Sequence[Path]) -> None:
    home = study.path.resolve()
    sources = {
        path.resolve()
        for case in study.cases
        for path in (case.image_path, case.labels_path)
        if path is not None
    }
    for target in targets:
        resolved = target.resolve()
        if resolved.is_relative_to(home):
            raise UserError(
                f"{target} lies inside the study {study.path}. Export into another folder."
            )
        if resolved in sources or any(_same_file(resolved, source) for source in sources):
            raise UserError(
                f"{target} is a file that the study was imported from; it is never overwritten. "
                "Export into another folder."
            )


def _same_file(a: Path, b: Path) -> bool:
    """Whether both exist and are one file, also where the disk ignores upper and lower case."""
    try:
        return a.samefile(b)
    except OSError:
        return False
