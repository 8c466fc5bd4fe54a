"""Which label file belongs to which image, told by their names."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import format_of, stem_of

_LABEL_ENDINGS: Final = ("_seg", "_mask", "_label", "_labels")
_NNUNET_CHANNEL: Final = "_0000"
_NAMES_SHOWN: Final = 5


def files_in(folder: Path) -> list[Path]:
    """The files of a known format directly in a folder, by name; hidden ones are left out.

    Raises
    ------
    UserError
        If the folder cannot be read or holds no such file.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read: {error.strerror or error}."
        ) from error
    files = [
        entry
        for entry in entries
        if format_of(entry) is not None and not entry.name.startswith(".") and not entry.is_dir()
    ]
    if not files:
        raise UserError(
            f"The folder {folder} holds no .nii or .nii.gz files. Choose the folder in which the "
            "files lie; folders inside it are not searched."
        )
    return files


def require_unique(images: Sequence[Path]) -> None:
    """Refuse two images that would become one case, such as ``a.nii`` and ``a.nii.gz``."""
    # Without regard to case, because the study may be copied to a disk that has none.
    counts = Counter(stem_of(image).casefold() for image in images)
    for image in images:
        name = stem_of(image).casefold()
        if counts[name] > 1:
            twins = [str(other) for other in images if stem_of(other).casefold() == name]
            raise UserError(
                f"Several images have the same name {stem_of(image)}: {shortened(twins)}. Rename "
                "or remove all but one."
            )


def pair(images: Sequence[Path], labels: Sequence[Path]) -> dict[str, Path]:
    """For each image's name without suffix its label file.

    A label belongs to the image of the same name. Where there is none, ``A_seg``, ``A_mask``,
    ``A_label`` and ``A_labels`` belong to ``A``, and ``A`` belongs to ``A_0000``, as nnU-Net
    names them.

    Raises
    ------
    UserError
        If an image or a label is left without a partner, or has more than one.
    """
    ids = {stem_of(image) for image in images}
    owners = {label: _owners(stem_of(label), ids) for label in labels}
    for label, found in owners.items():
        if len(found) > 1:
            raise UserError(
                f"{label} could belong to several images: {shortened(sorted(found))}. Give it the "
                "name of its image."
            )
    claims: dict[str, list[Path]] = {}
    for label, found in owners.items():
        for owner in found:
            claims.setdefault(owner, []).append(label)
    for owner, rivals in claims.items():
        if len(rivals) > 1:
            raise UserError(
                f"Several label files could belong to the image {owner}: "
                f"{shortened(str(rival) for rival in rivals)}. Keep one."
            )
    _require_partners(images, owners, claims)
    return {owner: rivals[0] for owner, rivals in claims.items()}


def shortened(names: Iterable[str]) -> str:
    """Up to five names, and how many more there are."""
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    return ", ".join(listed[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _require_partners(
    images: Sequence[Path], owners: Mapping[Path, set[str]], claims: Mapping[str, list[Path]]
) -> None:
    lonely_images = [image.name for image in images if stem_of(image) not in claims]
    lonely_labels = [label.name for label, found in owners.items() if not found]
    problems = []
    if lonely_images:
        problems.append(f"{len(lonely_images)} images without labels: {shortened(lonely_images)}")
    if lonely_labels:
        problems.append(f"{len(lonely_labels)} labels without image: {shortened(lonely_labels)}")
    if problems:
        raise UserError(
            f"Images and labels do not match by name. {'; '.join(problems)}. A label file has the "
            "name of its image, or that name followed by _seg, _mask, _label or _labels. Add "
            "what is missing or move the others to another folder."
        )


def _owners(stem: str, ids: set[str]) -> set[str]:
    if stem in ids:
        return {stem}
    names = {stem} | {stem.removesuffix(ending) for ending in _LABEL_ENDINGS}
    return ids & (names | {name + _NNUNET_CHANNEL for name in names})
