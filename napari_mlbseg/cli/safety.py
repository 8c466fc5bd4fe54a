"""The commands that keep a study sound, as functions that return plain documents."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_mlbseg.cli.progress import counting
from napari_mlbseg.project.repairing import repair as repairing
from napari_mlbseg.project.repairing import verify as verifying
from napari_mlbseg.project.study import Study

Document = Mapping[str, Any]


def verify(path: Path) -> Document:
    """Check a study; works while somebody annotates it."""
    with counting() as progress:
        found = asdict(verifying.verify(path, progress))
    findings = found.pop("findings")
    return {
        "study": str(path.absolute()),
        "sound": not findings,
        "findings": list(findings),
        "counts": found,
    }


def repair(path: Path) -> Document:
    """Repair a study, and tell what was done and what could not be done."""
    with counting() as progress:
        told = repairing.repair(path, progress)
    return {"study": str(path.absolute()), "done": list(told.done), "left": list(told.left)}


def backup(path: Path) -> Document:
    """Back up a study; works while somebody annotates it."""
    with Study.open(path, writable=False) as study:
        return {"study": str(study.path), "backup": str(study.back_up())}


def log(path: Path, name: str | None, count: int | None) -> Document:
    """The newest lines of the log, of one case or of all, oldest first."""
    with Study.open(path, writable=False) as study:
        called = {case.id: case.name for case in study.changes.everyone}
        if name is not None and name not in called.values():
            study.named(name)  # says that there is none
        lines = [
            one for one in study.log.entries() if name in (None, called.get(one.case_id or ""))
        ]
        return {
            "study": str(study.path),
            "lines": [
                {
                    "number": one.number,
                    "at": one.created_at.isoformat(),
                    "author": one.author,
                    "action": one.action,
                    "case": called.get(one.case_id or "", one.case_id),
                    "details": dict(one.details),
                }
                for one in lines[-count if count else 0 :]
            ],
            "unreadable": list(study.log.damaged()),
        }
