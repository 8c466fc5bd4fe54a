import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Shapes and types of the numerics are checked whenever a test calls them.
install_import_hook(
    ["napari_mlbseg.engine.steps", "napari_mlbseg.engine.nets"], "beartype.beartype"
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scans, which are not part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLBSEG_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set MLBSEG_DATA to their folder")
    return folder
