"""The page of a report: facts in words and tables."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from napari_mlbseg.engine.events import Stage, ValidationScored
from napari_mlbseg.engine.forecast import Measured, forecast_in_words
from napari_mlbseg.engine.wording import of_dice
from napari_mlbseg.formats.dicom_out.about import SOFTWARE
from napari_mlbseg.project.folder.lock import current_user
from napari_mlbseg.project.importing.rules import in_words
from napari_mlbseg.project.records.slices import NEVER_LOOKED_AT, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.report.effort import BREAK_S, Effort
from napari_mlbseg.report.facts import Facts, Picture
from napari_mlbseg.report.html import Child, Markup, element, section, table
from napari_mlbseg.report.people import people_of
from napari_mlbseg.report.pictures import curves_uri
from napari_mlbseg.report.scores import Estimate, estimate_of
from napari_mlbseg.volume import Geometry

_NO_NETWORK: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { padding: .2rem .8rem .2rem 0;
text-align: left; vertical-align: top; } td.number { text-align: right; font-variant-numeric:
tabular-nums; } tbody tr { border-top: 1px solid #eee; } img { max-width: 100%; }
figure { margin: 1rem 0; } figcaption, .note { color: #555; }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid #555; }
"""
_LIBRARIES: Final = ("torch", "monai", "numpy", "zarr", "nibabel", "pydicom", "highdicom")
_TARGETS: Final = (0.8, 0.85, 0.9, 0.95)
_PATHS: Final = ("begin_with",)
"""Settings that are paths, which may name a patient."""


