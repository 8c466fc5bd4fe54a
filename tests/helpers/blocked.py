"""Work that cannot import what belongs to a window, and that is told on if it calls anybody."""

import socket
import subprocess
import sys
import traceback
from pathlib import Path

WINDOW = (
    *("napari", "vispy", "qtpy", "superqt", "magicgui", "psygnal", "app_model", "npe2"),
    *("pyqtgraph", "PyQt5", "PyQt6", "PySide2", "PySide6"),
)
INTERNET = (socket.AF_INET, socket.AF_INET6)
NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
PEERS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}

calls: list[str] = []
"""Where this process looked a name up, connected, sent or listened to other machines."""
_refusing = False


def refuse_calls() -> None:
    """Raise, from now on, where this process calls anybody; and keep it: errors may be passed over.

    Sockets within the machine stay: urllib3 binds one to ::1 to learn whether there is IPv6.
    """
    global _refusing
    if not _refusing:  # a hook stays for good
        sys.addaudithook(_refuse)
    _refusing = True


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if event in PEERS:
        within = event == "socket.bind" and isinstance(args[1], tuple) and args[1][0] == "::1"
        if within or not isinstance(args[0], socket.socket) or args[0].family not in INTERNET:
            return
    elif event not in NAMES:
        return
    calls.append(event + "\n" + "".join(traceback.format_stack(limit=8)))
    raise OSError("This process may not use the network.")


def run_blocked(job: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python source without window and network; it fails where anything called out."""
    code = f"""
import sys
for name in {WINDOW!r}:
    sys.modules[name] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
import blocked, socket
blocked.refuse_calls()
{job}
assert not blocked.calls, blocked.calls[0]
"""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=1200,
    )
