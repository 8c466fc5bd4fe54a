"""A process that paints, accepts, trains, publishes, checkpoints and exports, until SIGKILL."""

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.study import Study

SHAPE = (10, 32, 30)
PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1])))
from lives import SHAPE, painted
from napari_mlbseg.api import (
    Bootstrapper, Config, ExportKind, Failed, Inbox, OutFormat, SliceAccepted, SliceKey, SliceState,
    Study, export_study,
)
import pkgutil, importlib
import napari_mlbseg.engine as engine

# Once for all lives, which are forked: torch, MONAI and what needs them.
for found in pkgutil.walk_packages(engine.__path__, "napari_mlbseg.engine."):
    importlib.import_module(found.name)
import monai.networks.nets

def live(path, out, number, say):
    chance = random.Random(number)
    def save(study, state):
        key = SliceKey("phantom0", 0, chance.randrange(SHAPE[0]))
        seed = chance.randrange(1 << 30)
        record = study.save_slice(key, painted(seed), state)
        say("clean" if state is SliceState.CLEAN else "draft", revision=record.revision, seed=seed)
        return key

    with Study.open(path) as study:
        say("opened")
        for _ in range(3):
            save(study, SliceState.DRAFT)
        save(study, SliceState.CLEAN)
        inbox = Inbox()
        config = Config(
            base_steps=2, steps=1, slice_size=32, device="cpu", threads=1, seed=number,
            resume=bool(number % 2),
        )
        for event in Bootstrapper(study, config).events(inbox):
            if isinstance(event, Failed):
                raise SystemExit(event.message)
            say(getattr(getattr(event, "stage", None), "value", type(event).__name__))
            if chance.random() < 0.2:
                inbox.put(SliceAccepted(save(study, SliceState.CLEAN)))
        say("exporting")
        export_study(study, out, ExportKind.LABELS, form=OutFormat.NRRD)
        say("exported")
    say("closed")

def killed(path, out, number, after, pause_s):
    # The words of a life that is killed a moment after so many of them.
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        def say(word, **more):
            os.write(writing, (json.dumps({"word": word, **more}) + "\\n").encode())
        try:
            live(path, out, number, say)
        except BaseException as error:
            say("failed", why=repr(error))
            os._exit(1)
        os._exit(0)
    os.close(writing)
    words = []
    with open(reading) as lines:
        for line in lines:
            words.append(json.loads(line))
            if len(words) == after:
                time.sleep(pause_s)
                os.kill(child, signal.SIGKILL)
    return {"killed": os.WIFSIGNALED(os.waitpid(child, 0)[1]), "words": words}

for line in sys.stdin:
    path, out, *rest = json.loads(line)
    print(json.dumps(killed(Path(path), Path(out), *rest)), flush=True)
"""


def painted(seed: int) -> NDArray[np.uint8]:
    """What is painted on a slice, by a number: classes 0, 1 and 7."""
    return np.random.default_rng(seed).choice([0, 1, 7], SHAPE[1:]).astype(np.uint8)


def check_saved(path: Path, saved: dict[int, int]) -> None:
    """Each revision that was said to be saved is there, as it was painted."""
    with Study.open(path, writable=False) as study:
        for revision, seed in saved.items():
            np.testing.assert_array_equal(study.slices.revision_mask(revision), painted(seed))


def check_exported(out: Path) -> int:
    """Each label file is the one that its provenance tells of; returns how many have one."""
    told = list(out.glob("*.provenance.json"))
    for path in told:
        document = json.loads(path.read_text(encoding="utf-8"))
        file = out / document["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == document["sha256"]
    return len(told)


@dataclass(frozen=True)
class Life:
    """What a process said before it was killed, or before it ended."""

    killed: bool
    words: Sequence[dict[str, object]]

    @property
    def saved(self) -> dict[int, int]:
        """Revisions that it was told are saved, with the numbers of what was painted."""
        return {int(str(w["revision"])): int(str(w["seed"])) for w in self.words if "seed" in w}


@dataclass
class Lives:
    """Lives of one study, one after the other.

    Attributes
    ----------
    fell
        During what the kills fell: the last word before each of them.
    """

    study: Path
    out: Path
    seed: int
    fell: Counter[str] = field(default_factory=Counter)

    def killed(self, count: int) -> Iterator[Life]:
        """One whole life, then so many that are killed somewhere within, then another whole one."""
        chance = random.Random(self.seed)
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            whole = self._live(process, 0, 0, 0.0)
            yield whole
            number = 1
            while sum(self.fell.values()) < count:
                after = chance.randint(1, len(whole.words) - 1)
                life = self._live(process, number, after, chance.uniform(0, 0.05))
                number += 1
                if life.killed:
                    self.fell[str(life.words[-1]["word"])] += 1
                yield life
            whole = self._live(process, number, 0, 0.0)
            assert whole.words[-1]["word"] == "closed"
            yield whole

    def _live(self, process: "subprocess.Popen[str]", *asked: float) -> Life:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(self.study), str(self.out), *asked]) + "\n")
        process.stdin.flush()
        life = Life(**json.loads(process.stdout.readline()))
        assert life.words[-1]["word"] != "failed", life.words[-1]
        return life
