"""What BIDS asks of derivatives: names of files, a table of classes, a description."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.formats.dicom_out.about import SOFTWARE
from napari_mlbseg.project.exporting.chosen import NO_LABEL
from napari_mlbseg.project.exporting.kinds import ExportKind
from napari_mlbseg.project.exporting.provenance import software_version
from napari_mlbseg.project.records.cases import Case, LabelClass

VERSION: Final = "1.10.0"
IGNORED: Final = "*.provenance.json\n"
"""Content of ``.bidsignore``: what a validator passes over."""

_PARTS: Final = re.compile(r"(sub-[A-Za-z0-9]+)((?:_[a-z]+-[A-Za-z0-9]+)*)(?:_[A-Za-z0-9]+)?")
_SESSION: Final = re.compile(r"_(ses-[A-Za-z0-9]+)")
_OWN: Final = ("space", "res", "den", "label", "desc")
"""What a derivative says for itself."""


def entities_of(cases: Sequence[Case]) -> dict[str, str]:
    """What the files of each case begin with, by its id: ``sub-01_ses-2`` and the like.

    Names that BIDS knows are kept; of others the letters and digits. Where two cases would be
    called the same, the later ones are further runs.
    """
    found = dict[str, str]()
    for number, case in enumerate(cases, 1):
        begin = _begin(case.name) or f"sub-case{number}"
        name, run = begin, 1
        while name.casefold() in (known.casefold() for known in found.values()):
            run += 1
            name = f"{begin}_run-{run}"
        found[case.id] = name
    return found


def _begin(name: str) -> str:
    known = _PARTS.fullmatch(name)
    if known:
        parts = (part for part in known[2].split("_") if part and part.split("-")[0] not in _OWN)
        return "_".join((known[1], *parts))
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    letters = re.sub(r"[^A-Za-z0-9]", "", plain)
    return f"sub-{letters}" if letters else ""


def place_of(begin: str, kind: ExportKind) -> Path:
    """Where the labels of a case lie in the data set."""
    subject = begin.split("_")[0]
    session = _SESSION.search(begin)
    folder = Path(subject, session[1]) if session else Path(subject)
    return folder / "anat" / f"{begin}_desc-{kind.value}_dseg.nii.gz"


def table(classes: Sequence[LabelClass], *, partial: bool) -> str:
    """The text of a ``_dseg.tsv``; `partial` labels may be `NO_LABEL`, too."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(("index", "name", "color"))
    rows.writerow((0, "background", "#000000"))
    for c in classes:
        rows.writerow((c.value, c.name, "#{:02X}{:02X}{:02X}".format(*c.color)))
    if partial:
        rows.writerow((NO_LABEL, "no label", "#808080"))
    return text.getvalue()


def description(name: str) -> dict[str, Any]:
    """The content of ``dataset_description.json``."""
    return {
        "Name": name,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": SOFTWARE, "Version": software_version()}],
    }


def notes_of(cases: Sequence[Case]) -> tuple[str, ...]:
    """What becomes of names of cases that BIDS cannot hold, in sentences."""
    found = entities_of(cases)
    changed = [c for c in cases if found[c.id] not in (c.name, f"sub-{c.name}")]
    known = [c for c in changed if not c.name.startswith(f"{found[c.id]}_")]
    return tuple(
        f"BIDS has names of letters and digits: {c.name!r} is written as {found[c.id]!r}."
        for c in known
    )
