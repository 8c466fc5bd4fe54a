"""The cases in folders as people really have them: flat, one folder for each patient, BIDS, ...

A folder with images directly in it is taken as it is. Otherwise all folders inside it are searched.
Names, and for DICOM the contents, tell labels from images; `names.matched` brings them together.
Whatever is found and does not become a part of a case is told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import (
    format_of,
    has_own_labels,
    stem_of,
)
from napari_mlbseg.project.importing.case_files import (
    FOUND_OUT,
    CaseFiles,
    ChannelFile,
    Layout,
    Pairing,
)
from napari_mlbseg.project.importing.channels import grouped
from napari_mlbseg.project.importing.entries import Entries, Told, entries_of, left_out
from napari_mlbseg.project.importing.failures import Failure, counted, shortened
from napari_mlbseg.project.importing.frames import with_frames
from napari_mlbseg.project.importing.listed import listed_cases
from napari_mlbseg.project.importing.names import (
    IMAGE_WORDS,
    LABEL_WORDS,
    Matched,
    Rule,
    matched,
    normal,
    says_label,
    words_in,
)


def find_cases(images: Path, labels: Path | None = None, pairing: Pairing = FOUND_OUT) -> Layout:
    """The cases in one folder, or in a folder of images and one of labels.

    Raises
    ------
    UserError
        If a folder cannot be read or holds no image, or if labels are given and none of them
        belongs to an image.

    Examples
    --------
    >>> found = find_cases(Path("images"), Path("rough"))
    >>> [(case.id, case.labels.name) for case in found.cases]
    [('phantom_01', 'phantom_01.nii.gz'), ('phantom_02', 'phantom_02.nii.gz')]
    """
    if pairing.table is not None:
        return listed_cases(pairing.table, fill=pairing.fill_missing)
    both = labels is not None and labels.resolve() == images.resolve()
    found = entries_of(images, search=pairing.patient_folders)
    if labels is None or both:
        image_names, label_names, own = _roles(found)
        label_paths: Mapping[str, Path] = found.paths
        told = left_out(found)
        if both:
            own |= {n for n in image_names if has_own_labels(found.paths[n])}
    else:
        listed = entries_of(labels, labels=True, search=pairing.patient_folders)
        image_names, label_names, own = list(found.paths), list(listed.paths), set[str]()
        label_paths = listed.paths
        image_names, masks_beside = _without_masks(image_names, label_names)
        told = left_out(found) + left_out(listed)
        told += _masks_beside(found, masks_beside)
    together = grouped(found.paths, image_names, pairing.channels, fill=pairing.fill_missing)
    image_names = list(together.images)
    pairs, failures, rules = _paired(
        [name for name in image_names if name not in own], label_names, label_paths, pairing.rule
    )
    if both and not pairs and not own:
        raise UserError(
            f"{images} was given for both images and labels, but nothing in it is named as labels. "
            f"Put the labels into a folder of their own. {_HOW_NAMES_MATCH}"
        )
    if labels is not None and not pairs and not own:
        raise UserError("\n".join(f.reason for f in failures[:5]) or _no_pair(images, labels))
    ids = _ids(found, image_names, together.stems)
    structures = _structures(pairs, ids, label_paths)
    cases = []
    for name in image_names:
        others = together.further.get(name, ())
        further = (None if one is None else ChannelFile(found.paths[one]) for one in others)
        files = CaseFiles(ids[name], found.paths[name], further=tuple(further))
        if name in own:
            files = replace(files, labels=found.paths[name])
        elif name in pairs:
            files = _with_labels(files, pairs[name], label_paths, structures)
            if files.labels is None:
                failures.append(_rivals(files.image, [label_paths[one] for one in pairs[name]]))
                continue
        cases.append(files)
    cases, twins = _without_twins(cases)
    notes = [*told.notes, *together.notes, *_told_rules(labels or images, rules, cases)]
    everything = (*told.failures, *together.failures, *failures, *twins)
    laid = Layout(tuple(cases), everything, tuple(notes), together.channels)
    rule = pairing.channels
    return with_frames(laid, rule.names) if rule is not None and rule.frames else laid


def labels_for(ids: Sequence[str], folder: Path, rule: Rule | None = None) -> dict[str, CaseFiles]:
    """The labels in a folder that belong to cases, by their names; cases without are absent.

    By a rule, names of images are those of cases; without one it is found out.

    Raises
    ------
    UserError
        If the folder cannot be read or holds no labels.
    """
    listed = entries_of(folder, labels=True)
    pairs, _, _ = _paired(ids, list(listed.paths), listed.paths, rule)
    named = _structures(pairs, {case_id: case_id for case_id in ids}, listed.paths)
    return {
        case_id: found
        for case_id, names in pairs.items()
        if (found := _with_labels(CaseFiles(case_id, folder), names, listed.paths, named)).labels
    }


# --- images and labels ----------------------------------------------------------------------------


def _roles(found: Entries) -> tuple[list[str], list[str], set[str]]:
    """The images and the labels of one folder, and the images that hold their own labels."""
    images: list[str] = []
    labels: list[str] = []
    own: set[str] = set()
    for name, path in found.paths.items():
        if format_of(path) == "dicom":
            from napari_mlbseg.formats.dicom.images import contents_of

            try:
                has_images, has_labels = contents_of(path)
            except UserError:  # the import says what is wrong with it
                has_images, has_labels = True, False
            (images if has_images or not has_labels else labels).append(name)
            if has_images and has_labels:
                own.add(name)
        else:
            (labels if says_label(name) else images).append(name)
    # A folder of nothing but labels is a folder of images with such names.
    return (images, labels, own) if images else (labels, [], own)


def _without_masks(images: Sequence[str], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Images and, where only some are named so, masks among them that are nobody's images."""
    equal = {normal(name) for name in labels}
    masks = [name for name in images if says_label(name) and normal(name) not in equal]
    if len(masks) == len(images):
        return list(images), []
    return [name for name in images if name not in masks], masks


