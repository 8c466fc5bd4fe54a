"""Which label belongs to which image by their names: one rule that is inferred, or given.

A rule says how names of images and of labels are made from the name of a case: ``volume-*`` and
``segmentation-*``. Upper and lower case, and the ways in which Unicode writes a letter, count as
one.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import Final

from napari_mlbseg.errors import UserError


def _words(text: str) -> list[str]:
    return text.split()


LABEL_WORDS: Final = frozenset(
    _words(
        "seg segs segmentation segmentations label labels labelmap labelmaps mask masks "
        "gt dseg roi rois groundtruth annotation annotations contour contours rtstruct "
        "labelstr labelsts labelsval"
    )
)
"""Words in names of files and folders that say that they hold labels."""

IMAGE_WORDS: Final = frozenset(
    _words(
        "image images img imgs volume volumes vol scan scans ct cta mr mri pet t1 t1w t2 "
        "t2w t1ce flair dwi orig data raw anat nii nifti dicom dcm series imagestr "
        "imagests imagesval"
    )
)
"""Words that say what an image is, not of whom."""

_LOOKED_AT: Final = 40
_CANDIDATES: Final = 60
_MOST_RULES: Final = 300


def normal(name: str) -> str:
    """A name as names are compared."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())


def words_in(name: str) -> list[str]:
    """The words and numbers in a name.

    >>> words_in("sub-01_T1w")
    ['sub', '01', 't1w']
    """
    return [word for word in re.split(r"[\W_]+", normal(name)) if word]


def says_label(name: str) -> bool:
    """Whether a name, or the name of a folder, says that there are labels."""
    return any(word in LABEL_WORDS for word in words_in(name))


@dataclass(frozen=True)
class Rule:
    """How names of images and labels are made from one name: what stands before and behind it.

    >>> rule = Rule.parsed("volume-*=segmentation-*")
    >>> str(rule), rule.key_of_label("segmentation-7")
    ('volume-*=segmentation-*', '7')
    """

    image: tuple[str, str]
    label: tuple[str, str]

    @classmethod
    def parsed(cls, text: str) -> "Rule":
        """A rule as a person writes it; UserError if it is none."""
        sides = [normal(side.strip()).split("*") for side in text.split("=")]
        if len(sides) != 2 or any(len(side) != 2 for side in sides):
            raise UserError(
                f"{text!r} is no rule; write the names of image and labels with * for the case, "
                "without their endings: 'volume-*=segmentation-*'."
            )
        (a, b), (c, d) = sides
        return cls((a, b), (c, d))

    def __str__(self) -> str:
        return "=".join("*".join(side) for side in (self.image, self.label))

    def key_of_image(self, name: str) -> str | None:
        """The part of an image's name that stands for the case; None if it is made otherwise."""
        return _key(normal(name), self.image)

    def key_of_label(self, name: str) -> str | None:
        """The same of labels."""
        return _key(normal(name), self.label)

    @property
    def counts(self) -> bool:
        """Whether the rule itself holds a number, which may be that of a case."""
        words = (word for side in (self.image, self.label) for a in side for word in words_in(a))
        return any(
            re.search(r"\d", word) and word not in IMAGE_WORDS and word not in _CHANNELS
            for word in words
        )


_CHANNELS: Final = ("0000",)
SAME: Final = Rule(("", ""), ("", ""))
"""Image and labels have the same name."""


@dataclass(frozen=True)
class Matched:
    """Which names of labels belong to which name of an image.

    Attributes
    ----------
    pairs
        The labels of each image; several only where several rules lead to one image.
    rules
        The rule by which each label was found.
    unclear
        Labels that could belong to several images, by as many rules.
    alone
        Labels of no image.
    """

    pairs: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, Rule]
    unclear: Mapping[str, tuple[Rule, ...]]
    alone: tuple[str, ...]


