"""What the documents name has to exist: files, links and tests."""

import re
from pathlib import Path

import pytest

import napari_mlbseg

PACKAGE = Path(napari_mlbseg.__file__).parent
REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PYTHON_FILE = re.compile(r"(?<![\w./-])((?:[\w-]+/)+[\w-]+\.(?:py|sh))\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
TEST = re.compile(r"`((?:\w+/)*test_\w+(?:::test_\w+)?)`")


def named(pattern: re.Pattern[str], document: Path) -> list[str]:
    return pattern.findall(document.read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """The anchor that a heading gets: lower case, hyphens for blanks, other signs left out."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}


def leads_somewhere(link: str, document: Path) -> bool:
    path, _, part = link.partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not part or part in anchors(target))


def test_there_is_something_to_check() -> None:
    assert len(DOCUMENTS) > 8
    assert sum(len(named(PYTHON_FILE, document)) for document in DOCUMENTS) > 20
    assert sum(len(named(LINK, document)) for document in DOCUMENTS) > 20


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    missing = [
        name
        for name in named(PYTHON_FILE, document)
        if not any((root / name).is_file() for root in (PACKAGE, REPOSITORY))
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    links = [link for link in named(LINK, document) if not re.match(r"\w+:", link)]
    assert [link for link in links if not leads_somewhere(link, document)] == []


def test_tests_that_the_reliability_page_names_exist() -> None:
    document = REPOSITORY / "docs" / "reliability.md"
    rows = [line for line in document.read_text(encoding="utf-8").splitlines() if "| `" in line]
    assert len(rows) > 20
    missing = []
    for row in rows:
        tests = TEST.findall(row.rsplit("|", 2)[1])
        assert tests or "`make " in row, f"no test in: {row}"
        for test in tests:
            file, _, function = test.partition("::")
            path = REPOSITORY / "tests" / f"{file}.py"
            code = path.read_text(encoding="utf-8") if path.is_file() else ""
            if not code or (function and f"def {function}(" not in code):
                missing.append(test)
    assert missing == []
