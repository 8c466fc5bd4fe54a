"""Options of simulations: when a run is measured, and by which clock."""

from typing import Annotated

import typer

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
