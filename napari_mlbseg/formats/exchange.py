"""Exchanging two files or folders in a single step, where the system can do that.

A folder cannot be moved over another one; without an exchange there is a moment in which neither
the old nor the new folder has the name.
"""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

_HERE: Final = -100
"""Names are relative to the working folder: `AT_FDCWD` of Linux."""
_SWAP: Final = 2
"""`RENAME_EXCHANGE` of Linux, `RENAME_SWAP` of macOS."""


def exchanged(a: Path, b: Path) -> bool:
    """Exchange two files or folders of one disk; False where the system cannot do it."""
    names = os.fsencode(a), os.fsencode(b)
    call = _call()
    if call is None:
        return False
    if sys.platform == "darwin":
        return bool(call(*names, _SWAP) == 0)
    return bool(call(_HERE, names[0], _HERE, names[1], _SWAP) == 0)


@cache
def _call() -> Any:
    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    if name is None:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)
