"""Hours of work in one window: memory, threads, handles and layers have to stay as they are.

    python tests/widgets/soak/run.py --minutes 60
    python tests/widgets/soak/run.py --rounds 100

In each round somebody changes the case, paints and accepts slices, skips, undoes, looks at maps,
starts a training, stops it, and exports now and then. Prints what the process holds after each
round, and at the end what has grown since the first rounds; exit status 1 if something has:

- memory: by more than 5 % over the highest value of the first rounds (five minutes, or a fifth);
- threads, handles (open files), layers: at all.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.exporting.export import ExportKind
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.widgets.case.commands import BY_NAME
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.requests import Export

WARM_S = 300.0
GROWTH = 1.05
PATIENCE_S = 1200.0
SHORT = Config(base_steps=4, steps=4, slice_size=32, device="cpu", threads=1, resume=False)


@dataclass(frozen=True)
class Held:
    """What the process holds after a round; its threads are the program's own."""

    minutes: float
    memory_mb: float
    threads: int
    handles: int
    layers: int

    def __str__(self) -> str:
        return "{:7.1f} min {:8.1f} MB {:3d} threads {:4d} handles {:3d} layers".format(
            *astuple(self)
        )


class Work:
    """A window with a study of two cases, and somebody who works in it."""

    def __init__(self, folder: Path) -> None:
        self._out = folder / "out"
        cohort = make_phantom_cohort(folder / "cohort", cases=2)
        with Study.create(folder / "soak.mlbseg") as study:
            import_folder(study, cohort.images, cohort.labels)
        self._viewer = napari.Viewer()
        self._dock: MLBSegDock = open_dock(self._viewer, folder / "soak.mlbseg")
        self._started = time.monotonic()
        self._failures: list[str] = []
        self._dock.workbench.failed.connect(self._failures.append)

    def round(self, number: int) -> Held:
        """Work for a while, and tell what is held afterwards."""
        bench = self._dock.workbench
        bench.view.choose(f"phantom_0{1 + number % 2}")
        for index in (5 + number % 6, 12 + number % 5):
            self._correct(index, label=number % 2)
        for name in ("skip", "undo", "undo", "redo"):
            bench.view.act(BY_NAME[name])
        self._dock.run("trust")
        self._dock.run("trust")
        assert bench.train(SHORT), self._failures
        self._until(lambda: not bench.bridge.running or number % 2 == 1)  # the others are cut off
        self._dock.training_panel.stop_requested.emit()
        self._until(lambda: not bench.bridge.running)
        if number % 5 == 0:
            bench.export(Export(ExportKind.LABELS, self._out, None))
            self._until(lambda: not bench.errands.running)
        assert not self._failures, self._failures
        return self._held()

    def close(self) -> None:
        self._viewer.close()

    def _correct(self, index: int, label: int) -> None:
        bench = self._dock.workbench
        annotation = bench.annotation
        assert annotation is not None
        annotation.go_to(index)
        for column in range(4, 20, 4):
            annotation.layers.working.paint((index, 8, column), label)
            QApplication.processEvents()
        bench.view.act(BY_NAME["accept"])
        QApplication.processEvents()

    def _until(self, ended: Callable[[], bool]) -> None:
        last = time.monotonic() + PATIENCE_S
        while not ended():
            assert time.monotonic() < last, "this does not end"
            QApplication.processEvents()
            time.sleep(0.01)

    def _held(self) -> Held:
        gc.collect()
        return Held(
            (time.monotonic() - self._started) / 60,
            resident_mb(),
            sum(t.name.startswith("mlbseg") for t in threading.enumerate()),
            len(os.listdir("/proc/self/fd")),
            len(self._viewer.layers),
        )


def resident_mb() -> float:
    """Memory of this process, from the kernel."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown(first: Sequence[Held], later: Sequence[Held]) -> list[str]:
    """What is held at the end, in words, that was not held at the beginning.

    Memory counts by its lowest value of the last rounds: a peak of one round is no leak.
    """
    found = []
    memory, now = max(h.memory_mb for h in first), min(h.memory_mb for h in later[-3:])
    if now > GROWTH * memory:
        found.append(f"memory: {memory:.0f} MB at most in the first rounds, {now:.0f} MB now")
    for name in ("threads", "handles", "layers"):
        before, after = (
            max(getattr(h, name) for h in first),
            min(getattr(h, name) for h in later[-3:]),
        )
        if after > before:
            found.append(f"{name}: {before} at most in the first rounds, {after} now")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="how long to work")
    parser.add_argument("--rounds", type=int, help="or how many trainings to start and stop")
    options = parser.parse_args()
    rounds: int | None = options.rounds
    held: list[Held] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder))

        def over() -> bool:
            if rounds is not None:
                return len(held) >= rounds
            return bool(held and held[-1].minutes >= options.minutes)

        while not over():
            held.append(work.round(len(held)))
            print(len(held), held[-1], flush=True)
        work.close()
    warm = max(2, len(held) // 5)
    if rounds is None:
        warm = max(warm, sum(h.minutes * 60 < WARM_S for h in held))
    found = grown(held[:warm], held[warm:] or held)
    print(
        f"{len(held)} rounds, {held[-1].minutes:.1f} minutes:", "; ".join(found) or "nothing grew"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
