"""The exceptions that are meant for the person at the screen."""


class UserError(Exception):
    """Something the user can mend.

    The message says what came, what was expected and what to do next, in full sentences: the
    window and the command line show it as it is.

    >>> from pathlib import Path
    >>> from napari_mlbseg.api import read_image
    >>> read_image(Path("nobody.nii.gz"))
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: nobody.nii.gz cannot be read: No such file or directory.
    """


class StudyGone(UserError):  # noqa: N818 (a state of the study, not a mistake)
    """The folder of an open study was removed, moved away or replaced by another.

    Once raised, the study writes nothing any more: whatever lies at its path is somebody else's.
    """

    def __init__(self, folder: object) -> None:
        super().__init__(
            f"{folder} is no longer the study that was opened: its folder was removed, moved or "
            "replaced meanwhile. The last change was not saved, and nothing more is written "
            "there. Put the folder back in its place, then close the study and open it again."
        )
