import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scans, which are not part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLBSEG_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set MLBSEG_DATA to their folder")
    return folder
