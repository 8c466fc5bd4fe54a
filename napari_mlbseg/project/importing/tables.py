"""Tables as text, one line a row; they come from strangers like all files."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any


def table_rows(text: str, delimiter: str = ",") -> Sequence[Mapping[str, Any]]:
    """The rows of a table, by the names in its first line; raises csv.Error if it is none."""
    if "\0" in text:  # no name of a file may hold it
        raise csv.Error("it holds null characters")
    return list(csv.DictReader(text.splitlines(), delimiter=delimiter))
