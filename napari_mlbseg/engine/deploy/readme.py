"""The README that is written beside an exported model."""

from collections.abc import Sequence
from functools import partial

from napari_mlbseg.engine.deploy.trained import TrainedModel

_BUNDLE = """# {title}

A MONAI bundle, exported by napari-mlbseg {version}.

## Use

In this folder, with `pip install "monai[fire,ignite,nibabel]"`:

```sh
python -m monai.bundle run --config_file configs/inference.json \\
    --dataset_dir IMAGES --output_dir LABELS
```

segments every NIfTI image in IMAGES and writes `NAME_seg.nii.gz` into LABELS.
{bundle_channels}{bundle_labels}
{about}
"""

_GRAPH = """# {title}

Exported by napari-mlbseg {version}.

## Use

With `pip install numpy nibabel {runtime}`:

```sh
python predict.py {files} LABELS.nii.gz
```
{graph_channels}
`{file}` takes `{takes}`, float32 of the shape `batch {channels} {size}`, and gives `{gives}`,
`batch {classes} {size}`. `{around}` does everything around it, from a volume to labels;
`model.json` holds the parameters of that and the information below.
{graph_labels}
{about}
"""

_SEES_CHANNELS = """
## Channels

An image has {count} channels, in this order: {names}. {how} All lie on the same voxels; each is
standardised on its own. An image with fewer or more of them is refused.
"""

_SEES_LABELS = """
## Initial labels

The model was trained beside imported labels, and it learnt how those are wrong. {how}, it mends
labels of the same origin on the voxels of the image. Without them it segments the image alone.
"""

_ABOUT = """## Classes

| label | name |
| --- | --- |
{classes}

## Intended use

{intended_use}

## Limitations

{limitations}

## Where it comes from

{steps} steps on {cases} images with {clean} corrected slices{dice}. SHA-256 of the checkpoint:
`{checkpoint}`. Method: {method}.
"""


def bundle_readme(trained: TrainedModel) -> str:
    """The README of a MONAI bundle."""
    return _BUNDLE.format(**_common(trained))


def graph_readme(trained: TrainedModel, file: str) -> str:
    """The README of a model that runs without its Python code."""
    prepared = trained.preparation
    takes, gives = trained.tensor_names
    return _GRAPH.format(
        **_common(trained),
        file=file,
        runtime="onnxruntime" if file.endswith(".onnx") else "torch",
        channels=prepared.channels,
        size=" ".join(map(str, prepared.size)),
        takes=takes,
        gives=gives,
        around="volumes.py" if trained.sees_volumes else "slices.py",
        classes=len(prepared.class_values),
    )


def _common(trained: TrainedModel) -> dict[str, str]:
    about, source = trained.description(), trained.provenance
    dice, sees_labels = source["validation_dice"], trained.preparation.label_channels > 0
    told = _SEES_LABELS if sees_labels else ""
    return {
        "bundle_labels": told.format(
            how="With `--initial_labels_dir FOLDER`, which holds files of the same names"
        ),
        "graph_labels": told.format(how="With `--initial-labels ROUGH.nii.gz`"),
        **_channels(trained.preparation.channel_names),
        "title": f"Segmentation of {', '.join(trained.class_names[1:])}",
        "version": str(source["software_version"]),
        "about": _ABOUT.format(
            classes="\n".join(f"| {c['value']} | {c['name']} |" for c in about["classes"]),
            intended_use=about["intended_use"],
            limitations=about["limitations"],
            steps=source["steps"],
            cases=source["cases"],
            clean=source["clean_slices"],
            dice="" if dice is None else f", Dice {dice:.3f} on validation slices",
            checkpoint=source["checkpoint_sha256"],
            method=source["method"],
        ).strip(),
    }


def _channels(names: Sequence[str]) -> dict[str, str]:
    """How images of several channels are given."""
    if len(names) == 1:
        return {"files": "IMAGE.nii.gz", "bundle_channels": "", "graph_channels": ""}
    told = partial(_SEES_CHANNELS.format, count=len(names), names=", ".join(names))
    return {
        "files": " ".join(f"CHANNEL{k}.nii.gz" for k in range(1, len(names) + 1)),
        "bundle_channels": told(
            how="Each is a file of IMAGES: `CASE_0000.nii.gz` is the first one of a case, "
            "`CASE_0001.nii.gz` the second one, and so on; labels are called "
            "`CASE_0000_seg.nii.gz`."
        ),
        "graph_channels": told(
            how="Each is a file, or all are the frames of one file; `-` stands for one that is "
            "missing, but for the first."
        ),
    }
