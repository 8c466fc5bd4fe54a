"""Text headers of ``name: value`` or ``name = value`` lines, which NRRD and MetaImage share."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.streamed.stream import explained

_MOST_AXES: Final = 8
_ESCAPED: Final = re.compile(r"\\(n|\\)")


def read_start(path: Path, length: int) -> bytes:
    """The first `length` bytes of a file, or all of a shorter one."""
    with explained(path), path.open("rb") as file:
        return file.read(length)


@dataclass(frozen=True)
class TextHeader:
    """The fields of a text header, one on each line.

    Attributes
    ----------
    path
        The file that holds the header, for messages.
    kind
        The name of the format, for messages.
    separator
        The character between the name of a field and its value.
    lines
        The header line by line, exactly as in the file.
    fields
        The value of each field by its name in lower case.
    """

    path: Path
    kind: str
    separator: str
    lines: tuple[str, ...]
    fields: Mapping[str, str]

    @classmethod
    def parsed(cls, path: Path, kind: str, separator: str, block: bytes) -> "TextHeader":
        """The header in a block of bytes that ends before the voxels.

        Comments may be in UTF-8 or, as older programs write them, in Latin-1.

        Raises
        ------
        UserError
            If the block is not text.
        """
        if b"\0" in block:
            raise UserError(f"{path} has a damaged {kind} header: it is not text.")
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            text = block.decode("latin-1")
        # Only these end a line; other characters that Python takes for ends may stand in comments.
        lines = tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))
        pairs = [
            line.split(separator, 1)
            for line in lines
            if separator in line and not line.startswith("#")
        ]
        # NRRD writes free notes as "name:=value".
        fields = {n.strip().lower(): v.strip() for n, v in pairs if not v.startswith("=")}
        return cls(path, kind, separator, lines, fields)

    @property
    def pairs(self) -> Mapping[str, str]:
        """What an NRRD file says besides its fields: each ``key:=value``."""
        split = (line.split(":=", 1) for line in self.lines if not line.startswith("#"))
        return {pair[0].strip(): _unescaped(pair[1].strip()) for pair in split if len(pair) == 2}

    def first(self, *names: str, default: str = "") -> str:
        """The value of the first of several fields that is present."""
        return next((self.fields[name] for name in names if name in self.fields), default)

    def is_named(self, line: str, names: Collection[str]) -> bool:
        """Whether a line holds one of several fields."""
        return line.split(self.separator)[0].strip().lower() in names

    def kept(self, names: Collection[str]) -> list[str]:
        """The lines that hold certain fields, unchanged; other lines may name a patient."""
        return [line for line in self.lines if self.is_named(line, names)]

    def damaged(self, name: str) -> UserError:
        """The error for a field that is missing or makes no sense."""
        value = self.fields.get(name, "missing")[:80]
        return UserError(f"{self.path} has a damaged {self.kind} header: {name} is {value!r}.")

    def numbers(self, name: str, length: int) -> NDArray[np.float64]:
        """The `length` numbers of a field.

        Raises
        ------
        UserError
            If the field is missing or holds something else.
        """
        words = self.fields.get(name, "").split()
        try:
            found = np.array([float(word) for word in words])
        except ValueError as error:
            raise self.damaged(name) from error
        if found.size != length:
            raise self.damaged(name)
        return found

    def integer(self, name: str) -> int:
        """The one integer of a field.

        Raises
        ------
        UserError
            If the field is missing or holds something else.
        """
        try:
            return int(self.fields.get(name, ""))
        except ValueError as error:
            raise self.damaged(name) from error

    def sizes(self, name: str, count: str) -> tuple[int, ...]:
        """The sizes of all axes, as many as the field `count` announces.

        Raises
        ------
        UserError
            If the two fields disagree, or a size is not a positive integer.
        """
        try:
            sizes = tuple(int(word) for word in self.fields.get(name, "").split())
        except ValueError as error:
            raise self.damaged(name) from error
        if not 2 <= self.integer(count) <= _MOST_AXES:
            raise self.damaged(count)
        if len(sizes) != self.integer(count) or min(sizes) < 1:
            raise self.damaged(name)
        return sizes


def escaped(value: str) -> str:
    r"""A value of a pair as NRRD writes it: on one line, with every backslash doubled.

    >>> print(escaped("left\\right"))
    left\\right
    """
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else "\\", value)


def voxel_type(kind: str, *, big_endian: bool) -> np.dtype[Any]:
    """The type of stored voxels, for example ``"i2"``, with their byte order."""
    return np.dtype(kind).newbyteorder(">" if big_endian else "<")