def page_of(facts: Facts) -> str:
    """The whole page; nothing in it is loaded from elsewhere, and nothing in it runs."""
    study = facts.study
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_NO_NETWORK),
        element("meta", name="viewport", content="width=device-width"),
        element("title", f"{study.name}: report"),
        element("style", Markup(_STYLE)),
    )
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    made = f"Made {when} by {current_user()} with {SOFTWARE} {version(SOFTWARE)}."
    body = element(
        "body",
        element("h1", study.name),
        element("p", made, class_="note"),
        *_damage(facts),
        _progress(facts),
        _effort(facts),
        *people_of(study),
        _dice(facts),
        *_curves(facts),
        *_pictures(facts),
        _cases(facts),
        *_settings(facts),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _damage(facts: Facts) -> Iterator[Markup]:
    damaged = facts.study.damage()
    if damaged:
        yield section("Damage", element("ul", *(element("li", line) for line in damaged)))


def _progress(facts: Facts) -> Markup:
    total = sum(one.slices for one in facts.cases)
    counts = {
        state: sum(one.states.get(state, 0) for one in facts.cases)
        for state in (SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED)
    }
    unseen = sum(one.never_looked_at for one in facts.cases)
    rows: list[tuple[str, int, str]] = [("cases", len(facts.cases), "")]
    rows += [("slices", total, "")]
    rows += [(state.value, count, _share(count, total)) for state, count in counts.items()]
    rows += [(NEVER_LOOKED_AT, unseen, _share(unseen, total))]
    return section("Progress", table(("", "", ""), rows))


def _share(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else ""


def _effort(facts: Facts) -> Markup:
    heads = (
        "annotator",
        "corrected slices",
        "median time",
        "timed slices",
        "in all",
        "last",
    )
    how = (
        f"Time runs between two savings of one person that are less than {BREAK_S / 60:.0f} "
        "minutes apart; slices that came from files have none."
    )
    rows = [_effort_row(one) for one in facts.effort]
    return section("Effort", table(heads, rows), element("p", how, class_="note"))


def _effort_row(one: Effort) -> tuple[str | int, ...]:
    each = "unknown" if one.seconds_each is None else f"{one.seconds_each:.0f} s"
    return (
        *(one.author, one.corrected, each, one.timed),
        *(f"{one.minutes:.0f} min", f"{one.last:%Y-%m-%d}"),
    )


def _dice(facts: Facts) -> Markup:
    what = "prediction" if facts.predicted else "machine's labels"
    estimate = estimate_of(facts.unseen_scores)
    if estimate is None:
        how = (
            "There is no estimate: no validation slice is set aside yet. The network keeps some of "
            "the accepted slices for that once there are enough of them."
        )
        return section("Estimated Dice", element("p", how), *_agreement(facts, what))
    said = of_dice(
        ValidationScored(
            Stage.PUBLISHING, 0, estimate.dice, {}, estimate.uncertainty, estimate.slices
        )
    )
    how = (
        f"The {what} of validation slices against the accepted masks. The network never learnt "
        "from these slices. Where imported labels are kept as correct, they are part of what is "
        "compared. Pixels of all slices are pooled, and Dice is the mean over the "
        "classes; the interval (95 %) is Student's, over slices. The slices were chosen by people, "
        "not at random, so other slices may be easier or harder."
    )
    return section(
        "Estimated Dice",
        element("p", element("b", f"{said}.")),
        _classes_table(facts, estimate),
        element("p", how, class_="note"),
        *_targets(facts.measured),
        *_agreement(facts, what),
    )


def _classes_table(facts: Facts, estimate: Estimate) -> Markup:
    names = {one.value: one.name for one in facts.study.classes}
    rows = [(names.get(v, str(v)), f"{dice:.3f}") for v, dice in estimate.of_class.items()]
    return table(("class", "Dice"), rows)


def _targets(points: Sequence[Measured]) -> Iterator[Markup]:
    """How many more slices higher Dices are likely to take."""
    ahead = [target for target in _TARGETS if points and target > points[-1].dice]
    if ahead:
        last = points[-1]
        yield element(
            "p",
            f"Of the training, on validation slices: {last.dice:.2f} with {last.training_slices} "
            "training slices. If the Dice grows on as it has with their number so far (95 %):",
        )
        yield table(
            ("Dice", "takes"), [(f"{one:.2f}", forecast_in_words(points, one)) for one in ahead]
        )


def _agreement(facts: Facts, what: str) -> Iterator[Markup]:
    """How labels agree with all accepted slices; no estimate, as the network learns from them."""
    found = {f"the {what} of now": facts.scores, "the imported labels": facts.imported_scores}
    known = {name: estimate_of(scores) for name, scores in found.items()}
    rows = [(name, f"{one.dice:.3f}", one.slices) for name, one in known.items() if one is not None]
    if rows:
        yield element("p", "Agreement with all accepted slices, from which the network learns:")
        yield table(("", "Dice", "slices"), rows)


def _curves(facts: Facts) -> Iterator[Markup]:
    if any(facts.curves.values()):
        yield section("Curves", element("img", src=curves_uri(facts.curves), alt="losses and Dice"))


def _pictures(facts: Facts) -> Iterator[Markup]:
    if not facts.pictures:
        return
    count = len(facts.unseen_scores or facts.scores)
    of = "validation slices" if facts.unseen_scores else "accepted slices"
    said = (
        f"The best, the median and the worst of {count} {of}: the image alone, with the machine's "
        "labels, and with the accepted ones."
    )
    yield section("Slices", element("p", said), *map(_figure, facts.pictures))


def _figure(picture: Picture) -> Markup:
    key, case, width = picture.score.key, picture.case, 900
    axis = case.geometry.file_axes[key.axis]
    place = case.geometry.file_index(key.axis, key.index)
    said = f"{picture.what}: {case.name}, slice {place} along axis {axis}, Dice"
    return element(
        "figure",
        element(
            "img",
            src=picture.uri,
            alt=said,
            width=width,
            height=round(width * picture.height_to_width),
        ),
        element("figcaption", f"{said} {picture.score.dice:.3f}"),
    )


def _cases(facts: Facts) -> Markup:
    states = (SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED)
    heads = ("case", "shape", "mm", "slices", *(s.value for s in states), NEVER_LOOKED_AT)
    rows: list[Sequence[Child]] = [
        (
            one.case.name,
            "×".join(map(str, one.case.geometry.file_shape)),
            "×".join(f"{mm:.3g}" for mm in _spacing_mm(one.case.geometry)),
            one.slices,
            *(one.states.get(state, 0) for state in states),
            one.never_looked_at,
        )
        for one in facts.cases
    ]
    return section("Cases", table(heads, rows))


def _spacing_mm(geometry: Geometry) -> list[float]:
    """The size of a voxel along the axes of the file."""
    return [geometry.spacing_mm[geometry.display_axis(axis)] for axis in range(3)]


def _settings(facts: Facts) -> Iterator[Markup]:
    classes: list[Sequence[Child]] = [
        (c.value, _swatch(c.color), c.name, in_words(c.most_pieces, c.no_holes))
        for c in facts.study.classes
    ]
    yield section("Classes", table(("value", "", "name", ""), classes))
    if len(facts.study.channels) > 1:
        yield section("Channels", table(("", "cases without it"), _channels(facts.study)))
    run = facts.run
    if run is not None:
        about = [("run", str(run.id)), ("outcome", run.outcome or "did not end")]
        about += [("by", run.author), ("started", f"{run.started_at:%Y-%m-%d %H:%M}")]
        about += [("device", run.device), ("seed", str(run.seed))]
        about += [(k, str(v)) for k, v in sorted(run.config.items()) if k not in _PATHS]
        yield section("Settings of the run behind the labels", table(("", ""), about))
    versions = [("Python", sys.version.split()[0]), (SOFTWARE, version(SOFTWARE))]
    versions += [(name, known) for name in _LIBRARIES if (known := _version(name))]
    yield section("Versions that made this page", table(("", ""), versions))


def _channels(study: Study) -> list[tuple[str, str]]:
    """Each channel, and the cases that lack it."""
    return [
        (name, ", ".join(case.name for case in study.cases if case.channels[place].image is None))
        for place, name in enumerate(study.channels)
    ]


def _swatch(color: tuple[int, int, int]) -> Markup:
    return element("span", class_="swatch", style="background: #{:02x}{:02x}{:02x}".format(*color))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
