"""Segment a NIfTI image with the model in this folder.

    python predict.py IMAGE.nii.gz LABELS.nii.gz [--initial-labels ROUGH.nii.gz]
    python predict.py T1.nii.gz FLAIR.nii.gz LABELS.nii.gz

A model of several channels takes a file for each, in the order that README.md says, or one file
with as many frames; - stands for a channel that is missing, but for the first.

A model that was trained beside imported labels mends initial labels of the image, if there are any;
it segments an image without them, too.

Needs numpy and nibabel, and onnxruntime for model.onnx or torch for model.pt2.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.standalone.image import Grids, Labels, Model, Preparation, require_alike
from napari_mlbseg.standalone.slices import segment as segment_slices
from napari_mlbseg.standalone.volumes import probabilities
from napari_mlbseg.standalone.volumes import segment as segment_volume

_MISSING = "-"


def load_model(folder: Path) -> Model:
    """The model, from images on the grid (slices or a volume) to class probabilities."""
    path = folder / "model.onnx"
    network = _onnx(path) if path.exists() else _exported(folder / "model.pt2")
    tile = load_preparation(folder).size
    if len(tile) == 2:
        return network
    return partial(probabilities, network, tile=tile, views=_said(folder, "views"))


def load_preparation(folder: Path) -> Preparation:
    """How the model's images are prepared."""
    return Preparation.of(_said(folder, "preparation"))


def predict(
    images: Path | Sequence[Path], labels: Path, folder: Path, initial_labels: Path | None = None
) -> None:
    """Write the labels of an image (a file, or one for each channel), with the header of the first.

    Raises
    ------
    ValueError
        If the image has other channels than the model, if the model does not see initial labels, or
        if something does not lie on the voxels of the image.
    """
    import nibabel as nib

    preparation = load_preparation(folder)
    loaded, volumes = _read([images] if isinstance(images, Path) else images)
    volume = volumes[0]
    initial: NDArray[Any] | None = None
    if initial_labels is not None:
        if not preparation.label_channels:
            raise ValueError("this model does not see initial labels; leave --initial-labels out")
        rough: Any = nib.load(initial_labels)
        require_alike(volume.shape, loaded.affine, rough.shape, rough.affine)
        initial = np.asanyarray(rough.dataobj)
    segment = segment_slices if len(preparation.size) == 2 else segment_volume
    model = load_model(folder)
    found: Labels = segment(volumes, loaded.affine, preparation, model, initial)
    header = loaded.header.copy()
    header.set_data_shape(found.shape)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    nib.save(type(loaded)(found, loaded.affine, header), labels)


def _read(images: Sequence[Path]) -> tuple[Any, list[NDArray[Any]]]:
    """The first file, and the volumes of all channels: of a file each, or of the frames of one."""
    import nibabel as nib

    first: Any = nib.load(images[0])
    volumes = [_intensities(first)]
    if len(images) == 1 and volumes[0].ndim == 4:
        return first, list(np.moveaxis(volumes[0], -1, 0))
    for path in images[1:]:
        if str(path) == _MISSING:
            volumes.append(np.zeros_like(volumes[0]))
            continue
        other: Any = nib.load(path)
        require_alike(first.shape, first.affine, other.shape, other.affine, str(path))
        volumes.append(_intensities(other))
    return first, volumes


def _intensities(loaded: Any) -> NDArray[Any]:
    volume: NDArray[Any] = np.asanyarray(loaded.dataobj)
    return volume.astype(np.float32) if volume.dtype.kind == "f" else volume


def _said(folder: Path, name: str) -> Any:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))[name]


def _onnx(path: Path) -> Model:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    (images,) = session.get_inputs()

    def model(grids: Grids) -> Grids:
        found: Grids = session.run(None, {images.name: grids})[0]
        return found

    return model


def _exported(path: Path) -> Model:
    import torch

    module = torch.export.load(path).module()

    def model(grids: Grids) -> Grids:
        with torch.no_grad():
            found: Grids = module(torch.from_numpy(grids)).numpy()
        return found

    return model


def main() -> None:
    """What ``python predict.py`` does."""
    parser = argparse.ArgumentParser(description="Segment a NIfTI image with this model.")
    parser.add_argument("images", type=Path, nargs="+", help="a file for each channel, in order")
    parser.add_argument("labels", type=Path)
    parser.add_argument("--initial-labels", type=Path, help="labels of the image to be mended")
    asked = parser.parse_args()
    folder = Path(__file__).resolve().parent
    try:
        predict(asked.images, asked.labels, folder, asked.initial_labels)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
