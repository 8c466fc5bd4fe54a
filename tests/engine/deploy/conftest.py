from pathlib import Path

import pytest

from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.study import Study


@pytest.fixture(scope="module")
def predicted(study: Study, cohort: Path) -> Path:
    export_study(study, cohort / "predicted", ExportKind.PREDICTION)
    return cohort / "predicted"
