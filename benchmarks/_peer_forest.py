"""A random forest on multi-scale features for `peers.py`; run in an environment of its own.

What pixel-classification tools do: each slice is filtered at several scales (intensity, edges,
texture), the forest learns from the pixels of the clean slices and labels those of all slices.
Intensities of each case are standardised, which those tools leave to the user.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import _peer
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features

SCALES_PX = 1.0, 16.0
TREES, LEAST_PIXELS, SHARE = 100, 5, 0.2
"""Trees, pixels of a leaf, and the share of the pixels that each tree sees."""


class Classifier(Protocol):
    """What scikit-learn's classifiers have in common."""

    def fit(self, features: NDArray[Any], labels: NDArray[Any]) -> object: ...

    def predict(self, features: NDArray[Any]) -> NDArray[Any]: ...


def main() -> None:
    options = _peer.arguments()
    folder, now = options.folder, _peer.clock(options)
    forest = random_forest(options.threads, options.seed)
    learn(forest, folder)
    trained_s = now()
    found = {name: labelled(forest, path) for name, path in _peer.images(folder).items()}
    about = {"trained_min": trained_s / 60, "labels_min": now() / 60}
    _peer.write(folder, options.mark, found, **about)


def random_forest(threads: int, seed: int) -> Classifier:
    """The classifier."""
    from sklearn.ensemble import RandomForestClassifier

    forest: Classifier = RandomForestClassifier(
        TREES,
        min_samples_leaf=LEAST_PIXELS,
        max_samples=SHARE,
        n_jobs=threads,
        random_state=seed,
    )
    return forest


def learn(classifier: Classifier, folder: Path) -> None:
    """Fit it to every labelled pixel."""
    unknown, images = _peer.unknown_label(folder), _peer.images(folder)
    features, labels = [], []
    for name, path in _peer.labels(folder).items():
        voxels = slices_of(path)
        for index, image in standardised(images[name]):
            known = voxels[index] != unknown
            if known.any():
                features.append(features_of(image)[known])
                labels.append(voxels[index][known])
    classifier.fit(np.concatenate(features), np.concatenate(labels))


def labelled(classifier: Classifier, path: Path) -> _peer.Labels:
    """The labels of a case, slices first."""
    found = []
    for _, image in standardised(path):
        features = features_of(image)
        rows = classifier.predict(features.reshape(-1, features.shape[-1]))
        found.append(rows.reshape(image.shape).astype(np.uint8))
    return np.stack(found)


def features_of(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of each pixel: ``y x features``."""
    smallest, largest = SCALES_PX
    found = multiscale_basic_features(  # type: ignore[no-untyped-call]
        image, sigma_min=smallest, sigma_max=largest, workers=1
    )
    return np.asarray(found, dtype=np.float32)


def standardised(path: Path) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The slices of an image, of mean 0 and standard deviation 1 over the case."""
    voxels = slices_of(path).astype(np.float32)
    yield from enumerate((voxels - voxels.mean()) / (voxels.std() + 1e-6))


def slices_of(path: Path) -> NDArray[Any]:
    """The voxels of a file, slices first."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj).T


if __name__ == "__main__":
    main()
