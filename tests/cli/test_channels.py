"""Several channels of a case, from the command line."""

import json
from pathlib import Path

from command_line import Mlbseg
from two_channels import write


def test_channels_are_planned_imported_and_told(tmp_path: Path, mlbseg: Mlbseg) -> None:
    images, study = tmp_path / "images", tmp_path / "head.mlbseg"
    for seed, name in enumerate(("a_t1", "a_flair", "b_t1")):
        write(images / f"{name}.nii.gz", seed)
    rule = ("--channels", "T1=*_t1.nii.gz,FLAIR=*_flair.nii.gz")
    planned = json.loads(mlbseg("init", study, images, *rule, "--dry-run", "--json").stdout)
    (case,) = planned["cases"]
    assert [Path(path).name for path in case["channels"].values()] == [
        "a_t1.nii.gz",
        "a_flair.nii.gz",
    ]
    assert "b has no FLAIR" in planned["failures"][0]["reason"]
    filled = ("--fill-missing-channels", "--dry-run")
    assert "FLAIR: missing" in mlbseg("init", study, images, *rule, *filled).stdout
    assert not study.exists()
    told = mlbseg("init", study, images, *rule, code=4)
    assert "channels: T1, FLAIR" in told.stdout
    assert "--fill-missing-channels" in told.stderr
    assert json.loads(mlbseg("info", study, "--json").stdout)["channels"] == ["T1", "FLAIR"]
    table = tmp_path / "cases.csv"
    table.write_text("case,image\nx,images/b_t1.nii.gz\n")
    both = mlbseg("add", study, images, *rule, "--table", table, code=1)
    assert "give --channels or --table" in both.stderr
