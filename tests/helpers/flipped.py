"""Bytes of a file that change on the disk, as they do when a disk or a memory chip fails."""

from pathlib import Path


def flip(file: Path, text: bytes, nth: int = 0, *, at: int = 0, bits: int = 1) -> None:
    """Flip bits of the byte `at` bytes behind the start of the nth place that holds `text`.

    A negative `nth` counts from the end of the file.
    """
    content = bytearray(file.read_bytes())
    places = [i for i in range(len(content)) if content.startswith(text, i)]
    content[places[nth] + at] ^= bits
    file.write_bytes(content)
