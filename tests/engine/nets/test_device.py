"""What a run gives back when it has ended."""

import os
import platform
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from napari_mlbseg.engine.nets.device import release_all_memory


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep no freed memory")
def test_what_the_thread_of_a_run_has_freed_goes_back_to_the_system() -> None:
    kept: list[object] = []

    def run() -> None:
        pieces = [np.ones(60_000, np.uint8) for _ in range(3000)]  # 180 MB
        kept.append(pieces[-1])  # so that they do not lie at the end of the thread's memory

    thread = Thread(target=run)
    thread.start()
    thread.join()
    before = resident_mb()
    release_all_memory()
    assert before - resident_mb() > 100
