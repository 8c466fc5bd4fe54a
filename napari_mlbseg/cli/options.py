"""Options of the commands that train."""

from typing import Annotated, Literal

import typer

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
LearningRate = Annotated[
    float | None, typer.Option(help="Learning rate at the start of each stage; default: 0.001.")
]

Marks = Annotated[
    str | None,
    typer.Option(help="Minutes at which to measure each run: 1,4,8,30; it ends with the last."),
]
MarksClock = Annotated[
    str, typer.Option(help="Of the marks: wall, or processor (its time / threads).")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Of torch, on a CPU.")]
MarkEnds = Annotated[
    bool, typer.Option("--mark-ends", help="Also mark the ends of each class in each case.")
]
