"""The folder of this user's own files, which belong to no study."""

from pathlib import Path

import platformdirs


def user_folder() -> Path:
    """Return the folder; it may not exist yet."""
    return platformdirs.user_data_path("napari-mlbseg", appauthor=False)
