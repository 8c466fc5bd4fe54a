"""What a report tells of several people: reviews, and how far they agree."""

from collections import Counter
from collections.abc import Iterator, Sequence

from napari_mlbseg.project.records.reviews import Review, Verdict
from napari_mlbseg.project.sharing.agreement import Agreement, agreement
from napari_mlbseg.project.study import Study
from napari_mlbseg.report.html import Child, Markup, element, section, table


def people_of(study: Study) -> Iterator[Markup]:
    """The sections about several people; none where one person worked alone."""
    yield from _reviews(study)
    yield from _agreement(study, agreement(study))


def _reviews(study: Study) -> Iterator[Markup]:
    given = [review for found in study.reviews.all().values() for review in found]
    if not given and not study.reviews.only_approved:
        return
    records = study.slices.records()
    approved = sum(record.approved for record in records)
    waiting = sum(record.to_review for record in records)
    returned = sum(record.returned for record in records)
    clean = approved + waiting
    share = f" ({approved / clean:.1%})" if clean else ""
    said = (
        f"{approved} of {clean} accepted slices are approved{share}, {waiting} are to be reviewed, "
        f"and {returned} were sent back and not accepted anew. "
    )
    said += "Only approved slices teach." if study.reviews.only_approved else "All of them teach."
    yield section(
        "Reviews",
        element("p", said),
        table(("reviewer", "approved", "sent back", "last"), _by_reviewer(given)),
    )


def _by_reviewer(given: Sequence[Review]) -> list[Sequence[Child]]:
    counts = Counter((review.author, review.verdict) for review in given)
    last = {one.author: one.created_at for one in sorted(given, key=lambda one: one.created_at)}
    return [
        (name, *(counts[name, verdict] for verdict in Verdict), f"{last[name]:%Y-%m-%d}")
        for name in sorted(last)
    ]


def _agreement(study: Study, found: Sequence[Agreement]) -> Iterator[Markup]:
    if not found:
        return
    names = {one.value: one.name for one in study.classes}
    rows = [
        (
            " and ".join(one.people),
            names.get(one.value, str(one.value)),
            one.slices,
            f"{one.dice:.3f}",
            "" if one.distance_mm is None else f"{one.distance_mm:.2f}",
        )
        for one in found
    ]
    how = (
        "Means over slices that both accepted in copies of the study, neither having seen the "
        "other's mask. The distance is the mean between the two outlines, both ways."
    )
    heads = ("people", "class", "slices", "Dice", "distance mm")
    yield section("Agreement", table(heads, rows), element("p", how, class_="note"))