def matched(images: Sequence[str], labels: Sequence[str], given: Rule | None = None) -> Matched:
    """Find the images of labels by their names: equal names first, then by the best rules.

    >>> found = matched(["volume-1", "volume-2"], ["segmentation-1", "segmentation-2"])
    >>> found.pairs["volume-2"], str(found.rules["segmentation-2"])
    (('segmentation-2',), 'volume*=segmentation*')
    """
    pairs: dict[str, list[str]] = defaultdict(list)
    rules: dict[str, Rule] = {}
    unclear: dict[str, tuple[Rule, ...]] = {}
    left = list(labels)
    if len(images) == len(labels) == 1 and given is None:
        return Matched({images[0]: (labels[0],)}, {labels[0]: SAME}, {}, ())

    def take(rule: Rule) -> None:
        for label, image in _by(rule, images, left).items():
            pairs[image].append(label)
            rules[label] = rule

    take(given or SAME)
    left = [label for label in left if label not in rules]
    # Only what an image has no equal name for is looked for by other rules.
    free = [image for image in images if image not in pairs]
    while left and free and given is None and len(set(rules.values())) < _MOST_RULES:
        best = _best(free, left, first=not rules)
        if not best:
            break
        if len(best) > 1:
            told = [label for label in left if best[0].key_of_label(label) is not None]
            unclear |= dict.fromkeys(told, tuple(best))
        else:
            for label, image in _by(best[0], free, left).items():
                pairs[image].append(label)
                rules[label] = best[0]
        left = [label for label in left if label not in rules and label not in unclear]
    alone = tuple(left)
    return Matched({k: tuple(v) for k, v in pairs.items()}, rules, unclear, alone)


def _key(name: str, affixes: tuple[str, str]) -> str | None:
    before, after = affixes
    inner = name[len(before) : len(name) - len(after)]
    fits = name.startswith(before) and name.endswith(after) and len(before) + len(after) < len(name)
    return inner if fits and re.search(r"[^\W_]", inner) else None


def _by(rule: Rule, images: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """The image of each label by a rule, where both are the only ones."""
    found: dict[str, list[str]] = defaultdict(list)
    for image in images:
        key = rule.key_of_image(image)
        if key is not None:
            found[key].append(image)
    keys = {label: rule.key_of_label(label) for label in labels}
    often = Counter(keys.values())
    return {
        label: found[key][0]
        for label, key in keys.items()
        if key is not None and often[key] == 1 and len(found.get(key, ())) == 1
    }


def _best(images: Sequence[str], labels: Sequence[str], *, first: bool) -> list[Rule]:
    """The rule that finds the most images, by the longest names; several if they tie."""
    scores: dict[Rule, tuple[int, int]] = {}
    for rule in _candidates(images, labels):
        found = _by(rule, images, labels)
        # A number in a rule may be that of a case: only a rule for most of the names may have one.
        most = first and len(found) > 1 and 2 * len(found) >= len(labels)
        if found and (most or not rule.counts):
            scores[rule] = len(found), sum(len(rule.key_of_label(label) or "") for label in found)
    if not scores:
        return []
    best = max(scores.values())
    rules = [rule for rule, score in scores.items() if score == best]
    chosen = rules[0]
    return [rule for rule in rules if rule.label == chosen.label]


def _candidates(images: Sequence[str], labels: Sequence[str]) -> list[Rule]:
    """Rules that pair some of the names: what they share is the case, the rest is the rule."""
    split = {name: _parts(normal(name)) for name in (*images, *labels)}
    where: dict[str, list[str]] = defaultdict(list)
    for image in images:
        for part in set(split[image]):
            where[part].append(image)
    votes: Counter[Rule] = Counter()
    step = max(1, len(labels) // _LOOKED_AT)
    for label in islice(labels, 0, None, step):
        rare = sorted((len(where[p]), p) for p in set(split[label]) if p in where and p.isalnum())
        near = dict.fromkeys(image for _, p in rare[:3] for image in where[p][:_CANDIDATES])
        for image in islice(near, _CANDIDATES):
            votes.update(_rules_of(split[image], split[label]))
    return [rule for rule, _ in votes.most_common(_CANDIDATES)]


def _rules_of(image: list[str], label: list[str]) -> set[Rule]:
    blocks = SequenceMatcher(None, image, label, autojunk=False).get_matching_blocks()
    rules = set()
    for block in blocks:
        shared = image[block.a : block.a + block.size]
        whole = block.size == len(image)
        if not whole and not any(part.isalnum() and part not in IMAGE_WORDS for part in shared):
            continue
        rules.add(
            Rule(
                ("".join(image[: block.a]), "".join(image[block.a + block.size :])),
                ("".join(label[: block.b]), "".join(label[block.b + block.size :])),
            )
        )
    return rules


def _parts(name: str) -> list[str]:
    """Numbers, words and single other characters, which make up a name."""
    return re.findall(r"\d+|[^\W\d_]+|[\W_]", name)
