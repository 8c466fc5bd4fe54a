"""A report: what it says, and that nothing in it comes from elsewhere or runs."""

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing import ORGAN, SCAR, SHAPE, accept, make_study
from command_line import Mlbseg
from matplotlib.image import imread
from two_channels import two_channel_case

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.log import AuditEntry
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.sharing.splitting import split
from napari_mlbseg.project.study import Study
from napari_mlbseg.report import facts as facts_module
from napari_mlbseg.report.effort import accepted_in, effort_of
from napari_mlbseg.report.report import write_report
from napari_mlbseg.report.scores import (
    SliceScore,
    best_median_worst,
    counts_of,
    estimate_of,
)

BAD = "<script>alert(1)</script>"
QUOTED = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """What another reader makes of a page: elements with attributes, and the text of each."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def with_run(study: Study) -> None:
    run = study.runs.start({"steps": 5, "begin_with": "/home/JANE/x"}, seed=3, device="cpu")
    for step in range(3):
        score = {"validation dice": 0.5, "validation dice error": 0.01, "validation slices": 10}
        study.runs.log(run, step, {**score, "meta loss": 1 / (step + 1), "training slices": 20})
    study.runs.finish(run, outcome="finished")
    for case in study.cases:
        study.arrays.create(case.id, ArrayName.PREDICTION)[:] = 1


def test_a_page_tells_progress_dice_cases_and_settings(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_run(study)
    keys = frozenset(SliceKey(case_id, 0, 1) for case_id in "ab")
    monkeypatch.setattr(facts_module, "_validation_slices", lambda _: keys)
    page = Page(write_report(study, tmp_path / "out" / "report.html"))
    masks = [study.slices.mask(key) for key in sorted(keys)]
    shared = sum(int((mask == 1).sum()) for mask in masks)
    marked = sum(int((mask == 1).sum()) + mask.size for mask in masks)
    assert f"Dice {2 * shared / marked / 3:.2f} on 2 validation slices, too few" in page.text
    assert f"\n{2 * shared / marked:.3f}\n" in page.text  # of the organ; the others are 0
    assert "0.50 with 20 training slices" in page.text
    assert re.search(r"\n0\.95\s+too few scores to tell yet", page.text)
    for words in ("organ", "scar", "steps", "finished", "napari-mlbseg"):
        assert words in page.text
    assert "JANE" not in page.text
    assert re.search(r"\nada\s+2\s", page.text)  # who corrected two slices
    sources = [str(one["src"]) for one in page.all("img")]
    assert len(sources) == 3  # curves, and two slices, as there are no three
    for source in sources:
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert imread(BytesIO(b64decode(data))).ndim == 3
    picture = imread(BytesIO(b64decode(sources[1].split(",")[1])))
    assert picture.shape[:2] == (SHAPE[1], 3 * SHAPE[2] + 2 * 4)


@pytest.mark.parametrize("name", [BAD, QUOTED, "a & b", "$x^2$"])
def test_names_of_anybody_are_text_and_nothing_runs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_study(tmp_path) as made:
        path = made.path
    path = path.rename(tmp_path / f"{name.replace('/', ' ')}.mlbseg")
    monkeypatch.setattr("napari_mlbseg.report.page.current_user", lambda: name)
    with Study.open(path, author=name) as study:
        study.set_classes([replace(ORGAN, name=name), SCAR])
        study.changes.rename("a", name.replace("/", " "))
        study.save_slice(SliceKey("a", 0, 2), np.ones(SHAPE[1:], np.uint8), SliceState.CLEAN)
        run = study.runs.start({name: name}, seed=0, device=name)
        study.runs.log(run, 1, {name: 1.0})
        page = Page(write_report(study, tmp_path / "report.html"))
    assert name in page.text
    assert name.replace("/", " ") in page.text
    assert not page.all("script")
    tags = {"html", "head", "meta", "title", "style", "body", "section", "img", "figure"}
    tags |= {"figcaption", "h1", "h2", "p", "b", "span"}
    tags |= {"table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in page.elements} <= tags
    allowed = {"src", "alt", "class", "charset", "content", "height", "http-equiv", "lang", "name"}
    allowed |= {"style", "width"}
    assert {key for _, attributes in page.elements for key in attributes} <= allowed


def test_nothing_is_loaded_from_elsewhere(study: Study, tmp_path: Path) -> None:
    with_run(study)
    path = write_report(study, tmp_path / "report.html")
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    policies = [one["content"] for one in Page(path).all("meta") if "http-equiv" in one]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_a_page_never_lies_in_a_study_and_ends_in_html(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="inside the study"):
        write_report(study, study.path / "report.html")
    with pytest.raises(UserError, match=r"ends in \.html"):
        write_report(study, tmp_path / "report.pdf")


def test_a_page_that_cannot_be_made_leaves_the_old_one(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(study, tmp_path / "report.html")
    before = path.read_bytes()
    monkeypatch.setattr("napari_mlbseg.report.report.page_of", lambda _: "\ud800")
    with pytest.raises(UnicodeEncodeError):
        write_report(study, path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.glob(".*")] == []


def test_channels_are_named_with_the_cases_that_lack_them(tmp_path: Path) -> None:
    with Study.create(tmp_path / "head.mlbseg") as head:
        cases = (two_channel_case(tmp_path, "ann"), two_channel_case(tmp_path, "bo", filled=True))
        head.add_cases(cases)
        head.set_classes([ORGAN])
        page = Page(write_report(head, tmp_path / "head.html"))
    text = " ".join(page.text.split())
    assert "Channels cases without it T1 FLAIR bo" in text


def test_from_the_command_line(study: Study, tmp_path: Path, mlbseg: Mlbseg) -> None:
    path = tmp_path / "report.html"
    assert mlbseg("report", study.path, path).stdout == f"{path}\n"
    assert "no validation slice is set aside yet" in Page(path).text


# --- effort ---------------------------------------------------------------------------------------

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def entry(seconds: float, author: str, index: int, state: SliceState) -> AuditEntry:
    details = {"axis": 0, "slice": index, "state": state.value, "revision": 1}
    return AuditEntry(0, BEGIN + timedelta(seconds=seconds), author, "save slice", "a", details)


def test_time_runs_between_savings_that_are_close() -> None:
    draft, clean = SliceState.DRAFT, SliceState.CLEAN
    lines = [
        entry(0, "ada", 1, draft),
        entry(20, "bob", 7, draft),
        entry(40, "ada", 1, clean),  # 40 s
        entry(50, "bob", 7, clean),  # 30 s
        entry(100, "ada", 2, clean),  # 60 s
        entry(3000, "ada", 3, draft),  # after a break
        entry(3010, "ada", 3, clean),  # 10 s
        entry(3010.1, "ada", 4, clean),  # from a file
        entry(9000, "ada", 5, clean),  # after a break: not known
        replace(entry(9001, "ada", 6, clean), action="start run"),
    ]
    found = [(one.author, one.key.index, one.seconds) for one in accepted_in(lines)]
    assert found == [
        ("ada", 1, 40.0),
        ("bob", 7, 30.0),
        ("ada", 2, 60.0),
        ("ada", 3, 10.0),
        ("ada", 4, None),
        ("ada", 5, None),
    ]


def test_effort_counts_slices_that_are_clean_now(study: Study) -> None:
    accept(study, "a", 3, seed=1)
    study.slices.set_state(SliceKey("a", 0, 3), SliceState.SKIPPED)
    clean = study.slices.records(state=SliceState.CLEAN)
    [ada] = effort_of(accepted_in(study.log.entries()), clean)
    assert (ada.author, ada.corrected) == ("ada", 2)
    assert ada.last == max(record.created_at for record in clean)


# --- scores ---------------------------------------------------------------------------------------


def score(index: int, shared: int, marked: int) -> SliceScore:
    return SliceScore(SliceKey("a", 0, index), {1: (shared, marked)})


def test_dice_is_pooled_over_pixels_and_uncertain_over_slices() -> None:
    rng = np.random.default_rng(0)
    pairs = [rng.integers(0, 3, (2, 5, 6)).astype(np.uint8) for _ in range(4)]
    scores = [SliceScore(SliceKey("a", 0, k), counts_of(*pair)) for k, pair in enumerate(pairs)]
    found = estimate_of(scores)
    assert found is not None
    every = np.stack(pairs, axis=1)  # found and accepted, all slices
    for value in (1, 2):
        a, b = every == value
        assert found.of_class[value] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert found.dice == pytest.approx(np.mean([*found.of_class.values()]))
    each = [one.dice for one in scores]
    assert found.uncertainty == pytest.approx(np.std(each, ddof=1) / 2)
    assert estimate_of([]) is None


def test_best_median_and_worst() -> None:
    scores = [score(k, shared, 20) for k, shared in enumerate((3, 9, 1, 5, 7))]
    found = {what: one.key.index for what, one in best_median_worst(scores).items()}
    assert found == {"best": 1, "median": 3, "worst": 2}
    assert list(best_median_worst(scores[:1])) == ["best"]
    assert best_median_worst([]) == {}


def test_a_page_tells_reviews_and_agreement(study: Study, tmp_path: Path) -> None:
    names = [case.name for case in study.cases]
    for seed, (name, path) in enumerate(
        split(study, tmp_path / "copies", {"Ada": names, "Ben": names}).items()
    ):
        with Study.open(path, author=name) as copy:
            accept(copy, "a", 2, seed=seed)
            study.merge(copy)
    path = study.path
    study.close()
    with Study.open(path, author=BAD) as reviewer:
        key, other = (record.key for record in reviewer.slices.records(state=SliceState.CLEAN))
        reviewer.reviews.give([key], Verdict.APPROVED)
        reviewer.reviews.give([other], Verdict.RETURNED, "no")
        reviewer.reviews.let_teach(only_approved=True)
        page = Page(write_report(reviewer, tmp_path / "report.html"))
    assert "1 of 1 accepted slices are approved (100.0%)" in page.text
    assert "1 were sent back and not accepted anew. Only approved slices teach." in page.text
    assert BAD in page.text
    assert "Ada and Ben" in page.text
    assert "script" not in {name for name, _ in page.elements}
