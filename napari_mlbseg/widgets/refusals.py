"""What cannot be done as things stand, in words for the annotator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study


@contextmanager
def reporting(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell what went wrong inside instead of raising it, where it is meant for a person."""
    try:
        yield
    except (UserError, OSError) as error:
        tell(str(error))


def opened(study: Study | None) -> Study:
    """The study; UserError where none is open."""
    if study is None:
        raise UserError("Open or create a study first.")
    return study


def for_writing(study: Study | None) -> Study:
    """The study; UserError where none is open, or for reading only."""
    if not opened(study).writable:
        raise UserError("This study is open for reading only.")
    return opened(study)
