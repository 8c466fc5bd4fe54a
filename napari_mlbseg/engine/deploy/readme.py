"""The README that is written beside an exported model."""

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
{bundle_labels}
{about}
"""

_GRAPH = """# {title}

Exported by napari-mlbseg {version}.

## Use

With `pip install numpy nibabel {runtime}`:

```sh
python predict.py IMAGE.nii.gz LABELS.nii.gz
```

`{file}` takes `{takes}`, float32 of the shape `batch {channels} {size}`, and gives `{gives}`,
`batch {classes} {size}`. `{around}` does everything around it, from a volume to labels;
`model.json` holds the parameters of that and the information below.
{graph_labels}
{about}
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
