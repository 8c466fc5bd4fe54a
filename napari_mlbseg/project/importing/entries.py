"""What lies in folders: files and folders of known formats, and what is left out."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import format_of, known_suffixes, suffix_of
from napari_mlbseg.project.importing.failures import Failure, counted, shortened

_DEEPEST: Final = 8
_MOST_ENTRIES: Final = 200_000
_STUDY: Final = ".mlbseg"
_IMAGES_OF_OTHERS: Final = {
    ".mgz": "convert it with FreeSurfer's mri_convert to .nii.gz",
    ".mgh": "convert it with FreeSurfer's mri_convert to .nii.gz",
    ".hdr": "save the pair .hdr and .img as one .nii.gz file",
    ".img": "save the pair .hdr and .img as one .nii.gz file",
    ".npy": "save it as .nii.gz or .tif, with the size of its voxels",
    ".npz": "save it as .nii.gz or .tif, with the size of its voxels",
    ".gipl": "save it as .nii.gz or .nrrd",
    ".mnc": "convert it with mnc2nii to .nii",
    ".par": "convert it with dcm2niix to .nii.gz",
    ".rec": "convert it with dcm2niix to .nii.gz",
    ".vtk": "save it as .nii.gz or .nrrd",
    ".czi": "save it as OME-TIFF",
    ".lif": "save it as OME-TIFF",
    ".nd2": "save it as OME-TIFF",
    ".zip": "unpack it",
    ".7z": "unpack it",
    ".tgz": "unpack it",
}
"""Endings of files that may hold images but are not read, and what to do."""
_KNOWN: Final = (
    f"Possible are DICOM files and folders, and the endings {', '.join(known_suffixes())}."
)


@dataclass
class Entries:
    """Files and folders that may be images or labels, by their paths from a folder."""

    root: Path
    paths: dict[str, Path] = field(default_factory=dict)
    other: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    unsearched: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Take a file or folder of a known format."""
        name = "" if path == self.root else str(path.relative_to(self.root).as_posix())
        name = name or path.name
        stem = name.removesuffix(suffix_of(path))
        self.paths[name if stem in self.paths else stem] = path


@dataclass(frozen=True)
class Told:
    """What is told of folders: what cannot become a part of a case, and what else was seen."""

    failures: tuple[Failure, ...] = ()
    notes: tuple[Failure, ...] = ()

    def __add__(self, other: "Told") -> "Told":
        return Told(self.failures + other.failures, self.notes + other.notes)


def entries_of(root: Path, *, labels: bool = False, search: bool | None = None) -> Entries:
    """What a folder holds: directly, or, if there is nothing, in the folders inside it."""
    found = Entries(root)
    if root.is_file() or (root.is_dir() and format_of(root) == "ome-zarr"):
        if format_of(root) is None:
            raise UserError(f"{root} has no known format. {_KNOWN}")
        found.add(root)
        return found
    folders = _look_in(root, found, labels=labels)
    if search is None:
        search = all(path.parent != root or _is_series(path) for path in found.paths.values())
    if not search:
        found.unsearched += [folder.name for folder in folders if _holds_known(folder)]
    else:
        for folder in folders:
            _search(folder, found, labels=labels, depth=1)
    found.paths = dict(sorted(found.paths.items()))
    if not found.paths:
        told = left_out(found)
        more = "".join(f" {failure.reason}" for failure in told.failures[:3])
        raise UserError(
            f"The folder {root} holds no images: no .nii or .nii.gz files and nothing else of a "
            f"known format, nor do the folders inside it.{more} {_KNOWN}"
        )
    return found


def _search(folder: Path, found: Entries, *, labels: bool, depth: int) -> None:
    if depth > _DEEPEST or len(found.paths) > _MOST_ENTRIES:
        found.unsearched.append(str(folder.relative_to(found.root)))
        return
    for inner in _look_in(folder, found, labels=labels):
        _search(inner, found, labels=labels, depth=depth + 1)


def _look_in(folder: Path, found: Entries, *, labels: bool) -> list[Path]:
    """Take what lies directly in a folder; returns the folders inside it that are none of that."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read: {error.strerror or error}."
        ) from error
    folders, slices = [], []
    for entry in entries:
        if entry.is_dir():
            if entry.suffix == _STUDY:
                continue
            kind = format_of(entry)
            if kind == "ome-zarr":
                found.add(entry)
            else:
                folders.append(entry)
            continue
        kind = format_of(entry)
        if kind == "dicom":
            slices.append(entry)
        elif kind is not None:
            found.add(entry)
        else:
            found.other[entry.suffix.lower()].append(entry)
    if slices:
        # The files of a series are one image; segmentations are files of their own.
        alone = labels and folder == found.root
        for entry in slices if alone else [folder]:
            found.add(entry)
        if not alone:
            _forget_neighbours(folder, found)
    if folder == found.root:
        return _series_first(folders, found)
    return folders


def _is_series(path: Path) -> bool:
    return path.is_dir() and format_of(path) == "dicom"


def _series_first(folders: list[Path], found: Entries) -> list[Path]:
    """Folders with a DICOM series are images like files are; the others are left to be searched."""
    others = []
    for folder in folders:
        if format_of(folder) == "dicom" and not _has_more(folder):
            found.add(folder)
        else:
            others.append(folder)
    return others


def _has_more(folder: Path) -> bool:
    """Whether a folder of slices holds something else that may be a part of a case."""
    return any(
        (entry.is_dir() and not entry.name.startswith("."))
        or (entry.is_file() and format_of(entry) not in (None, "dicom"))
        for entry in folder.iterdir()
    )


def _forget_neighbours(folder: Path, found: Entries) -> None:
    """What lies beside slices is told when the series is read."""
    for kind, paths in list(found.other.items()):
        found.other[kind] = [path for path in paths if path.parent != folder]


def _holds_known(folder: Path) -> bool:
    """Whether something of a known format lies in a folder, directly or one folder deeper."""
    try:
        inner = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return False
    return any(format_of(entry) is not None for entry in inner)


def left_out(found: Entries) -> Told:
    """Files of other formats and folders that were not searched."""
    failures, notes = [], []
    for kind, paths in sorted(found.other.items()):
        if not paths:
            continue
        names = shortened(str(path.relative_to(found.root)) for path in paths)
        if kind in _IMAGES_OF_OTHERS:
            reason = (
                f"Not read: {counted(len(paths), 'file')} in {found.root}, because {kind} is no "
                f"known format: {names}. To take such a file in, {_IMAGES_OF_OTHERS[kind]}."
            )
            failures.append(Failure(paths[0], reason))
        else:
            notes.append(
                Failure(
                    found.root,
                    f"Left out: {counted(len(paths), 'file')} in {found.root}, because "
                    f"{kind or 'a file without an ending'} is no known format: {names}.",
                )
            )
    if found.unsearched:
        notes.append(
            Failure(
                found.root,
                f"Not searched: {counted(len(found.unsearched), 'folder')} in {found.root}, "
                f"because images lie beside them: {shortened(found.unsearched)}. On the command "
                "line, --layout patient-folders searches them.",
            )
        )
    return Told(tuple(failures), tuple(notes))
