"""What a test opens ends with it: studies are closed, threads are over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from napari_mlbseg.project.study import Study

PATIENCE_S = 120.0
OURS = "mlbseg"
"""Beginning of the names of the program's threads."""

ends_with_the_test: list[Study] = []
"""Studies that are closed after the test that made them, unless it has done so itself."""


@contextmanager
def studies_watched() -> Iterator[list[Study]]:
    """Every study that is opened meanwhile."""
    opened: list[Study] = []
    begin = Study.__init__

    def remember(study: Study, *arguments: object, **named: object) -> None:
        begin(study, *arguments, **named)  # type: ignore[arg-type]
        opened.append(study)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "__init__", remember)
        yield opened


def is_open(study: Study) -> bool:
    return not study._place._left


def threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(OURS)}


def still_running(before: set[threading.Thread]) -> list[str]:
    """Names of threads that do not end by themselves, of those that were begun since."""
    begun = threads() - before
    for thread in begun:
        thread.join(PATIENCE_S)
    return sorted(thread.name for thread in begun if thread.is_alive())
