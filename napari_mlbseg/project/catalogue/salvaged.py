"""What becomes of damaged rows other than revisions: as good as can be, and told."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.checking import REPAIR
from napari_mlbseg.project.catalogue.soundness import (
    hash_of,
    is_amendment,
    is_extent,
    is_move,
    is_review,
    is_teaching,
)
from napari_mlbseg.project.catalogue.sources import Sources, Table


@dataclass
class Salvaged:
    """What became of what was damaged, in sentences, and which revisions are lost."""

    told: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


def extents_in(found: Sources, cases: set[Any], said: Salvaged) -> Table:
    """All marks by number; a lost one no longer counts, nor do those that it superseded."""
    kept = found.table("extents", is_extent)
    for number in sorted(found.numbers("extents") - set(kept)):
        said.told.append(f"Mark {number} of the ends of a class is lost. Mark them again.")
        for row in found.candidates("extents", number):
            place = {name: row.get(name) for name in ("case_id", "axis", "class")}
            unmarked = {"number": number, **place, "first_slice": None, "last_slice": None}
            unmarked |= {"author": REPAIR, "created_at": datetime.now(UTC).isoformat()}
            unmarked["sha256"] = hash_of(unmarked, hashes.EXTENT)
            if place["case_id"] in cases:
                kept[number] = unmarked
            break
    return kept


def amendments_in(found: Sources, said: Salvaged) -> Table:
    """What was changed of cases, by number; where one is lost, the one before it counts."""
    kept = found.table("amendments", is_amendment)
    for number in sorted(found.numbers("amendments") - set(kept)):
        names = (row.get("case_id") for row in found.candidates("amendments", number))
        said.told.append(
            f"Change {number}, of the case {next(names, None)!r}, is lost: its name, its files and "
            "whether it is in the study are as before. Look at the log, and change it again."
        )
    return kept


def reviews_in(found: Sources, said: Salvaged) -> Table:
    """What was said of accepted slices, by number."""
    kept = found.table("reviews", is_review)
    for number in sorted(found.numbers("reviews") - set(kept)):
        place = next(found.candidates("reviews", number), {})
        where = f"slice {place.get('slice')} of {place.get('case_id')!r}"
        said.told.append(f"Review {number}, of {where}, is lost. Review the slice again.")
    return kept


def teaching_in(found: Sources, said: Salvaged) -> Table:
    """The choices of the slices that teach, by number."""
    kept = found.table("teaching", is_teaching)
    if found.numbers("teaching") - set(kept):
        said.told.append(
            "A choice whether only approved slices teach is lost. Look at the log, and choose "
            "again with `mlbseg teaching`."
        )
    return kept


def moves_in(found: Sources, log: Table, said: Salvaged) -> Table:
    """The classes that were merged, by number; the log has them, too."""
    kept = found.table("moves", is_move)
    logged = {}
    for line in log.values():
        if line["action"] == "move class":
            details = json.loads(line["details"])
            row = {"class": details["value"]} | {k: details[k] for k in ("becomes", "masks")}
            row |= {name: line[name] for name in ("author", "created_at")}
            logged[details["move"]] = row | {"number": details["move"]}
    for number in sorted(set(logged) - set(kept)):
        kept[number] = logged[number] | {"sha256": hash_of(logged[number], hashes.MOVE)}
        said.told.append(f"Move {number} of a class was made again from the log.")
    return kept
