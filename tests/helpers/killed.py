"""Work that is killed at a chosen step: before one of the things that it does to the disk."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRELUDE = """
import json, os, signal, sys, threading
from pathlib import Path

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open", "os.symlink", "os.link"}

def killed_before(step, watched, work):
    # In a child process: do the work, and die by SIGKILL before its step of that number.
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        return "killed" if os.WIFSIGNALED(status) else f"ended {os.WEXITSTATUS(status)}"
    done = 0

    def hook(event, args):
        nonlocal done
        if event not in STEPS or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        paths = [os.fsdecode(a) for a in args if isinstance(a, (str, bytes, os.PathLike))]
        if any(path.startswith(watched) for path in paths):
            done += 1
            if done == step:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(hook)
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)

def serve(work):
    for line in sys.stdin:
        step, watched, *arguments = json.loads(line)
        print(killed_before(step, watched, lambda: work(*arguments)), flush=True)
"""


class Killer:
    """Does some work in a process of its own that is killed before a step."""

    def __init__(self, program: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PRELUDE + program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def killed(self, step: int, watched: Path, *arguments: object) -> bool:
        """Whether the work was killed; False if it ended before it came to that step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([step, str(watched), *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        assert said in ("killed", "ended 0"), said
        return said == "killed"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def killer(program: str, *arguments: object) -> Iterator[Killer]:
    """A `Killer` that is gone afterwards."""
    made = Killer(program, *arguments)
    try:
        yield made
    finally:
        made.close()


def lines_until_killed(process: subprocess.Popen[str], count: int) -> list[str]:
    """Kill a process after its next lines of output; returns all whole lines that it wrote.

    `communicate` would miss lines that reading the first ones had already taken from the pipe.
    """
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    process.kill()
    lines += process.stdout.readlines()
    process.wait()
    whole = [line for line in lines if line.endswith("\n")]
    assert len(whole) >= count, lines
    return whole
