"""The folder of this user's own files, which belong to no study."""

from contextlib import suppress
from pathlib import Path

import platformdirs


def user_folder() -> Path:
    """Return the folder, into which only this user may look; names of cases are in it.

    It may not exist yet where it cannot be made: whoever writes there is told why.
    """
    folder = platformdirs.user_data_path("napari-mlbseg", appauthor=False)
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # those of earlier versions could be read
    return folder
