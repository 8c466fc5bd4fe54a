"""Recognises the format of a file or folder, and reads and writes through it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.anatomy import Segment
from napari_mlbseg.formats.masks import MAX_LABEL, Part, renumbered, together
from napari_mlbseg.formats.placing import replacing
from napari_mlbseg.formats.plain import LABEL, MAP
from napari_mlbseg.formats.scan import Forms, FrameNeededError, Scan
from napari_mlbseg.formats.source import Choice, Mask, SourceInfo
from napari_mlbseg.volume import Geometry, Volume

__all__ = [
    "Choice",
    "Format",
    "Scan",
    "SourceInfo",
    "export_suffix",
    "format_of",
    "forms_of",
    "has_own_labels",
    "known_suffixes",
    "masks_in",
    "open_image",
    "open_labels",
    "read_image",
    "read_labels",
    "stem_of",
    "stores_last_axis_fastest",
    "suffix_of",
    "write_labels",
    "write_map",
    "write_plainly",
    "write_segmentation",
    "written_along",
]


@runtime_checkable
class Format(Protocol):
    """A family of files that can be turned into volumes.

    Attributes
    ----------
    name
        What `SourceInfo.format` says.
    """

    name: str

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The image, checked to be finite; raises `UserError` that names the file."""

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """Labels as uint8; raises `UserError` that names the file."""


