"""A disk of its own, in a file, whose power can be cut: what was not flushed is gone.

The file system lies on a loop device. What has reached the device is in the file behind it; what is
only in the memory of the system is not. So a copy of the file is the disk after a power cut.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE_MB = 96


class LoopDisk:
    """A mounted file system; needs the rights to mount one."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._cuts = folder, 0
        self._image = folder / "disk.img"
        self.root = folder / "disk"

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """The disk for as long as the block lasts; skips the test where none can be had."""
        if os.name != "posix" or os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            pytest.skip("only the administrator of a Linux system can mount a disk")
        with self._image.open("wb") as file:
            file.truncate(SIZE_MB << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        # Nothing is flushed by itself within the test.
        with _mount(self._image, self.root, "loop,commit=3000") as root:
            yield root

    @contextmanager
    def after_a_cut(self) -> Iterator[Path]:
        """The disk as it would be if the power had failed now, on another mount point."""
        self._cuts += 1
        copy = self._folder / f"cut{self._cuts}.img"
        while True:
            shutil.copyfile(self._image, copy)
            if copy.read_bytes() == self._image.read_bytes():
                break  # nothing reached the device while it was copied
        try:
            with _mount(copy, self._folder / f"cut{self._cuts}", "loop") as root:
                yield root
        finally:
            copy.unlink()


@contextmanager
def _mount(image: Path, where: Path, options: str) -> Iterator[Path]:
    where.mkdir()
    try:
        _run("mount", "-o", options, str(image), str(where))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device can be mounted here: {error.stderr}")
    try:
        yield where
    finally:
        _run("umount", str(where))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