def _masks_beside(found: Entries, masks: Sequence[str]) -> Told:
    if not masks:
        return Told()
    names = shortened(str(found.paths[name].name) for name in masks)
    reason = (
        f"Not taken as images: {counted(len(masks), 'file')} in {found.root}, masks by their names,"
        f" because labels come from another folder: {names}."
    )
    return Told((Failure(found.paths[masks[0]], reason),))


def _paired(
    images: Sequence[str], labels: Sequence[str], paths: Mapping[str, Path], given: Rule | None
) -> tuple[Mapping[str, tuple[str, ...]], list[Failure], set[Rule]]:
    """The labels of each image: file by file, or folder by folder if that places more of them."""
    by_file = matched(images, labels, given)
    folders: dict[str, list[str]] = defaultdict(list)
    for name in labels:
        folders[name.rpartition("/")[0]].append(name)
    groups = {folder: tuple(names) for folder, names in folders.items() if len(names) > 1}
    if len(images) == 1 and list(groups) == [""] and not by_file.rules and given is None:
        return {images[0]: tuple(labels)}, [], set()
    by_folder = matched(images, [name for name in groups if name], given)
    placed = sum(len(groups[name]) for name in by_folder.rules)
    if given is None and placed and placed >= len(by_file.rules) and _is_crowded(by_file, images):
        pairs = {
            image: tuple(name for folder in found for name in groups[folder])
            for image, found in by_folder.pairs.items()
        }
        used = {name for names in pairs.values() for name in names}
        alone = [name for name in labels if name not in used]
        return pairs, [_stranded(paths[name]) for name in alone], set(by_folder.rules.values())
    failures = [_stranded(paths[name]) for name in by_file.alone]
    failures += [_unclear(paths[name], rules) for name, rules in by_file.unclear.items()]
    return by_file.pairs, failures, set(by_file.rules.values())


def _is_crowded(by_file: Matched, images: Sequence[str]) -> bool:
    """Whether files as such do not give every image one label file."""
    return len(by_file.rules) > len(by_file.pairs) or len(by_file.pairs) < len(images)


def _stranded(path: Path) -> Failure:
    return Failure(path, f"{path} holds labels without an image. {_HOW_NAMES_MATCH}")


def _unclear(path: Path, rules: Sequence[Rule]) -> Failure:
    ways = ", ".join(f"--pair '{rule}'" for rule in rules)
    return Failure(
        path, f"{path} could belong to several images. Say which (on the command line, {ways})."
    )


def _no_pair(images: Path, labels: Path) -> str:
    return f"None of the labels in {labels} belongs to an image in {images}. {_HOW_NAMES_MATCH}"


_HOW_NAMES_MATCH: Final = (
    "Labels have the name of their image, or differ from it in the same way for all cases; on the "
    "command line, say how with --pair 'volume-*=segmentation-*', or give a --table with the "
    "columns case, image, labels."
)


