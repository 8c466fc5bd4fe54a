"""The model as a MONAI bundle, which MONAI's own command can run.

The layout is that of https://docs.monai.io/en/stable/mb_specification.html.
"""

import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from napari_mlbseg.engine.deploy.folder import copy_standalone, write_json, write_text
from napari_mlbseg.engine.deploy.readme import bundle_readme
from napari_mlbseg.engine.deploy.trained import TrainedModel
from napari_mlbseg.engine.nets import network as network_module
from napari_mlbseg.engine.nets.tiling import OVERLAP, TILES_AT_ONCE

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_PARTS = "scripts.bundle_parts"
_SCRIPTS = [
    *("image.py", "sampling.py", "views.py", "slices.py", "volumes.py"),
    *("averaged.py", "bundle_parts.py"),
]


def write_bundle(folder: Path, trained: TrainedModel) -> None:
    """Write metadata, configuration, weights, scripts and documentation to a folder."""
    write_json(folder / "configs" / "metadata.json", metadata(trained))
    write_json(folder / "configs" / "inference.json", inference(trained))
    (folder / "models").mkdir()
    torch.save(trained.network.state_dict(), folder / "models" / "model.pt")
    copy_standalone(_SCRIPTS, folder / "scripts", package="scripts")
    write_text(folder / "scripts" / "__init__.py", "")
    write_text(folder / "scripts" / "network.py", inspect.getsource(network_module))
    write_text(folder / "docs" / "README.md", bundle_readme(trained))
    copy_standalone(["LICENSE"], folder)


def metadata(trained: TrainedModel) -> dict[str, Any]:
    """The content of ``metadata.json``, see MONAI's schema."""
    about = trained.description()
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported after {trained.provenance['steps']} steps"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {
            "nibabel": importlib.metadata.version("nibabel"),
            "pytorch-ignite": "0.5",
            "fire": "0.5",
        },
        "name": f"Segmentation of {', '.join(trained.class_names[1:])}",
        "task": "Segmentation of volumes, "
        + ("patch by patch" if trained.sees_volumes else "slice by slice"),
        "description": (
            "A network that learned from a few corrected slices and many rough labels "
            "(napari-mlbseg)."
        ),
        "authors": "whoever exported the model; the software is by the napari-mlbseg developers",
        "copyright": "The scripts: see LICENSE. The weights: whoever exported the model.",
        "network_data_format": _data_format(trained),
        **about,
    }


def inference(trained: TrainedModel) -> dict[str, Any]:
    """The content of ``inference.json``: a workflow that MONAI runs."""
    sees_labels = trained.preparation.label_channels > 0
    channels = len(trained.preparation.channel_names)
    return {
        "imports": ["$import numpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/labels'",
        **({"initial_labels_dir": None} if sees_labels else {}),
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "preparation": trained.description()["preparation"],
        "views": list(trained.views),
        "network_def": {"_target_": "scripts.network.build_network", **trained.built},
        "network": "$@network_def.to(@device)",
        "preprocessing": _preprocessing(sees_labels=sees_labels),
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": f"{_PARTS}.images_in", "folder": "@dataset_dir"}
            | ({"initial_labels": "@initial_labels_dir"} if sees_labels else {})
            | ({"channels": channels} if channels > 1 else {}),
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": _inferer(trained),
        "postprocessing": _postprocessing(),
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            }
        ],
        "evaluator": _evaluator(),
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(*, sees_labels: bool) -> dict[str, Any]:
    return _compose(
        {
            "_target_": "LoadImaged",
            "keys": ["image", "initial_labels"] if sees_labels else "image",
            "reader": "NibabelReader",
            "image_only": True,
            **({"allow_missing_keys": True} if sees_labels else {}),
        },
        {
            "_target_": f"{_PARTS}.OnGridd",
            "keys": "image",
            "preparation": "@preparation",
        },
    )


def _postprocessing() -> dict[str, Any]:
    return _compose(
        {
            "_target_": f"{_PARTS}.LabelsOfFiled",
            "keys": "pred",
            "preparation": "@preparation",
        },
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "seg",
            "output_dtype": "$numpy.uint8",
            "resample": False,
            "separate_folder": False,
        },
    )


def _evaluator() -> dict[str, Any]:
    return {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    }


def tiling(trained: TrainedModel) -> dict[str, Any]:
    """Arguments for `monai.inferers.SlidingWindowInferer` to tile a volume."""
    return {
        "roi_size": list(trained.preparation.size),
        "sw_batch_size": TILES_AT_ONCE,
        "overlap": OVERLAP,
        "mode": "gaussian",
    }


def _inferer(trained: TrainedModel) -> dict[str, Any]:
    if not trained.sees_volumes:
        return {"_target_": f"{_PARTS}.SlicesInferer", "views": "@views"}
    tiled = {"_target_": "SlidingWindowInferer", **tiling(trained)}
    return {"_target_": f"{_PARTS}.VolumeInferer", "views": "@views", "tiled": tiled}


def _compose(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


def _data_format(trained: TrainedModel) -> dict[str, Any]:
    size = list(trained.preparation.size)
    about = trained.description()
    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "any",
                "num_channels": trained.preparation.channels,
                "spatial_shape": size,
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": trained.sees_volumes,
                "channel_def": {str(i): said for i, said in enumerate(about["channels"])},
            }
        },
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": len(trained.class_names),
                "spatial_shape": size,
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": trained.sees_volumes,
                "channel_def": {str(i): name for i, name in enumerate(trained.class_names)},
            }
        },
    }
