"""The commands about trained models, as functions that return plain documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.project.study import Study


def export(path: Path, wanted: ModelFormat, out: Path) -> Mapping[str, Any]:
    """Write the trained model of a study into a new folder."""
    with Study.open(path, writable=False) as study:
        check_trained(study)
        from napari_mlbseg.engine.deploy.export import export_model

        exported = export_model(study, wanted, out)
        return {
            "study": str(study.path),
            "format": wanted.value,
            "out": str(exported.folder),
            "bytes": exported.size,
            "worst_difference": exported.worst_difference,
        }
