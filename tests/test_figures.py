"""The figures of the house, counted in a package that is small enough to count by hand."""

from pathlib import Path

import pytest
from figures import LARGE_CLASS, LONG_FUNCTION, figures, table

LONG = "def long():\n    '''Said in\n    two lines.'''\n" + "    x = 1\n" * LONG_FUNCTION
LARGE = "class Large:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(LARGE_CLASS + 1))
FILES = {
    "napari_mlbseg/__init__.py": "",
    "napari_mlbseg/volume.py": "import numpy\n",
    "napari_mlbseg/part/__init__.py": "",
    "napari_mlbseg/part/alone.py": "from napari_mlbseg.part.room import one\n",
    "napari_mlbseg/part/room/__init__.py": "",
    "napari_mlbseg/part/room/one.py": (
        "import napari_mlbseg.part.room.two\n"  # of its own room
        "from napari_mlbseg import volume\n"  # of another part
        "def lazy():\n    from napari_mlbseg.part.alone import thing\n"
    ),
    "napari_mlbseg/part/room/two.py": "from napari_mlbseg.part import alone\n",
    "tests/test_one.py": "\n" * 10,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_files_are_counted_by_folder(checkout: Path) -> None:
    expected = {"napari_mlbseg": 1, "part": 1, "part/room": 2}
    assert figures(checkout).files == expected


def test_arrows_join_rooms_of_one_part(checkout: Path) -> None:
    """Two of them here, each counted once, however often it is drawn."""
    assert figures(checkout).arrows == {"part": 2}
    (checkout / "napari_mlbseg/part/alone.py").write_text("import numpy\n", encoding="utf-8")
    assert figures(checkout).arrows == {"part": 1}


def test_only_what_is_over_the_limit_is_named(checkout: Path) -> None:
    place = checkout / "napari_mlbseg" / "part" / "alone.py"
    assert figures(checkout).long_functions == figures(checkout).large_classes == []
    place.write_text(LONG + LARGE, encoding="utf-8")
    found = figures(checkout)
    assert found.long_functions == [f"part/alone.py: long ({LONG_FUNCTION + 1})"]
    assert found.large_classes == [f"part/alone.py: Large ({LARGE_CLASS + 1})"]
    shorter = LONG.removesuffix("    x = 1\n") + LARGE.removesuffix("\n").rpartition("\n")[0]
    place.write_text(shorter, encoding="utf-8")
    assert figures(checkout).long_functions == figures(checkout).large_classes == []


def test_lines_of_tests_are_set_beside_those_of_code(checkout: Path) -> None:
    found = figures(checkout)
    assert (found.test_lines, found.code_lines) == (10, 7)
    assert found.rows()["tests / code"] == "1.43"


def test_a_table_sets_checkouts_side_by_side() -> None:
    lines = table([{"files in b": "1", "sum": "3"}, {"files in a": "2", "sum": "4"}], ["x", "y"])
    assert lines.splitlines()[2:] == [
        "| files in a |  | 2 |",
        "| files in b | 1 |  |",
        "| sum | 3 | 4 |",
    ]
