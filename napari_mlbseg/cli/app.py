"""The commands. Each imports what it needs when it runs, so that ``--help`` is immediate."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from napari_mlbseg.cli import change_commands, output, review_commands, sharing_commands
from napari_mlbseg.cli.exits import Commands, ExitCode, show_import
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
from napari_mlbseg.cli.options import (
    AsJson,
    BaseSteps,
    CaseName,
    Device,
    Dimensions,
    FileAxis,
    LearningRate,
    Network,
    NoHoles,
    Pieces,
    Steps,
    StudyPath,
    Weights,
)
from napari_mlbseg.cli.timing_options import MarkEnds, Marks, MarksClock, Threads
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat

app = typer.Typer(
    cls=Commands,
    help="Correct a few slices of rough 3-D segmentations; meta-learning corrects the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the ``mlbseg`` script."""
    app(prog_name="mlbseg")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-mlbseg {version('napari-mlbseg')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    # The commands report what the library logs, in a sentence; logging would print the rest.
    logging.getLogger("napari_mlbseg").addHandler(logging.NullHandler())


@app.command()
def init(
    study: StudyPath,
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Folder with 3-D images, or one image file.")
    ],
    *,
    labels: Annotated[
        Path | None, typer.Option(help="Folder (or file) with rough labels, named like the images.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help='Names for the values 1, 2, ...: "left atrium,scar".')
    ] = None,
    pieces: Pieces = None,
    no_holes: NoHoles = None,
    frame: Frame = None,
    series: Series = None,
    pair: PairNames = None,
    table: PairTable = None,
    channels: ChannelNames = None,
    fill_missing: FillMissing = False,
    layout: FolderLayout = "auto",
    one_hot: OneHot = False,
    renumber: Renumber = None,
    only_approved: Annotated[
        bool, typer.Option("--only-approved", help="Only slices teach that a reviewer approved.")
    ] = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Make a study from a folder of images, with or without rough labels.

    Files that cannot be read are left out and listed.
    """
    from napari_mlbseg.cli import studies
    from napari_mlbseg.cli.folders import choice_of, pairing_of
    from napari_mlbseg.project.importing.rules import Rules

    pairing = pairing_of(pair, table, layout, channels, fill=fill_missing)
    if dry_run:
        output.show_plan(studies.planned(images, labels, pairing), json=json)
        return
    rules = Rules.parsed(pieces, no_holes)
    choice = choice_of(frame, series, one_hot=one_hot, renumber=renumber)
    made = studies.init(
        *(study, images, labels, classes, choice, rules, pairing), only_approved=only_approved
    )
    show_import(made, json=json, text=output.study_text)


@app.command()
def info(study: StudyPath, json: AsJson = False) -> None:
    """Show the cases of a study, the states of their slices, and its runs."""
    from napari_mlbseg.cli import studies

    described = studies.info(study)
    output.show(described, json=json, text=output.study_text)


app.add_typer(change_commands.commands)
app.add_typer(sharing_commands.commands)
app.add_typer(review_commands.commands)


@app.command()
def accept(
    study: StudyPath,
    case: CaseName,
    *,
    slices: Annotated[
        str, typer.Option(help="Slices along the axis of the file's array: 10,44 or 10-20:2.")
    ],
    labels: Annotated[Path, typer.Option(help="Label file with the corrected slices.")],
    axis: FileAxis = None,
    json: AsJson = False,
) -> None:
    """Make slices clean with the labels of a corrected file."""
    from napari_mlbseg.cli import studies

    accepted = studies.accept(study, case, slices, labels, axis)
    output.show(accepted, json=json, text=output.accepted_text)


@app.command()
def extent(
    study: StudyPath,
    case: CaseName,
    *,
    first: Annotated[int | None, typer.Option(help="First slice that shows the class.")] = None,
    last: Annotated[int | None, typer.Option(help="Last slice that shows the class.")] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Name of the class; needed if there are several.")
    ] = None,
    axis: FileAxis = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the marks of the class away.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Mark the first and the last slice that show a class; without both, show what is marked.

    The slices outside are certified not to show it.
    """
    from napari_mlbseg.cli import extents

    ends = extents.given(first, last, clearing=clear)
    if clear:
        told = extents.clear(study, case, label, axis)
    elif ends.first is None and ends.last is None:
        told = extents.show(study, case)
    else:
        told = extents.mark(study, case, label, axis, ends)
    output.show(told, json=json, text=output.extents_text)


@app.command()
def run(
    study: StudyPath,
    *,
    steps: Steps = None,
    minutes: Annotated[float | None, typer.Option(help="Time limit of the whole run.")] = None,
    base_steps: BaseSteps = None,
    device: Device = None,
    network: Network = None,
    dimensions: Dimensions = None,
    weights: Weights = None,
    learning_rate: LearningRate = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start afresh, without a checkpoint.")
    ] = False,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="OTHER",
            help="Begin with the model of another study or an exported bundle, if the study has "
            "none yet. Without clean slices, only label with it.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Train on the clean slices and predict the rest; Ctrl-C stops, the next call resumes."""
    from napari_mlbseg.cli import runs
    from napari_mlbseg.engine.config import Config

    given = _given(
        steps=steps,
        minutes=minutes,
        base_steps=base_steps,
        device=device,
        network=network,
        dimensions=dimensions,
        weights=weights,
        learning_rate=learning_rate,
        seed=seed,
        begin_with=str(begin_with.absolute()) if begin_with is not None else None,
    )
    summary = runs.run(study, Config.from_dict({**given, "resume": not fresh}))
    output.show(summary, json=json, text=output.run_text)
    if summary["stopped"]:
        raise typer.Exit(ExitCode.INTERRUPTED)


@app.command()
def export(
    study: StudyPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder; made if need be.")],
    *,
    what: Annotated[
        ExportKind, typer.Option(help="What to export of each case.")
    ] = ExportKind.LABELS,
    form: Annotated[
        OutFormat,
        typer.Option("--format", help="auto: the format of the case; DICOM-SEG for DICOM."),
    ] = OutFormat.AUTO,
    case: Annotated[
        list[str] | None, typer.Option(help="Only this case; may be given several times.")
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(help="Only these slices of one case: 10,44 or 10-20:2."),
    ] = None,
    axis: FileAxis = None,
    dicomweb: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Send the DICOM files to this archive, and see that they arrive."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Write files with the geometry of their images, and the provenance of each beside it.

    nnunet and bids are new folders inside OUT.
    """
    from napari_mlbseg.cli import exports

    written = exports.export(
        study,
        out,
        what,
        form,
        names=case or (),
        slices=slices,
        file_axis=axis,
        archive=dicomweb,
    )
    output.show(written, json=json, text=output.export_text)


@app.command()
def report(
    study: StudyPath,
    out: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
    json: AsJson = False,
) -> None:
    """Write one page about a study: progress, effort, estimated Dice, slices, settings."""
    from napari_mlbseg.cli import exports

    output.show(exports.report(study, out), json=json, text=output.report_text)


@app.command()
def verify(study: StudyPath, json: AsJson = False) -> None:
    """Check a study: everything that a person did, all arrays, checkpoints and backups."""
    from napari_mlbseg.cli import safety

    found = safety.verify(study)
    output.show(found, json=json, text=output.verified_text)
    if not found["sound"]:
        output.error(f"{len(found['findings'])} things are damaged. Run: mlbseg repair {study}")
        raise typer.Exit(ExitCode.USER_ERROR)


@app.command()
def repair(study: StudyPath, json: AsJson = False) -> None:
    """Repair what `verify` finds: from backups, earlier revisions and the source files."""
    from napari_mlbseg.cli import safety

    told = safety.repair(study)
    output.show(told, json=json, text=output.repaired_text)
    if told["left"]:
        output.error(f"{len(told['left'])} things could not be repaired:")
        for line in told["left"]:
            output.note(f"  {line}")
        raise typer.Exit(ExitCode.PARTLY)


@app.command()
def backup(study: StudyPath, json: AsJson = False) -> None:
    """Copy all human work of a study into a new backup within it; the last seven are kept."""
    from napari_mlbseg.cli import safety

    output.show(safety.backup(study), json=json, text=output.backup_text)


@app.command()
def log(
    study: StudyPath,
    *,
    case: Annotated[str | None, typer.Option(help="Only what was done to this case.")] = None,
    count: Annotated[int | None, typer.Option("-n", min=1, help="Only the newest lines.")] = None,
    json: AsJson = False,
) -> None:
    """Tell who did what and when in a study, oldest first."""
    from napari_mlbseg.cli import safety

    output.show(safety.log(study, case, count), json=json, text=output.log_text)


model_app = typer.Typer(help="The trained model, for use elsewhere.", no_args_is_help=True)
app.add_typer(model_app, name="model")


@model_app.command("export")
def export_model(
    study: StudyPath,
    *,
    to: Annotated[ModelFormat, typer.Option("--format", help="How the model is packaged.")],
    out: Annotated[Path, typer.Option(help="New folder; it must not exist yet.")],
    json: AsJson = False,
) -> None:
    """Write the trained model with everything that predicting needs, checked against the engine."""
    from napari_mlbseg.cli import models

    written = models.export(study, to, out)
    output.show(written, json=json, text=output.model_text)


@app.command()
def suggest(
    study: StudyPath,
    *,
    count: Annotated[int, typer.Option("-n", min=1, help="How many slices.")] = 10,
    json: AsJson = False,
) -> None:
    """Name the slices that are worth correcting next, the best first."""
    from napari_mlbseg.cli import simulations

    found = simulations.suggest(study, count)
    output.show(found, json=json, text=output.suggestions_text)


@app.command()
def simulate(
    study: StudyPath,
    *,
    truth: Annotated[Path, typer.Option(help="Folder with true labels, named like the images.")],
    budget: Annotated[str, typer.Option(help="Numbers of corrected slices, increasing: 4,8,16.")],
    policy: Annotated[
        str, typer.Option(help="even, random, suggested, or several: a,b.")
    ] = "suggested",
    method: Annotated[str, typer.Option(help="Methods of docs/simulation.md: a,b.")] = "mlbseg",
    seeds: Annotated[int, typer.Option(min=1, help="How many repetitions.")] = 3,
    holdout: Annotated[str, typer.Option(help="Cases to keep out of the cohort: a,b.")] = "",
    steps: Steps = None,
    base_steps: BaseSteps = None,
    device: Device = None,
    marks: Marks = None,
    clock: MarksClock = "wall",
    threads: Threads = None,
    mark_ends: MarkEnds = False,
    json: Annotated[
        Path | None,
        typer.Option("--json", help="File of records; finished runs are not repeated."),
    ] = None,
) -> None:
    """Correct slices with their true masks, train, and measure, budget after budget.

    The study is only read. With --json, existing records are kept, and working copies lie beside
    that file in a folder ending in .work, which you may delete afterwards.
    """
    from napari_mlbseg.cli import simulations
    from napari_mlbseg.engine.config import Config

    given = _given(steps=steps, base_steps=base_steps, device=device, threads=threads)
    plan = simulations.plan(
        budget,
        policy=policy,
        method=method,
        seeds=seeds,
        holdout=holdout,
        config=Config.from_dict(given),
        timing=None if marks is None else simulations.timing(marks, clock),
        ends=mark_ends,
    )
    output.simulation_text(simulations.simulate(study, truth, plan, json))


@app.command()
def gui(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", show_default=False)] = None,
    *,
    review: Annotated[
        bool, typer.Option("--review", help="Review what others accepted; needs no torch.")
    ] = False,
) -> None:
    """Open the window, with a study if you name one."""
    from napari_mlbseg.window_needs import check_window

    if review and study is None:
        raise UserError("Name the study to review: mlbseg gui STUDY --review.")
    check_window()
    import napari

    viewer = napari.Viewer()
    if review and study is not None:
        from napari_mlbseg.widgets.review_dock import open_review

        open_review(viewer, study)
    else:
        from napari_mlbseg.widgets.dock import open_dock

        open_dock(viewer, study)
    napari.run()


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder; made if need be.")],
    json: AsJson = False,
) -> None:
    """Make a phantom cohort, correct a few slices, run, export, and draw before and after."""
    from napari_mlbseg.cli import runs

    summary = runs.demo(out)
    output.show(summary, json=json, text=output.demo_text)
    if summary["stopped"]:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _given(**options: object) -> dict[str, object]:
    """The options that were given; the settings have defaults for the others."""
    return {name: value for name, value in options.items() if value is not None}
