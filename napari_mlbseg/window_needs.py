"""What the window needs beside the engine: the extra `napari` of this package, and a Qt binding.

An engine on a server does without both, so pip does not insist on them; this does instead.
"""

from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from napari_mlbseg.errors import UserError

EXTRA = "napari"
BINDINGS = ("PyQt6", "PySide6", "PyQt5")


def check_window() -> None:
    """Raise a `UserError` that says what to install where the window cannot open."""
    lacking = unmet(metadata.requires("napari-mlbseg") or ())
    if not any(find_spec(binding) for binding in BINDINGS):
        lacking.append("a Qt binding")
    if lacking:
        raise UserError(
            f"The window needs what is not installed here: {', '.join(lacking)}. "
            'Run: pip install "napari-mlbseg[pyqt6]"'
        )


def unmet(requirements: Iterable[str]) -> list[str]:
    """What this environment lacks of the extra `napari`, in words.

    Parameters
    ----------
    requirements
        Those of a distribution, as in its metadata: ``napari>=0.9; extra == 'napari'``.
    """
    ours = [Requirement(each) for each in requirements]
    told = [
        _lack(one)
        for one in ours
        if one.marker is not None
        and one.marker.evaluate({"extra": EXTRA})
        and not one.marker.evaluate({"extra": ""})
    ]
    return [lack for lack in told if lack is not None]


def _lack(one: Requirement) -> str | None:
    wanted = f"{one.name}{one.specifier}"
    try:
        found = metadata.version(one.name)
    except metadata.PackageNotFoundError:
        return wanted
    met = one.specifier.contains(found, prereleases=True)
    return None if met else f"{wanted} (here is {found})"
