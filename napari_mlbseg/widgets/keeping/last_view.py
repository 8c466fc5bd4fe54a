"""Where somebody was in a study, so that it can be opened there again; kept for each user."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.user_folder import user_folder
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study


def remember(study: Study, places: Mapping[str, SliceKey], case_id: str) -> None:
    """Keep the slice on view of each case, and which case is on view.

    A place that cannot be kept is no loss that anybody has to hear of.
    """
    text = json.dumps(
        {"case": case_id, "places": {name: (key.axis, key.index) for name, key in places.items()}}
    )
    with suppress(OSError, UserError):
        path = _file(study)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)


def recall(study: Study) -> tuple[dict[str, SliceKey], str | None]:
    """Return the places that were kept and still exist, and the case that was on view, if any."""
    with suppress(OSError, UserError, ValueError, TypeError, KeyError, AttributeError):
        kept = json.loads(_file(study).read_text())
        shapes = {case.id: case.geometry.shape for case in study.cases}
        places = {
            str(name): SliceKey(str(name), axis, index)
            for name, (axis, index) in kept["places"].items()
            if name in shapes and axis in (0, 1, 2) and 0 <= index < shapes[name][axis]
        }
        return places, kept["case"] if kept["case"] in shapes else None
    return {}, None


def _file(study: Study) -> Path:
    return user_folder() / "views" / f"{study.identity}.json"
