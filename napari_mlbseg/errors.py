"""The exceptions that are meant for the user."""


class UserError(Exception):
    """Something the user can fix.

    The message says what came, what was expected and what to do next, in full sentences; the
    window and the command line show it unchanged.

    >>> from pathlib import Path
    >>> from napari_mlbseg.api import read_image
    >>> read_image(Path("nobody.nii.gz"))
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: nobody.nii.gz cannot be read: No such file or directory.
    """


class Damaged(UserError):  # noqa: N818 (a state of a file, not a mistake)
    """Something that is stored cannot be what was saved; whatever does not need it still works."""


class StudyGone(UserError):  # noqa: N818 (a state of the study, not a mistake)
    """The folder of an open study was removed, moved away or replaced by another.

    After that, the study writes nothing: whatever lies at its path belongs to somebody else.
    """

    def __init__(self, folder: object) -> None:
        super().__init__(
            f"{folder} is no longer the study that was opened: its folder was removed, moved or "
            "replaced. The last change was not saved, and nothing more will be written there. "
            "Put the folder back in its place, then close the study and open it again."
        )
