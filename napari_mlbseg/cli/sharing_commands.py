"""The commands for several people on one study."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mlbseg.cli import output
from napari_mlbseg.cli.exits import ExitCode
from napari_mlbseg.cli.options import AsJson, CaseName, FileAxis, StudyPath

commands = typer.Typer()


@commands.command()
def split(
    study: StudyPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the copies.")],
    *,
    between: Annotated[str, typer.Option(metavar="NAME,NAME", help="Who gets a copy.")],
    shared: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the cases that all of them get.")
    ] = 0.0,
    shared_slices: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the slices of each case that all of them get."),
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Of the chance that deals the cases and draws the slices.")
    ] = 0,
    json: AsJson = False,
) -> None:
    """Write a copy of a study for each person, with cases of their own; `merge` takes them back.

    What all of them get they correct without seeing each other's work: `agreement` then tells how
    far they agree. With --shared-slices each copy has all cases, and the window lists the slices
    that are to be corrected blindly.
    """
    from napari_mlbseg.cli import sharing

    told = sharing.split(study, out, between, shared, shared_slices, seed)
    output.show(told, json=json, text=output.copies_text)


@commands.command()
def merge(
    study: StudyPath,
    others: Annotated[list[Path], typer.Argument(metavar="OTHER...", help="Copies of the study.")],
    json: AsJson = False,
) -> None:
    """Take what was done in copies of a study into it; nothing is overwritten.

    Merging again takes nothing, and the order does not matter. A slice that several people accepted
    with different masks is a conflict until `choose` accepts one of them.
    """
    from napari_mlbseg.cli import sharing

    told = sharing.merge(study, others)
    output.show(told, json=json, text=output.merged_text)
    left = [line for one in told["merged"] for line in one["left_out"]]
    if left:
        output.error(f"{len(left)} things were left out:")
        for line in left:
            output.note(f"  {line}")
        raise typer.Exit(ExitCode.PARTLY)


@commands.command()
def conflicts(study: StudyPath, json: AsJson = False) -> None:
    """List the slices that several people accepted with different masks."""
    from napari_mlbseg.cli import sharing

    output.show(sharing.conflicts(study), json=json, text=output.conflicts_text)


@commands.command()
def choose(
    study: StudyPath,
    case: CaseName,
    *,
    index: Annotated[int, typer.Option("--slice", min=0, help="The slice, as the file counts.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Whose mask is accepted.")],
    axis: FileAxis = None,
    json: AsJson = False,
) -> None:
    """Accept one person's mask where several people accepted different ones."""
    from napari_mlbseg.cli import sharing

    told = sharing.choose(study, case, index, by, axis)
    output.show(told, json=json, text=output.conflicts_text)


@commands.command()
def agreement(study: StudyPath, json: AsJson = False) -> None:
    """Tell how far people agree on slices that they corrected without knowing of each other."""
    from napari_mlbseg.cli import sharing

    output.show(sharing.agreement(study), json=json, text=output.agreement_text)