def _with_labels(
    files: CaseFiles,
    names: Sequence[str],
    paths: Mapping[str, Path],
    structures: Mapping[str, str],
) -> CaseFiles:
    """A case with one label file, or with masks of one folder; unchanged if it is not clear."""
    names = sorted(names)
    known = [structures.get(name, "") for name in names]
    folders = {paths[name].parent for name in names}
    if all(known) and len(set(known)) == len(known) and len(folders) == 1:
        masks = zip((paths[name].name for name in names), known, strict=True)
        return replace(files, labels=folders.pop(), masks=tuple(masks))
    return replace(files, labels=paths[names[0]]) if len(names) == 1 else files


def _rivals(image: Path, labels: Sequence[Path]) -> Failure:
    names = shortened(str(label) for label in labels)
    return Failure(
        image,
        f"Several label files could belong to the image {image}: {names}. Keep one, or name them "
        "after the structures that they hold.",
    )


def _structures(
    pairs: Mapping[str, Sequence[str]], ids: Mapping[str, str], paths: Mapping[str, Path]
) -> dict[str, str]:
    """The structure that each label file is named after, if there are several for one image.

    What all names share, words such as ``mask``, and the name of the case say nothing about it.
    """
    if all(len(labels) == 1 for labels in pairs.values()):
        return {}
    kept = {}
    for image, labels in pairs.items():
        of_case = set(words_in(ids[image])) | set(words_in(image))
        for label in labels:
            words = _words(stem_of(paths[label]))
            kept[label] = [w for w in words if normal(w) not in LABEL_WORDS | of_case]
    shared = set.intersection(*({normal(w) for w in words} for words in kept.values()))
    return {label: "_".join(w for w in ws if normal(w) not in shared) for label, ws in kept.items()}


def _words(name: str) -> list[str]:
    return [word for word in name.replace(".", "_").replace("-", "_").split("_") if word]


def _told_rules(folder: Path, rules: set[Rule], cases: Sequence[CaseFiles]) -> Iterator[Failure]:
    """By which rule labels were found, and which images have none."""
    if any(case.labels for case in cases):
        plain = [str(rule) for rule in rules if str(rule) != "*=*"]
        if plain:
            yield Failure(folder, f"Labels were found by their names: {shortened(sorted(plain))}.")
        alone = [case.id for case in cases if case.labels is None]
        if alone:
            yield Failure(folder, f"{len(alone)} images have no labels: {shortened(alone)}.")


def _without_twins(cases: Sequence[CaseFiles]) -> tuple[list[CaseFiles], list[Failure]]:
    """Leave out images that would become one case, such as ``a.nii`` and ``a.nii.gz``."""
    # Ignoring upper and lower case, because the study may be copied to a disk that does.
    counts = Counter(normal(case.id) for case in cases)
    failures = []
    for case in cases:
        if counts[normal(case.id)] > 1:
            twins = [str(other.image) for other in cases if normal(other.id) == normal(case.id)]
            reason = (
                f"Several images have the same name {case.id}: {shortened(twins)}. Rename or "
                "remove all but one."
            )
            failures.append(Failure(case.image, reason))
    return [case for case in cases if counts[normal(case.id)] == 1], failures


# --- names of cases -------------------------------------------------------------------------------


def _ids(found: Entries, images: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """The name of each case: of its file, or of its folder if files are all named alike.

    `known` are names that say what files have in common.
    """
    stems = {name: known.get(name) or _stem(found.paths[name]) for name in images}
    often = Counter(normal(stem) for stem in stems.values())
    plain = {
        name: often[normal(stem)] == 1 and not _says_nothing(name, stem)
        for name, stem in stems.items()
    }
    ids = {}
    for name in images:
        folders = [part for part in name.split("/")[:-1] if not set(words_in(part)) <= IMAGE_WORDS]
        if plain[name] or "/" not in name:
            ids[name] = stems[name]
        else:
            ids[name] = "_".join(folders) or stems[name]
    again = Counter(normal(case_id) for case_id in ids.values())
    return {
        name: case_id
        if again[normal(case_id)] == 1 or "/" not in name
        else f"{case_id}_{stems[name]}"
        for name, case_id in ids.items()
    }


def _stem(path: Path) -> str:
    """A file's name without ending and without the number of nnU-Net's only channel."""
    return stem_of(path).removesuffix("_0000")


def _says_nothing(name: str, stem: str) -> bool:
    """Whether a file in a folder is named for what it is, such as ``image`` or ``ct``."""
    return "/" in name and set(words_in(stem)) <= IMAGE_WORDS
