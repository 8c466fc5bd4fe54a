"""What runs where the repository is hosted cannot run here; all that it names has to exist here."""

import re
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import napari_mlbseg
from napari_mlbseg.former_names import FORMER

REPOSITORY = Path(__file__).parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").iterdir())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
LOCKED = dict(re.findall(r"^([^#=]+)==(.+)$", (REPOSITORY / "requirements.lock").read_text(), re.M))
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
SCHEMAS = {
    "vendor.github-workflows": "workflows/*.yml",
    "custom.github-workflows-require-timeout": "workflows/*.yml",
    "vendor.dependabot": "dependabot.yml",
    "vendor.github-issue-config": "ISSUE_TEMPLATE/config.yml",
    "vendor.github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.citation-file-format": "../CITATION.cff",
}


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def jobs() -> dict[str, Any]:
    return {
        f"{path.stem}/{name}": job for path in WORKFLOWS for name, job in read(path)["jobs"].items()
    }


def commands() -> str:
    steps = [step for job in jobs().values() for step in job.get("steps", ())]
    return "\n".join(step["run"] for step in steps if "run" in step)


def matrix() -> Any:
    return jobs()["everywhere/test"]["strategy"]["matrix"]


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_files_follow_their_schema(schema: str) -> None:
    files = sorted((REPOSITORY / ".github").glob(SCHEMAS[schema]))
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_jobs_call_exists() -> None:
    targets = re.findall(r"\bmake ([a-z-]+)", commands())
    assert targets
    assert set(targets) <= TARGETS
    files = re.findall(r"(?<![\w/])((?:\.ci|scripts|tests|benchmarks)/[\w/.]*\w)", commands())
    assert files
    assert [name for name in files if not (REPOSITORY / name).exists()] == []
    called = [job["uses"] for job in jobs().values() if "uses" in job]
    assert called
    assert [name for name in called if not (REPOSITORY / name).is_file()] == []


def test_jobs_wait_for_jobs_of_their_workflow() -> None:
    for path in WORKFLOWS:
        found = read(path)["jobs"]
        for job in found.values():
            needs = job.get("needs", [])
            wanted = {needs} if isinstance(needs, str) else set(needs)
            assert wanted <= set(found), path.name


def test_extras_that_are_installed_exist() -> None:
    found = {
        name for names in re.findall(r"\.\[(.+?)\]\"", commands()) for name in names.split(",")
    }
    assert found == {"${{ matrix.qt }}", "test"}
    assert {"test", "docs", "deploy"} <= EXTRAS


def test_every_python_system_and_binding_is_tested() -> None:
    told = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert matrix()["python"] == told
    assert PROJECT["requires-python"] == f">={told[0]}"
    systems = ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert matrix()["system"] == systems
    others = {(extra["system"], extra["qt"]) for extra in matrix()["include"]}
    assert others == set(product(systems, ["pyside6", "pyqt5"]))
    assert set(matrix()["qt"]) | {qt for _, qt in others} == {
        extra for extra in EXTRAS if extra.startswith("py")
    }
    assert {extra["python"] for extra in matrix()["include"]} <= set(told)


def test_the_week_takes_what_is_newest() -> None:
    weekly = read(REPOSITORY / ".github/workflows/weekly.yml")
    assert weekly["jobs"]["newest"]["with"] == {"newest": True}
    (when,) = weekly["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["cron"])


def test_only_a_tag_is_published_and_only_by_trust() -> None:
    release = read(REPOSITORY / ".github/workflows/release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert not re.search(r"secrets\.|password", str(jobs()))
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}, path.name


def test_hooks_are_the_locked_versions() -> None:
    config = read(REPOSITORY / ".pre-commit-config.yaml")
    revisions = {Path(repo["repo"]).name: repo.get("rev") for repo in config["repos"]}
    assert revisions["ruff-pre-commit"] == f"v{LOCKED['ruff']}"
    assert revisions["check-jsonschema"] == LOCKED["check-jsonschema"]


@pytest.mark.parametrize(
    ("message", "fine"),
    [
        ("x" * 72, True),
        ("x" * 73, False),
        ("Why\n\n" + "x" * 90, True),
        ("x" * 80 + "\n\nWhy", False),
    ],
)
def test_long_subjects_are_refused(message: str, fine: bool) -> None:
    (local,) = (
        repo["hooks"]
        for repo in read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
        if repo["repo"] == "local"
    )
    (hook,) = local
    assert hook["stages"] == ["commit-msg"]
    assert hook["args"] == ["--multiline"]
    assert (re.search(hook["entry"], message, re.MULTILINE) is None) is fine


def test_the_citation_is_of_the_newest_release() -> None:
    found = read(REPOSITORY / "CITATION.cff")
    newest = re.search(r"^## \[(\d.*?)\] - (.*)$", CHANGELOG, re.M)
    assert newest is not None
    assert (found["version"], found["date-released"]) == newest.groups()
    assert found["license"] == PROJECT["license"]
    assert [author["name"] for author in found["authors"]] == [PROJECT["authors"][0]["name"]]
    (paper,) = found["references"]
    method = (REPOSITORY / "docs" / "method.md").read_text(encoding="utf-8")
    assert paper["title"] in " ".join(method.split())
    assert paper["url"] in method


def test_the_changelog_is_kept() -> None:
    versions = re.findall(r"^## \[(.+?)\](.*)$", CHANGELOG, re.M)
    assert versions[0] == ("Unreleased", "")
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", when) for _, when in versions[1:])
    assert versions[1][0] == napari_mlbseg.__version__
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.M)) <= kinds
    assert all(f"\n[{version}]: https://" in CHANGELOG for version, _ in versions)


def test_the_changelog_tells_every_former_name() -> None:
    # Until the version that forgets them, the names stand where a reader looks for them.
    (table,) = re.findall(r"### Changed\n(.*?)\n### ", CHANGELOG.split("\n## [0.1.0]")[0], re.S)
    rows = [line for line in table.splitlines() if line.strip().startswith("|")]
    missing = [
        name
        for name, former in FORMER.items()
        if not any(f"`{name}`" in row and f"`{former}`" in row for row in rows)
    ]
    assert missing == []


def test_links_of_the_project_lead_home() -> None:
    assert set(PROJECT["urls"]) >= {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    for name, url in PROJECT["urls"].items():
        assert "napari-mlbseg/napari-mlbseg" in url or name == "Documentation"
