"""The commands. Each imports what it needs when it runs, so that ``--help`` is immediate."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from napari_mlbseg.cli import output
from napari_mlbseg.cli.exits import Commands, ExitCode
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat

app = typer.Typer(
    cls=Commands,
    help="Correct a few slices of rough 3-D segmentations; a meta-learning loop mends the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder ending in .mlbseg.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def main() -> None:
    """Entry point of the ``mlbseg`` script."""
    app(prog_name="mlbseg")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-mlbseg {version('napari-mlbseg')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    # What the library logs is told by the commands, in a sentence; logging would print the rest.
    logging.getLogger("napari_mlbseg").addHandler(logging.NullHandler())


@app.command()
def init(
    study: StudyPath,
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Folder with 3-D images, or one image.")
    ],
    *,
    labels: Annotated[
        Path | None, typer.Option(help="Folder (or file) with rough labels, named like the images.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help='Names for the values 1, 2, ...: "left atrium,scar".')
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Frame or channel of files with several, from 0.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="DICOM series of folders with several: its name, or all.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a study from a folder of images, with or without rough labels.

    Files that cannot be read are listed and left out.
    """
    from napari_mlbseg.cli import studies
    from napari_mlbseg.formats.source import Choice

    made = studies.init(study, images, labels, classes, Choice(frame, series))
    output.show(made, json=json, text=output.study_text)
    output.import_notes(made)
    if made["failures"]:
        raise typer.Exit(ExitCode.PARTLY)


@app.command()
def info(study: StudyPath, json: AsJson = False) -> None:
    """Show the cases of a study, how far their slices are, and its runs."""
    from napari_mlbseg.cli import studies

    described = studies.info(study)
    output.show(described, json=json, text=output.study_text)


@app.command()
def accept(
    study: StudyPath,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Name of the case, see info.")],
    *,
    slices: Annotated[str, typer.Option(help="Slices of the file's array: 10,44 or 10-20:2.")],
    labels: Annotated[Path, typer.Option(help="Label file with the corrected slices.")],
    axis: Annotated[
        int | None,
        typer.Option(min=0, max=2, help="Axis of the file's array; default: the case's own."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Take slices of a corrected label file as clean."""
    from napari_mlbseg.cli import studies

    accepted = studies.accept(study, case, slices, labels, axis)
    output.show(accepted, json=json, text=output.accepted_text)


@app.command()
def run(
    study: StudyPath,
    *,
    steps: Annotated[int | None, typer.Option(help="Bootstrapping steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End the whole run after this.")] = None,
    base_steps: Annotated[int | None, typer.Option(help="Steps of the base model.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option()] = None,
    network: Annotated[Literal["auto", "unet", "unet++"] | None, typer.Option()] = None,
    dimensions: Annotated[
        Literal["auto", "2d", "2.5d", "3d"] | None,
        typer.Option(help="Slices, slices with their neighbours, or volumes."),
    ] = None,
    weights: Annotated[
        Literal["meta", "published", "uniform", "none"] | None, typer.Option()
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="At the start of each stage; 0.001 unless given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, no checkpoint.")] = False,
    json: AsJson = False,
) -> None:
    """Learn from the clean slices and predict the rest; Ctrl-C stops, the next call resumes."""
    from napari_mlbseg.cli import runs
    from napari_mlbseg.engine.config import Config

    asked = {
        "steps": steps,
        "minutes": minutes,
        "base_steps": base_steps,
        "device": device,
        "network": network,
        "dimensions": dimensions,
        "weights": weights,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    summary = runs.run(study, Config.from_dict({**given, "resume": not fresh}))
    output.show(summary, json=json, text=output.run_text)
    if summary["stopped"]:
        raise typer.Exit(ExitCode.INTERRUPTED)


@app.command()
def export(
    study: StudyPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder; made if need be.")],
    *,
    what: Annotated[ExportKind, typer.Option(help="What of each case.")] = ExportKind.LABELS,
    form: Annotated[
        OutFormat, typer.Option("--format", help="auto: as the case came in; DICOM-SEG for DICOM.")
    ] = OutFormat.AUTO,
    json: AsJson = False,
) -> None:
    """Write one file per case with the same geometry, and where it comes from beside it."""
    from napari_mlbseg.cli import studies

    written = studies.export(study, out, what, form)
    output.show(written, json=json, text=output.export_text)


model_app = typer.Typer(help="The trained model, for use elsewhere.", no_args_is_help=True)
app.add_typer(model_app, name="model")


@model_app.command("export")
def export_model(
    study: StudyPath,
    *,
    to: Annotated[ModelFormat, typer.Option("--format", help="What it runs with.")],
    out: Annotated[Path, typer.Option(help="Folder that is not there yet.")],
    json: AsJson = False,
) -> None:
    """Write the trained model with all that its prediction needs, checked against the engine."""
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
    budget: Annotated[str, typer.Option(help="Corrected slices, growing: 4,8,16.")],
    policy: Annotated[str, typer.Option(help="even, random, suggested or several.")] = "suggested",
    method: Annotated[str, typer.Option(help="Names of docs/simulation.md: a,b.")] = "mlbseg",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.")] = 3,
    holdout: Annotated[str, typer.Option(help="Cases that the cohort does not hold: a,b.")] = "",
    steps: Annotated[int | None, typer.Option(help="Bootstrapping steps.")] = None,
    base_steps: Annotated[int | None, typer.Option(help="Steps of the base model.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option()] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="File of records; known ones are not made again.")
    ] = None,
) -> None:
    """Correct slices with their true masks, train, and measure, budget after budget.

    The study is only read. With --json, what was measured already is kept, and working copies lie
    beside that file in a folder ending in .work, which may be deleted afterwards.
    """
    from napari_mlbseg.cli import simulations
    from napari_mlbseg.engine.config import Config

    asked = {"steps": steps, "base_steps": base_steps, "device": device}
    config = Config.from_dict({name: v for name, v in asked.items() if v is not None})
    plan = simulations.plan(
        budget, policy=policy, method=method, seeds=seeds, holdout=holdout, config=config
    )
    output.simulation_text(simulations.simulate(study, truth, plan, json))


@app.command()
def gui(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", show_default=False)] = None,
) -> None:
    """Open the window, on a study if one is named."""
    import napari

    from napari_mlbseg.widgets.dock import open_dock

    viewer = napari.Viewer()
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
