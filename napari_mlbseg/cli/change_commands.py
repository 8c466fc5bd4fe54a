"""The commands that change what a study is made of."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mlbseg.cli import output
from napari_mlbseg.cli.exits import show_import
from napari_mlbseg.cli.folder_options import (
    ChannelNames,
    DryRun,
    FillMissing,
    FolderLayout,
    Frame,
    OneHot,
    PairNames,
    PairTable,
    Renumber,
    Series,
)
from napari_mlbseg.cli.options import AsJson, CaseName, NoHoles, Pieces, StudyPath

commands = typer.Typer()

CaseNames = Annotated[
    list[str], typer.Argument(metavar="CASE...", help="Names of cases, as info shows them.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@commands.command()
def add(
    study: StudyPath,
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Folder with 3-D images, or one image file.")
    ],
    *,
    labels: Annotated[
        Path | None, typer.Option(help="Folder (or file) with rough labels, named like the images.")
    ] = None,
    frame: Frame = None,
    series: Series = None,
    pair: PairNames = None,
    table: PairTable = None,
    channels: ChannelNames = None,
    fill_missing: FillMissing = False,
    layout: FolderLayout = "auto",
    one_hot: OneHot = False,
    renumber: Renumber = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Add further images to a study, with or without rough labels.

    Files that cannot be read, or whose case the study has already, are left out and listed.
    """
    from napari_mlbseg.cli import changes, studies
    from napari_mlbseg.cli.folders import choice_of, pairing_of

    pairing = pairing_of(pair, table, layout, channels, fill=fill_missing)
    if dry_run:
        output.show_plan(studies.planned(images, labels, pairing), json=json)
        return
    choice = choice_of(frame, series, one_hot=one_hot, renumber=renumber)
    told = changes.add(study, images, labels, choice, pairing)
    show_import(told, json=json, text=output.changed_text)


@commands.command()
def remove(study: StudyPath, cases: CaseNames, yes: Yes = False, json: AsJson = False) -> None:
    """Take cases out of a study; `restore` brings them back until the study is compacted.

    Everything that was done to them is kept.
    """
    from napari_mlbseg.cli import changes

    changes.require_cases(study, cases)
    _ask(yes, f"Take {output.listed(cases)} out of the study? `mlbseg restore` undoes it.")
    output.show(changes.remove(study, cases), json=json, text=output.changed_text)


@commands.command()
def restore(study: StudyPath, cases: CaseNames, json: AsJson = False) -> None:
    """Bring removed cases back, as they were."""
    from napari_mlbseg.cli import changes

    output.show(changes.restore(study, cases), json=json, text=output.changed_text)


@commands.command()
def rename(
    study: StudyPath,
    case: CaseName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    json: AsJson = False,
) -> None:
    """Call a case otherwise; exports use the new name."""
    from napari_mlbseg.cli import changes

    output.show(changes.rename(study, case, name), json=json, text=output.changed_text)


@commands.command()
def relabel(
    study: StudyPath,
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="Folder with label files, or one for one case."),
    ],
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE...]", help="By default all that LABELS has labels for."),
    ] = None,
    *,
    pair: PairNames = None,
    one_hot: OneHot = False,
    renumber: Renumber = None,
    json: AsJson = False,
) -> None:
    """Take better rough labels for some cases; corrected slices stay as they are.

    The predictions of these cases are made anew by the next run.
    """
    from napari_mlbseg.cli import changes
    from napari_mlbseg.cli.folders import choice_of, pairing_of

    choice = choice_of(None, None, one_hot=one_hot, renumber=renumber)
    rule = pairing_of(pair, None, "auto").rule
    told = changes.relabel(study, labels, cases or (), choice, rule)
    show_import(told, json=json, text=output.files_text)


@commands.command()
def relocate(
    study: StudyPath,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where the files are now.")
    ] = None,
    *,
    table: PairTable = None,
    json: AsJson = False,
) -> None:
    """Tell a study where its files are after they were moved; every voxel is compared."""
    from napari_mlbseg.cli import changes

    told = changes.relocate(study, folder, table)
    show_import(told, json=json, text=output.files_text)


@commands.command()
def compact(study: StudyPath, yes: Yes = False, json: AsJson = False) -> None:
    """Delete the arrays of removed cases for good, after a backup.

    What was done to their slices stays in the catalogue.
    """
    from napari_mlbseg.cli import changes

    names = changes.removed(study)
    if names:
        _ask(yes, f"Delete the arrays of {output.listed(names)}? They cannot be restored then.")
    output.show(changes.compact(study), json=json, text=output.changed_text)


@commands.command()
def classes(
    study: StudyPath,
    *,
    pieces: Pieces = None,
    no_holes: NoHoles = None,
    holes: Annotated[str | None, typer.Option(help="Structures that may have holes again.")] = None,
    new_names: Annotated[
        str | None, typer.Option("--rename", help='New names: "scar=fibrosis".')
    ] = None,
    colour: Annotated[str | None, typer.Option(help='New colours: "scar=#e69f00".')] = None,
    merge: Annotated[
        str | None,
        typer.Option(help='Classes that become others: "scar=left atrium"; asks first.'),
    ] = None,
    delete: Annotated[
        str | None, typer.Option(help='Classes that become background: "scar"; asks first.')
    ] = None,
    order: Annotated[
        str | None, typer.Option(help='Classes to come first, in this order: "scar,left atrium".')
    ] = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Show the classes of a study, or change what they are called and what is said of them."""
    from napari_mlbseg.cli import changes, studies
    from napari_mlbseg.project.importing.rules import Rules

    rules = Rules.parsed(pieces, no_holes, holes)
    if merge or delete:
        what = [f"merge {merge}"] * bool(merge) + [f"delete {delete}"] * bool(delete)
        _ask(
            yes,
            f"In all labels and corrected slices: {' and '.join(what)}? The next training starts "
            "afresh.",
        )
    if not (new_names or colour or merge or delete or order):
        told = studies.classes(study, rules)
    else:
        told = changes.classes(
            study,
            rules,
            rename=new_names,
            colour=colour,
            merge=merge,
            delete=delete,
            order=order,
        )
    output.show(told, json=json, text=output.classes_text)


def _ask(yes: bool, question: str) -> None:
    if not yes:
        typer.confirm(question, abort=True, err=True)
