from pathlib import Path

import pytest
from small_study import Phantoms, make_phantoms


@pytest.fixture
def phantoms(tmp_path: Path) -> Phantoms:
    return make_phantoms(tmp_path / "phantoms.mlbseg")


@pytest.fixture
def rough_phantoms(tmp_path: Path) -> Phantoms:
    return make_phantoms(tmp_path / "rough.mlbseg", rough=True)
