"""The commands that train; Ctrl-C stops them with a checkpoint."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_mlbseg.cli.output import damage_notes
from napari_mlbseg.cli.progress import follow
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Inbox, Stop
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.project.study import Study


def run(path: Path, config: Config) -> dict[str, Any]:
    """Run the engine on a study until it is done or Ctrl-C is pressed."""
    with Study.open(path) as study, _stop_on_interrupt() as inbox:
        damage = study.damage()
        damage_notes(damage)
        told = follow(Bootstrapper(study, config).events(inbox))
        names = {case.id: case.name for case in study.cases}
        told["not_refreshed"] = {names[i]: count for i, count in told["not_refreshed"].items()}
        return {"study": str(study.path), "damage": list(damage), **told}


def demo(folder: Path) -> dict[str, Any]:
    """Run the demo in a folder; if it has already run there, return that result."""
    from napari_mlbseg import demo

    done = demo.saved_summary(folder)
    if done is not None:
        return done
    ran = run(demo.prepare(folder), demo.CONFIG)
    return ran if ran["stopped"] else demo.report(folder, ran)


@contextmanager
def _stop_on_interrupt() -> Iterator[Inbox]:
    inbox, leaving = Inbox(), False

    def leave(number: int, frame: object) -> None:
        nonlocal leaving
        leaving = True
        raise KeyboardInterrupt

    def stop(number: int, frame: object) -> None:
        inbox.put(Stop())
        signal.signal(signal.SIGINT, leave)
        # Not through sys.stderr: it may be in the middle of a write.
        os.write(2, b"\nStopping; press Ctrl-C again to leave at once.\n")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield inbox
    except Exception:
        if leaving:  # the engine turned the interrupt into an event, and that into this error
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
