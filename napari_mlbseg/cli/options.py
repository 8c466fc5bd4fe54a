"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="A folder NAME.mlbseg.")]
CaseName = Annotated[
    str, typer.Argument(metavar="CASE", help="Name of the case, as info shows it.")
]
FileAxis = Annotated[
    int | None,
    typer.Option(min=0, max=2, help="Axis of the file's array; by default the axis of the case."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

Steps = Annotated[int | None, typer.Option(help="Bootstrapping steps.")]
BaseSteps = Annotated[int | None, typer.Option(help="Steps of the base model.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option(help="Where to compute.")
]
Network = Annotated[
    Literal["auto", "unet", "unet++"] | None, typer.Option(help="Architecture of the network.")
]
Dimensions = Annotated[
    Literal["auto", "2d", "2.5d", "3d"] | None,
    typer.Option(help="Train on slices, slices with neighbours, or volumes."),
]
Weights = Annotated[
    Literal["meta", "published", "uniform", "none"] | None,
    typer.Option(help="How labels are weighted, see docs/method.md; published: as in the paper."),
]
Pieces = Annotated[
    str | None,
    typer.Option(help='How many pieces a structure has at most: "left atrium=1,scar=any".'),
]
NoHoles = Annotated[
    str | None, typer.Option(help='Structures without holes in them: "left atrium,scar".')
]
LearningRate = Annotated[
    float | None, typer.Option(help="Learning rate at the start of each stage; default: 0.001.")
]
