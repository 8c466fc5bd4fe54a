import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Shapes and types of the numerics are checked whenever a test calls them.
install_import_hook(
    ["napari_mlbseg.engine.steps", "napari_mlbseg.engine.nets"], "beartype.beartype"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    asking = [item for item in items if item.get_closest_marker("cuda")]
    if not asking:
        return
    import torch  # takes seconds, which other tests need not wait for

    if not torch.cuda.is_available():
        for item in asking:
            item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device here"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scans, which are not part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLBSEG_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set MLBSEG_DATA to their folder")
    return folder
