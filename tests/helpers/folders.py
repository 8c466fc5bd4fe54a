"""What lies in a folder."""

from pathlib import Path


def everything_in(folder: Path) -> dict[Path, bytes]:
    """The files, by their paths in the folder, with what they hold."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