@runtime_checkable
class WritableFormat(Format, Protocol):
    """A format in which maps can be written."""

    def writes(self, path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
        """Write voxels of this type; the header of a source of the same format is repeated."""


@runtime_checkable
class FormedFormat(Format, Protocol):
    """A format whose headers may place voxels in several ways, or not say how large they are."""

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """What a kept header says besides the geometry that is used."""


@dataclass(frozen=True)
class Entry:
    """What is known about a format before its libraries are loaded.

    Attributes
    ----------
    name
        What `SourceInfo.format` says.
    module
        The module below `napari_mlbseg.formats` that defines the format as `FORMAT`.
    suffixes
        Endings of names in lower case, longer ones first.
    folders
        Whether the format may be a folder (for OME-Zarr it must be).
    export
        Ending of exported files; empty for NIfTI, where it stays as it was.
    own_labels
        Whether a file can hold an image and its labels.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    export: str
    folders: bool = False
    own_labels: bool = False


_AS_IT_CAME: Final = "="
_NIFTI_SUFFIX: Final = ".nii.gz"
_WRITABLE: Final = ("nifti", "nrrd", "metaimage", "ome-zarr")
_LAST_AXIS_FASTEST: Final = ("ome-zarr", "tiff")
_HOME: Final = "napari_mlbseg.formats."

_ENTRIES: Final = (
    Entry("nifti", "streamed.nifti", (".nii.gz", ".nii"), _AS_IT_CAME),
    Entry("nrrd", "streamed.nrrd", (".nrrd", ".nhdr"), ".nrrd"),
    Entry("metaimage", "streamed.metaimage", (".mha", ".mhd"), ".mha"),
    Entry("dicom", "dicom.images", (".dcm", ".dicom", ".ima"), _NIFTI_SUFFIX),
    Entry(
        "ome-zarr",
        "chunked.ome_zarr",
        (".ome.zarr", ".zarr"),
        ".ome.zarr",
        folders=True,
        own_labels=True,
    ),
    Entry("tiff", "chunked.tiff", (".ome.tiff", ".ome.tif", ".tiff", ".tif"), _NIFTI_SUFFIX),
    Entry("hdf5", "chunked.hdf5", (".hdf5", ".h5"), _NIFTI_SUFFIX, own_labels=True),
)
_DICOM: Final = next(entry for entry in _ENTRIES if entry.name == "dicom")
_OME_ZARR: Final = next(entry for entry in _ENTRIES if entry.name == "ome-zarr")
_ZARR_MARKS: Final = ("zarr.json", ".zgroup", ".zarray")
"""Files that every group or array of zarr has, whatever its name."""


def known_suffixes() -> tuple[str, ...]:
    """Every known ending of a name.

    >>> {".nii.gz", ".nrrd", ".mha", ".dcm", ".ome.zarr", ".tif", ".h5"} <= set(known_suffixes())
    True
    """
    return tuple(suffix for entry in _ENTRIES for suffix in entry.suffixes)


def format_of(path: Path) -> str | None:
    """Name of the format of a file or folder, recognised by its ending or else by a few bytes.

    Takes about a millisecond; a recognised file may still be damaged.
    """
    entry = _entry_of(path)
    return None if entry is None else entry.name


def is_ome_zarr(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image, by its name or by the files directly in it."""
    named = _named(path)
    return (named is not None and named.folders) or any(
        (path / name).is_file() for name in _ZARR_MARKS
    )


def has_own_labels(path: Path) -> bool:
    """Whether a file of this kind may hold both an image and its labels."""
    entry = _entry_of(path)
    return entry is not None and entry.own_labels


def suffix_of(path: Path) -> str:
    """The known ending of a file's name, spelt as in the name; empty if none is known.

    >>> suffix_of(Path("scans/a.b.NII.gz"))
    '.NII.gz'
    """
    entry = _named(path)
    suffix = None if entry is None else _suffix_in(path, entry)
    return path.name[len(path.name) - len(suffix) :] if suffix else ""


def stem_of(path: Path) -> str:
    """A file's name without its known ending: ``a.b`` for ``a.b.nii.gz``.

    >>> stem_of(Path("scans/a.b.nii.gz"))
    'a.b'
    """
    return path.name.removesuffix(suffix_of(path))


def export_suffix(path: Path, source: SourceInfo) -> str:
    """Ending of the files exported for a case that was imported from `path`."""
    entry = next((e for e in _ENTRIES if e.name == source.format), None)
    if entry is None or entry.export == _AS_IT_CAME:
        return suffix_of(path) or _NIFTI_SUFFIX
    return entry.export


def forms_of(source: SourceInfo, geometry: Geometry) -> Forms:
    """What the header of a file says about the place of its voxels besides its geometry.

    A kept header that is damaged, in a study from a stranger, says nothing more.
    """
    entry = next((e for e in _ENTRIES if e.name == source.format), None)
    found = None if entry is None else _loaded(entry)
    if not isinstance(found, FormedFormat):
        return Forms()
    try:
        return found.forms(source, geometry)
    except (UserError, ValueError, LookupError, TypeError, AttributeError):
        return Forms()


def stores_last_axis_fastest(source: SourceInfo) -> bool:
    """Whether files of this format store their last axis fastest: their arrays are z y x."""
    return source.format in _LAST_AXIS_FASTEST


def open_image(path: Path, choice: Choice | None = None) -> Scan:
    """An image, to be read slab by slab; raises `UserError` that names the file."""
    try:
        return _format_for(path).open_image(path, choice or Choice())
    except FrameNeededError as error:
        raise FrameNeededError(
            f"{error} If the frames are channels of one image, take them all (--channels frames).",
            error.frames,
        ) from error


def open_labels(path: Path, choice: Choice | None = None) -> Scan:
    """Labels as uint8, to be read slab by slab; raises `UserError` that names the file.

    A folder of label files is the labels of one image, one file for each structure.
    """
    choice = choice or Choice()
    if choice.masks or (path.is_dir() and format_of(path) is None):
        found = _open_masks(path, choice.masks or masks_in(path))
    elif choice.one_hot:
        found = _open_one_hot(path)
    else:
        try:
            found = _format_for(path).open_labels(path, choice)
        except FrameNeededError as error:
            raise FrameNeededError(
                f"{error} If each frame is the mask of one class, take them all (--one-hot).",
                error.frames,
            ) from error
    return renumbered(path, found, choice.renumber)


def masks_in(folder: Path) -> tuple[Mask, ...]:
    """The files of a folder as masks of one structure each, with the values 1, 2, ... by name."""
    files = sorted(
        file.name
        for file in folder.iterdir()
        if file.is_file() and not file.name.startswith(".") and format_of(file) is not None
    )
    return tuple(Mask(name, stem_of(folder / name), k) for k, name in enumerate(files, 1))


def _open_masks(folder: Path, masks: Sequence[Mask]) -> Scan:
    if not masks:
        raise UserError(f"The folder {folder} holds no label files of a known format.")
    if len(masks) > MAX_LABEL:
        raise UserError(
            f"{folder} holds {len(masks)} files; a study has at most {MAX_LABEL} classes."
        )
    for mask in masks:
        if Path(mask.file).name != mask.file:
            raise UserError(f"{folder} names the mask {mask.file}, which lies elsewhere.")
    files = [folder / mask.file for mask in masks]
    if all(format_of(file) == "dicom" for file in files):
        # Segmentations have names of their own, and come together on their image.
        from napari_mlbseg.formats.dicom.images import open_label_files

        return open_label_files(folder, files)
    parts = [Part(f, open_labels(f), m.value) for f, m in zip(files, masks, strict=True)]
    return together(folder, parts, {mask.value: mask.name for mask in masks})


def _open_one_hot(path: Path) -> Scan:
    """Every frame as the mask of one class: 1, 2, ..."""
    opened = _format_for(path)
    try:
        opened.open_labels(path, Choice())
    except FrameNeededError as error:
        if error.frames > MAX_LABEL:
            raise
        scans = [opened.open_labels(path, Choice(frame=k)) for k in range(error.frames)]
        parts = [Part(path, replace(scan, notes=()), k) for k, scan in enumerate(scans, 1)]
        return together(path, parts, {})
    raise UserError(f"{path} has one frame, so it does not hold one mask for each class.")


def read_image(path: Path, choice: Choice | None = None) -> tuple[Volume, SourceInfo]:
    """Read an image into memory; raises `UserError` that names the file.

    >>> image, source = read_image(Path("images/phantom_01.nii.gz"))
    >>> image.voxels.shape, str(image.dtype), source.format  # z y x
    ((24, 96, 88), 'int16', 'nifti')
    """
    scan = open_image(path, choice)
    return scan.volume(), scan.source


def read_labels(path: Path, choice: Choice | None = None) -> tuple[Volume, SourceInfo]:
    """Read labels as uint8 into memory; raises `UserError` that names the file.

    >>> labels, _ = read_labels(Path("rough/phantom_01.nii.gz"))
    >>> sorted(set(labels.voxels.ravel().tolist()))
    [0, 1, 2]
    """
    scan = open_labels(path, choice)
    return scan.volume(), scan.source


def write_labels(path: Path, volume: Volume, source: SourceInfo) -> None:
    """Write labels as uint8, exactly placed, in the format of the name's ending.

    The header of a source of the same format is repeated; for other sources a header is made from
    the geometry. The file appears complete or not at all.

    >>> labels, source = read_labels(Path("rough/phantom_01.nii.gz"))
    >>> write_labels(Path("copy.nrrd"), labels, source)
    >>> bool((read_labels(Path("copy.nrrd"))[0].voxels == labels.voxels).all())
    True
    """
    _write(path, volume, source, LABEL)


def write_map(path: Path, volume: Volume, source: SourceInfo) -> None:
    """Write a map as float32, see `write_labels`.

    >>> image, source = read_image(Path("images/phantom_01.nii.gz"))
    >>> write_map(Path("brightness.nii.gz"), image, source)
    >>> str(read_image(Path("brightness.nii.gz"))[0].dtype)
    'float32'
    """
    _write(path, volume, source, MAP)


def write_plainly(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    """Write voxels as `LABEL` or `MAP`, to a place where nobody looks before the file is complete.

    `napari_mlbseg.formats.placing` provides such places.
    """
    entry = _writable(path)
    framed = Volume(volume.voxels, _frame(entry, volume.geometry, source))
    cast(WritableFormat, _loaded(entry)).writes(path, framed, source, dtype)


def write_segmentation(
    path: Path, volume: Volume, source: SourceInfo, segments: Sequence[Segment]
) -> None:
    """Write labels as a segmentation of 3D Slicer, as `write_plainly` does."""
    from napari_mlbseg.formats.streamed import slicer_out

    framed = Volume(volume.voxels, _frame(_writable(path), volume.geometry, source))
    slicer_out.write_segmentation(path, framed, source, segments)


def _suffix_in(path: Path, entry: Entry) -> str | None:
    name = path.name.lower()
    return next((s for s in entry.suffixes if name.endswith(s)), None)


def _named(path: Path) -> Entry | None:
    """The format that a name alone indicates."""
    return next((entry for entry in _ENTRIES if _suffix_in(path, entry) is not None), None)


def _entry_of(path: Path) -> Entry | None:
    from napari_mlbseg.formats.dicom.sniff import holds_dicom, is_dicom

    if path.is_dir():
        if is_ome_zarr(path):
            return _OME_ZARR
        return _DICOM if holds_dicom(path) else None
    named = _named(path)
    if named is not None:
        return None if named.folders else named
    return _DICOM if is_dicom(path) else None


@cache
def _loaded(entry: Entry) -> Format:
    """The format; its module is imported only here, so that no unused library is loaded."""
    return cast(Format, import_module(_HOME + entry.module).FORMAT)


def _format_for(path: Path) -> Format:
    entry = _entry_of(path)
    if entry is None and not path.exists():
        entry = _named(path)  # the error says that the file is missing
    if entry is None:
        raise UserError(
            f"{path} has no known format. Supported are DICOM files and folders, and the endings "
            f"{', '.join(known_suffixes())}."
        )
    return _loaded(entry)


def _write(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    _writable(path)
    with replacing(path) as new:
        write_plainly(new, volume, source, dtype)


def written_along(path: Path, geometry: Geometry, source: SourceInfo) -> int:
    """The display axis along which a file with this name is written slab by slab."""
    entry = _writable(path)
    return _frame(entry, geometry, source).display_axis(0 if entry.name == "ome-zarr" else 2)


def _writable(path: Path) -> Entry:
    entry = _named(path)
    if entry is None or entry.name not in _WRITABLE:
        known = ", ".join(e.suffixes[0] for e in _ENTRIES if e.name in _WRITABLE)
        raise UserError(f"{path} cannot be written: its name must end in one of {known}.")
    return entry


def _frame(entry: Entry, geometry: Geometry, source: SourceInfo) -> Geometry:
    """The frame of a new file: the source's, with its axes in an order that suits the format.

    OME-Zarr has z, y, x. OME-Zarr and TIFF store their last axis fastest, the others their first.
    """
    if entry.name == source.format:
        return geometry
    if entry.name == "ome-zarr":
        return geometry.as_displayed()
    return geometry.transposed() if stores_last_axis_fastest(source) else geometry
