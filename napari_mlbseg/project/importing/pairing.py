"""Which files of a folder are images, and which label file belongs to which image."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import format_of, known_suffixes, stem_of, suffix_of

_LABEL_ENDINGS: Final = ("_seg", "_mask", "_label", "_labels")
_NNUNET_CHANNEL: Final = "_0000"
_NAMES_SHOWN: Final = 5


@dataclass(frozen=True)
class Failure:
    """A file that was not imported, and the reason in a sentence that names it."""

    path: Path
    reason: str


def files_in(folder: Path, *, labels: bool = False) -> list[Path]:
    """The images of a folder, by name: files of a known format and folders that are an image.

    A folder with DICOM files is an image, even `folder` itself, and so is an OME-Zarr store. Hidden
    entries are left out; other folders are not searched. A single file or store is the only image.
    With `labels`, DICOM files directly in the folder count one by one, because each DICOM
    segmentation is a file of its own.

    Raises
    ------
    UserError
        If the folder cannot be read or holds no image.
    """
    if folder.is_file() or (folder.is_dir() and format_of(folder) == "ome-zarr"):
        if format_of(folder) is None:
            raise UserError(f"{folder} has no known format. {_KNOWN}")
        return [folder]
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read: {error.strerror or error}."
        ) from error
    found: list[Path] = []
    for entry in entries:
        if not labels and folder in found and not entry.is_dir() and not suffix_of(entry):
            continue  # another slice of the series in this folder
        kind = format_of(entry)
        if kind == "dicom" and not labels and not entry.is_dir():
            entry = folder
        if kind is not None and entry not in found:
            found.append(entry)
    if not found:
        raise UserError(
            f"The folder {folder} holds no images: no .nii or .nii.gz files and nothing else of a "
            f"known format. {_KNOWN} Choose the folder that contains the files; folders inside it "
            "are not searched, unless they are a DICOM series or an OME-Zarr store."
        )
    return found


def without_twins(images: Sequence[Path]) -> tuple[list[Path], list[Failure]]:
    """Leave out images that would become one case, such as ``a.nii`` and ``a.nii.gz``."""
    # Ignoring upper and lower case, because the study may be copied to a disk that does.
    counts = Counter(stem_of(image).casefold() for image in images)
    failures = []
    for image in images:
        name = stem_of(image).casefold()
        if counts[name] > 1:
            twins = [str(other) for other in images if stem_of(other).casefold() == name]
            reason = (
                f"Several images have the same name {stem_of(image)}: {shortened(twins)}. Rename "
                "or remove all but one."
            )
            failures.append(Failure(image, reason))
    alone = [image for image in images if counts[stem_of(image).casefold()] == 1]
    return alone, failures


def pair(images: Sequence[Path], labels: Sequence[Path]) -> tuple[dict[str, Path], list[Failure]]:
    """The label file of each image by its name without suffix, and the files without a partner.

    A label file belongs to the image of the same name. If there is none, ``A_seg``, ``A_mask``,
    ``A_label`` and ``A_labels`` belong to ``A``, and ``A`` belongs to ``A_0000``, as nnU-Net
    names them. A single label file belongs to a single image, whatever their names.

    >>> images = [Path("images/a_0000.nii.gz"), Path("images/b.nrrd")]
    >>> pairs, failures = pair(images, [Path("rough/a.nii.gz"), Path("rough/b_seg.nii.gz")])
    >>> {name: labels.name for name, labels in pairs.items()}
    {'a_0000': 'a.nii.gz', 'b': 'b_seg.nii.gz'}
    >>> failures
    []
    """
    if len(images) == len(labels) == 1:
        return {stem_of(images[0]): labels[0]}, []
    ids = {stem_of(image) for image in images}
    owners = {label: _owners(stem_of(label), ids) for label in labels}
    claims: dict[str, list[Path]] = {}
    for label, found in owners.items():
        if len(found) == 1:
            claims.setdefault(min(found), []).append(label)
    failures = [
        Failure(label, _unclear(label, found)) for label, found in owners.items() if len(found) != 1
    ]
    failures += _without_one_label(images, claims)
    return {owner: rivals[0] for owner, rivals in claims.items() if len(rivals) == 1}, failures


def shortened(names: Iterable[str]) -> str:
    """Up to five names, and how many more there are.

    >>> shortened("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    return ", ".join(listed[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _without_one_label(images: Sequence[Path], claims: Mapping[str, list[Path]]) -> list[Failure]:
    failures = []
    for image in images:
        rivals = claims.get(stem_of(image), [])
        if not rivals:
            failures.append(
                Failure(image, f"{image} is an image without labels. {_HOW_NAMES_MATCH}")
            )
        elif len(rivals) > 1:
            names = shortened(str(rival) for rival in rivals)
            failures.append(
                Failure(
                    image,
                    f"Several label files could belong to the image {image}: {names}. Keep one.",
                )
            )
    return failures


def _unclear(label: Path, owners: set[str]) -> str:
    if owners:
        return (
            f"{label} could belong to several images: {shortened(sorted(owners))}. Give it the "
            "name of its image."
        )
    return f"{label} holds labels without an image. {_HOW_NAMES_MATCH}"


def _owners(stem: str, ids: set[str]) -> set[str]:
    if stem in ids:
        return {stem}
    names = {stem} | {stem.removesuffix(ending) for ending in _LABEL_ENDINGS}
    return ids & (names | {name + _NNUNET_CHANNEL for name in names})


_HOW_NAMES_MATCH: Final = (
    "A label file has the name of its image, or that name followed by _seg, _mask, _label or "
    "_labels."
)
_KNOWN: Final = (
    f"Possible are DICOM files and folders, and the endings {', '.join(known_suffixes())}."
)
