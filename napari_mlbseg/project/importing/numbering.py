"""One name, one class value: names of structures in label files, and the values they get."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.masks import MAX_LABEL, numbered_together
from napari_mlbseg.formats.registry import format_of, open_labels, stem_of
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.formats.source import Choice, Mask
from napari_mlbseg.project.importing.case_files import CaseFiles
from napari_mlbseg.project.importing.described import descriptions, folders_above, text_of
from napari_mlbseg.project.importing.names import normal
from napari_mlbseg.project.importing.tables import table_rows
from napari_mlbseg.project.records.cases import LabelClass

_NAMING_FORMATS: Final = ("dicom", "nrrd")
_TABLES: Final = ("dseg.tsv",)


@dataclass(frozen=True)
class Numbering:
    """Names of labels by case, and what becomes of their numbers.

    Attributes
    ----------
    names
        For each case the names of the labels in its files.
    numbers
        For each case the class value of each named label.
    segmented
        Cases whose several label files are DICOM segmentations, which have names of their own.
    """

    names: Mapping[str, Mapping[int, str]]
    numbers: Mapping[str, Mapping[int, int]]
    segmented: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, cases: Sequence[CaseFiles], classes: Sequence[LabelClass], choice: Choice
    ) -> "Numbering":
        """Look at the names in the label files of all cases, before any of them is read."""
        names = {case.id: _names_of(case, choice) for case in cases if case.labels is not None}
        segmented = frozenset(case.id for case in cases if _are_segmentations(case))
        if not classes:
            together = numbered_together(list(names.values()))
            return cls(names, dict(zip(names, together, strict=True)), segmented)
        numbers = {case: _to_classes(found, classes) for case, found in names.items()}
        return cls(names, numbers, segmented)

    def choice_of(self, case: CaseFiles, choice: Choice) -> Choice:
        """How the labels of a case are read."""
        numbers = self.numbers.get(case.id, {})
        if case.masks and case.id not in self.segmented:
            masks = [
                Mask(file, name, numbers.get(k, k)) for k, (file, name) in enumerate(case.masks, 1)
            ]
            return replace(choice, masks=tuple(masks))
        choice = replace(choice, masks=_choice_of(case.masks).masks)
        moved = [(old, new) for old, new in sorted(numbers.items()) if old != new]
        if choice.renumber or not moved:
            return choice
        return replace(choice, renumber=tuple(moved))

    def named(self, case: CaseFiles, labels: Scan) -> Scan:
        """The labels of a case with the names that a file beside them gives them."""
        if labels.names or case.masks:
            return labels
        numbers = self.numbers.get(case.id, {})
        found = self.names.get(case.id, {})
        return replace(labels, names={numbers.get(v, v): name for v, name in found.items()})


def _are_segmentations(case: CaseFiles) -> bool:
    folder = case.labels
    return (
        folder is not None
        and bool(case.masks)
        and all(format_of(folder / file) == "dicom" for file, _ in case.masks)
    )


def _choice_of(masks: Sequence[tuple[str, str]]) -> Choice:
    """All masks of a folder, with the values 1, 2, ..."""
    return Choice(masks=tuple(Mask(file, name, k) for k, (file, name) in enumerate(masks, 1)))


def _names_of(case: CaseFiles, choice: Choice) -> dict[int, str]:
    if case.labels is None:
        return {}
    if case.masks and not _are_segmentations(case):
        return {k: name for k, (_, name) in enumerate(case.masks, 1)}
    try:
        if case.masks:
            return dict(open_labels(case.labels, _choice_of(case.masks)).names)
        kind = format_of(case.labels)
        if kind in _NAMING_FORMATS or (kind is None and case.labels.is_dir()):
            return dict(open_labels(case.labels, choice.of_image).names)
    except UserError:
        return {}  # the import says what is wrong with the file
    return described_names(case.labels)


def _to_classes(names: Mapping[int, str], classes: Sequence[LabelClass]) -> dict[int, int]:
    """Class values by name; labels whose names no class has count by their value.

    Only where some names are those of classes do names count at all: otherwise a person gave the
    classes names of their own.
    """
    known = {normal(c.name): c.value for c in classes}
    found = {v: known[normal(name)] for v, name in names.items() if normal(name) in known}
    if not found:
        return {value: value for value in names}
    strange = [name for value, name in names.items() if value not in found]
    taken = set(found.values())
    free = (n for n in range(MAX_LABEL, 0, -1) if n not in known.values() and n not in taken)
    # A value that no class has is refused when it is read, unless the structure is empty.
    return found | {v: next(free) for v, name in names.items() if name in strange}


def described_names(labels: Path) -> dict[int, str]:
    """Names of labels as BIDS and nnU-Net keep them: in a table or in ``dataset.json``."""
    folders = folders_above(labels.parent)
    tables = [labels.parent / f"{stem_of(labels)}.tsv"]
    tables += [folder / name for folder in folders for name in _TABLES]
    for table in tables:
        found = _of_table(table)
        if found:
            return found
    for about in descriptions(labels.parent):
        found = _of_dataset(about)
        if found:
            return found
    return {}


def _of_table(table: Path) -> dict[int, str]:
    """The columns index and name of a ``_dseg.tsv``."""
    try:
        rows = table_rows(text_of(table), delimiter="\t")
    except csv.Error:
        return {}
    return _plain((row.get("index"), row.get("name")) for row in rows)


def _of_dataset(about: Mapping[str, Any]) -> dict[int, str]:
    """The labels of nnU-Net's and of the Decathlon's ``dataset.json``, either way round."""
    labels = about.get("labels")
    pairs = list(labels.items()) if isinstance(labels, Mapping) else []
    return _plain(pairs) or _plain((value, name) for name, value in pairs)


def _plain(pairs: Any) -> dict[int, str]:
    """Numbers and names without the background; nothing if a number is none."""
    found = {}
    for value, name in pairs:
        try:
            number = int(value)
        except (TypeError, ValueError):
            return {}
        if 1 <= number <= MAX_LABEL and str(name or "").strip():
            found[number] = str(name).strip()
    return found if len(set(found.values())) == len(found) else {}
