"""The commands with which people review each other's slices."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_mlbseg.cli import output
from napari_mlbseg.cli.options import AsJson, FileAxis, StudyPath
from napari_mlbseg.errors import UserError

if TYPE_CHECKING:
    from napari_mlbseg.project.records.reviews import Verdict

commands = typer.Typer()


@commands.command()
def review(
    study: StudyPath,
    case: Annotated[
        str | None, typer.Argument(metavar="[CASE]", help="Name of a case, as info shows it.")
    ] = None,
    *,
    slices: Annotated[
        str | None,
        typer.Option(help="Slices of the case: 3,5-9; by default all that await your review."),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Agree with them.")] = False,
    send_back: Annotated[
        bool, typer.Option("--return", help="Send them back; say why with --note.")
    ] = False,
    note: Annotated[str, typer.Option(help="What is to be said of them.")] = "",
    only: Annotated[
        Literal["all", "to-review", "returned-to-me"],
        typer.Option(help="Which slices to list."),
    ] = "all",
    axis: FileAxis = None,
    json: AsJson = False,
) -> None:
    """Approve accepted slices of a case or send them back; without either, list reviews.

    Nobody reviews slices that they accepted themselves. What is sent back counts as a draft until
    it is accepted anew.
    """
    from napari_mlbseg.cli import reviews

    verdict = _verdict(case, slices, note, approve=approve, send_back=send_back)
    if verdict is None:
        output.show(reviews.listed(study, case, only), json=json, text=output.reviews_text)
    else:
        told = reviews.give(study, case or "", slices, verdict, note, axis)
        output.show(told, json=json, text=output.reviewed_text)


@commands.command()
def teaching(
    study: StudyPath,
    *,
    only_approved: Annotated[
        bool | None,
        typer.Option("--only-approved/--all-accepted", help="Which slices teach from now on."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show or change whether all accepted slices teach, or only those that a reviewer approved.

    The network learns from slices that teach, and `export --what accepted` holds them.
    """
    from napari_mlbseg.cli import reviews

    told = reviews.teaching(study, only_approved)
    output.show(told, json=json, text=output.teaching_text)


def _verdict(
    case: str | None, slices: str | None, note: str, *, approve: bool, send_back: bool
) -> "Verdict | None":
    from napari_mlbseg.project.records.reviews import Verdict

    if approve and send_back:
        raise UserError("Slices are approved or sent back: give --approve or --return.")
    if not (approve or send_back):
        if slices is not None or note:
            raise UserError("Say what becomes of the slices: --approve, or --return with --note.")
        return None
    if case is None:
        raise UserError("Name the case whose slices you review.")
    return Verdict.APPROVED if approve else Verdict.RETURNED
