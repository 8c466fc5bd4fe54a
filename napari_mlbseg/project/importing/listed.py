"""The cases that a CSV file lists; its paths are relative to its folder."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import stem_of
from napari_mlbseg.project.importing.case_files import CaseFiles, ChannelFile, Layout
from napari_mlbseg.project.importing.channels import filled, lacking
from napari_mlbseg.project.importing.failures import Failure
from napari_mlbseg.project.importing.tables import table_rows
from napari_mlbseg.project.records.channels import require_channel_names

_IMAGE: Final = "image"
_OF_A_CHANNEL: Final = "image:"


def listed_cases(table: Path, *, fill: bool) -> Layout:
    """The cases of a table with the columns case, image (or ``image:NAME``) and labels."""
    rows = _rows(table)
    of_channels = [str(one) for one in (rows[0] if rows else ()) if _is_of_channel(one)]
    columns = of_channels or [_IMAGE]
    known = set(rows[0]) if rows else set()
    if not {"case", *columns} <= known or (of_channels and _IMAGE in known):
        raise UserError(
            f"{table} lists no cases. Its first line names the columns case, image, labels (or "
            "image:T1, image:FLAIR and so on instead of image, one for each channel); every other "
            "line is a case, and labels may be empty."
        )
    channels = tuple(column.removeprefix(_OF_A_CHANNEL).strip() for column in columns)
    require_channel_names(channels)
    cases, failures, notes = [], [], []
    for number, row in enumerate(rows, 2):
        images = [_cell(row, column) for column in columns]
        given = [name for name in images if name]
        if not given:
            raise UserError(f"{table} names no image in line {number}.")
        case_id = _cell(row, "case") or stem_of(table.parent / given[0])
        missing = [name for name, image in zip(channels, images, strict=True) if not image]
        if missing and (not fill or not images[0]):
            failures.append(Failure(table.parent / given[0], lacking(case_id, missing, channels)))
            continue
        if missing:
            notes.append(Failure(table.parent / given[0], filled(case_id, missing)))
        further = (ChannelFile(table.parent / one) if one else None for one in images[1:])
        labels = _cell(row, "labels")
        path = table.parent / labels if labels else None
        cases.append(CaseFiles(case_id, table.parent / images[0], path, further=tuple(further)))
    several = channels if len(channels) > 1 else ()
    return Layout(tuple(cases), tuple(failures), tuple(notes), several)


def _is_of_channel(column: Any) -> bool:
    return str(column).startswith(_OF_A_CHANNEL)


def _cell(row: Mapping[str, Any], column: str) -> str:
    return (row.get(column) or "").strip()


def _rows(table: Path) -> Sequence[Mapping[str, Any]]:
    try:
        return table_rows(table.read_text(encoding="utf-8-sig"))
    except csv.Error as error:
        raise UserError(f"{table} cannot be read as a table: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(f"{table} cannot be read: {reason}.") from error
