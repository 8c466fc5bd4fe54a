"""Exports that are a whole folder: complete, or not there at all."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import explained, workplace
from napari_mlbseg.formats.plain import MAP
from napari_mlbseg.formats.registry import write_plainly, written_along
from napari_mlbseg.project.arrays.copying import images_of
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.exporting import bids, nnunet
from napari_mlbseg.project.exporting.checks import require_safe
from napari_mlbseg.project.exporting.chosen import Renumbered
from napari_mlbseg.project.exporting.contents import Contents, Tell
from napari_mlbseg.project.exporting.kinds import OutFormat
from napari_mlbseg.project.exporting.outputs import Target
from napari_mlbseg.project.exporting.provenance import maker_of, provenance_path, write_provenance
from napari_mlbseg.project.exporting.tidied import labels_of
from napari_mlbseg.project.exporting.voxels import Banded
from napari_mlbseg.project.exporting.writing import CaseFile, write_case_file
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied
from napari_mlbseg.volume import Volume


@dataclass(frozen=True)
class _Layout:
    """The files of a data set, by their paths in its folder.

    Attributes
    ----------
    labels
        For each case, by its id.
    numbers
        The numbers of the classes in these files; None if they are the class values.
    images
        For each case whose image is written, by its id: a file for each channel.
    texts
        What lies in the folder besides.
    """

    labels: Mapping[str, Path]
    numbers: Mapping[int, int] | None
    images: Mapping[str, Sequence[Path]]
    texts: Mapping[Path, str]


def write_dataset(
    contents: Contents, out: Path, form: OutFormat, progress: Progress, tell: Tell
) -> list[Path]:
    """Write a new folder; returns the files with labels."""
    study, cases = contents.study, contents.cases
    root, layout = _LAYOUTS[form](contents, out)
    require_safe(study, [root])
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{root} exists already. Choose another folder, or remove this one.")
    with explained(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with workplace(root.parent) as work:
            new = work.new(root)
            for done, case in enumerate(cases):
                progress(f"Exporting {case.name}", done, len(cases))
                tidied = _write_case(contents, case, layout, new, form)
                if tidied is not None:
                    tell(case.name, tidied)
            for place, text in layout.texts.items():
                (new / place).write_text(text, encoding="utf-8", newline="\n")
            if root.exists():
                root.rmdir()
            work.place([root])
    progress("Exported", len(cases), len(cases))
    return [root / layout.labels[case.id] for case in cases]


def _write_case(
    contents: Contents, case: Case, layout: _Layout, root: Path, form: OutFormat
) -> Tidied | None:
    study, kind, chosen = contents.study, contents.kind, contents.chosen
    path = root / layout.labels[case.id]
    path.parent.mkdir(parents=True, exist_ok=True)
    maker = maker_of(study)
    labels, tidied = labels_of(study, case, kind, chosen)
    if layout.numbers is not None:
        labels = Renumbered(labels, layout.numbers, others=len(layout.numbers) + 1)
    file = CaseFile(study, case, kind, Target(path, form), maker, chosen)
    write_case_file(file, labels, path)
    write_provenance(
        provenance_path(path),
        path,
        study,
        [case],
        kind,
        maker=maker,
        tidied={} if tidied is None else {case.id: tidied},
        chosen=chosen,
    )
    for name, place in zip(CHANNELS, layout.images.get(case.id, ()), strict=False):
        _write_image(study, case, name, root / place)
    return tidied


def _write_image(study: Study, case: Case, name: ArrayName, path: Path) -> None:
    """A channel as float32, in which intensities of up to 24 bits are exact; zero if it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    along = written_along(path, case.geometry, case.source)
    there = name in images_of(case)
    nothing = np.broadcast_to(np.float32(0), case.geometry.shape)
    stored = study.arrays.open(case.id, name) if there else nothing
    image = Banded(cast(Any, stored), along)
    write_plainly(path, Volume(cast(Any, image), case.geometry), case.source, MAP)


def _for_nnunet(contents: Contents, out: Path) -> tuple[Path, _Layout]:
    study, cases, ending = contents.study, contents.cases, nnunet.FILE_ENDING
    about = nnunet.description(cases, study.classes, partial=contents.partial)
    return nnunet.folder_of(out, study.name), _Layout(
        labels={c.id: Path("labelsTr", f"{c.name}{ending}") for c in cases},
        numbers=nnunet.numbers_of(study.classes),
        images={
            c.id: [
                Path("imagesTr", f"{c.name}{nnunet.number_of(place)}{ending}")
                for place in range(len(c.channels))
            ]
            for c in cases
        },
        texts={Path("dataset.json"): _json(about)},
    )


def _for_bids(contents: Contents, out: Path) -> tuple[Path, _Layout]:
    study, cases = contents.study, contents.cases
    begin = bids.entities_of(cases)
    labels = {case.id: bids.place_of(begin[case.id], contents.kind) for case in cases}
    table = bids.table(study.classes, partial=contents.partial)
    name = f"{study.name}-{contents.kind.value}"
    return out / name, _Layout(
        labels=labels,
        numbers=None,
        images={},
        texts=dict(_bids_texts(labels.values(), table, name)),
    )


def _bids_texts(labels: Iterable[Path], table: str, name: str) -> Iterator[tuple[Path, str]]:
    yield Path("dataset_description.json"), _json(bids.description(name))
    yield Path(".bidsignore"), bids.IGNORED
    for path in labels:
        yield path.with_name(path.name.replace(".nii.gz", ".tsv")), table


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_LAYOUTS: Final = {OutFormat.NNUNET: _for_nnunet, OutFormat.BIDS: _for_bids}
