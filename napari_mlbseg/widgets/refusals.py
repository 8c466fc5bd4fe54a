"""Refusals: what cannot be done at the moment, in words for the annotator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study


@contextmanager
def reporting(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell the annotator about errors meant for a person, instead of raising them."""
    try:
        yield
    except (UserError, OSError) as error:
        tell(str(error))


def opened(study: Study | None) -> Study:
    """Return the study; UserError if none is open."""
    if study is None:
        raise UserError("Open or create a study first.")
    return study


def for_writing(study: Study | None) -> Study:
    """Return the study; UserError if none is open, or if it is open read-only."""
    if not opened(study).writable:
        raise UserError("This study is open read-only.")
    return opened(study)
