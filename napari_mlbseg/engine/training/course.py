"""The course of a run: its training, cut into rounds with a labelling of the cohort after each."""

from dataclasses import dataclass

from napari_mlbseg.engine.events import Stage

QUICK_STEPS = 300
"""Steps of the first round: enough for predictions that are worth a look."""
ROUND_STEPS = 500
"""Steps of a round of bootstrapping."""


@dataclass(frozen=True)
class Round:
    """A stretch of training, with a learning rate that falls from the full one to almost none."""

    stage: Stage
    steps: int


@dataclass(frozen=True)
class Course:
    """The rounds of a run, in order, and how many of them make the base model."""

    rounds: tuple[Round, ...]
    base_rounds: int

    def place(self, stage: Stage, number: int) -> int:
        """The round that a training is in, which may have begun with another course.

        >>> course = course_of(700, 500, renews_labels=True)
        >>> course.place(Stage.BOOTSTRAPPING, 0), course.place(Stage.BASE_MODEL, 7)
        (2, 1)
        """
        first = self.base_rounds if stage is Stage.BOOTSTRAPPING else 0
        last = self.base_rounds if stage is Stage.BASE_MODEL else len(self.rounds)
        return min(max(number, first), last - 1)

    def steps_after(self, done: int) -> int:
        """The steps of all rounds but the first `done`."""
        return sum(one.steps for one in self.rounds[done:])


def course_of(base_steps: int, steps: int, *, renews_labels: bool) -> Course:
    """Cut a run into rounds.

    The base model begins with a quick round, so that predictions can be seen early. Bootstrapping
    is cut into rounds if it renews the labels that it learns from.

    >>> [one.steps for one in course_of(700, 1200, renews_labels=True).rounds]
    [300, 400, 500, 500, 200]
    >>> [one.steps for one in course_of(60, 1200, renews_labels=False).rounds]
    [60, 1200]
    """
    base = _cut(base_steps, QUICK_STEPS, most=2)
    later = _cut(steps, ROUND_STEPS) if renews_labels else [steps]
    return Course(
        (
            *(Round(Stage.BASE_MODEL, length) for length in base),
            *(Round(Stage.BOOTSTRAPPING, length) for length in later),
        ),
        len(base),
    )


def _cut(steps: int, length: int, *, most: int | None = None) -> list[int]:
    """Parts of `length`, the last one of what is left; after `most` parts none is cut off."""
    parts: list[int] = []
    while steps > length and len(parts) + 1 != most:
        parts.append(length)
        steps -= length
    return [*parts, steps]
