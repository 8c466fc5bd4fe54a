"""The folder of an exported model: there as a whole, or not at all."""

from pathlib import Path

import pytest
from killed import killer

from napari_mlbseg.engine.deploy.folder import new_folder
from napari_mlbseg.errors import UserError

PROGRAM = """
from napari_mlbseg.engine.deploy.folder import new_folder, write_text

def write(path):
    with new_folder(Path(path)) as folder:
        for name in ("models/model.pt", "configs/metadata.json", "LICENSE"):
            write_text(folder / name, "whole")

serve(write)
"""


@pytest.mark.parametrize("empty", [True, False])
def test_a_killed_export_of_a_model_leaves_nothing_or_all_and_is_swept(
    tmp_path: Path, empty: bool
) -> None:
    kills = 0
    with killer(PROGRAM) as process:
        for step in range(1, 60):
            beside = tmp_path / f"{step}"
            beside.mkdir()
            path = beside / "model"
            if empty:
                path.mkdir()
            if not process.killed(step, beside, path):
                break
            kills += 1
            files = [p for p in path.rglob("*") if p.is_file()] if path.exists() else []
            assert len(files) in (0, 3)
            with new_folder(beside / "other") as folder:
                (folder / "model.pt").write_text("whole")
            assert not [p for p in beside.iterdir() if p.name.startswith(".")]
    assert kills > 5
    assert len([p for p in path.rglob("*") if p.is_file()]) == 3


def test_what_earlier_versions_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".model-ab_12xyz" / "model").mkdir(parents=True)
    (tmp_path / ".model-holidays" / "photos").mkdir(parents=True)
    (tmp_path / ".other-ab_12xyz" / "model").mkdir(parents=True)
    with new_folder(tmp_path / "model"):
        pass
    kept = {".model-holidays", ".other-ab_12xyz", "model"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_folder_that_fills_meanwhile_stays(tmp_path: Path) -> None:
    with (  # noqa: PT012 - it is the end of the block that raises
        pytest.raises(UserError, match="cannot be written to"),
        new_folder(tmp_path / "model"),
    ):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "thesis.doc").write_text("mine")
    assert (tmp_path / "model" / "thesis.doc").read_text() == "mine"
