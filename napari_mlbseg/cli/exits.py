"""How commands end: exceptions become one sentence and an exit code."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from napari_mlbseg.cli import output
from napari_mlbseg.errors import UserError


class ExitCode(IntEnum):
    """The exit codes of commands; stable, see docs/cli.md."""

    OK = 0
    USER_ERROR = 1
    USAGE = 2
    UNEXPECTED = 3
    PARTLY = 4
    INTERRUPTED = 130


class Commands(TyperGroup):
    """Turns exceptions into one sentence and an exit code; the only broad except of the CLI."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            output.error("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except UserError as error:
            self._traceback_if_asked(ctx)
            output.error(str(error))
            raise typer.Exit(ExitCode.USER_ERROR) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if _is_usage_error(error):
                raise
            self._traceback_if_asked(ctx)
            # A failed run has a message of its own, and the engine's traceback as a note.
            own = hasattr(error, "__notes__")
            said = str(error) if own else f"Unexpected {type(error).__name__}: {error}"
            output.error(f"{said} (mlbseg --debug ... shows where)")
            raise typer.Exit(ExitCode.UNEXPECTED) from None

    @staticmethod
    def _traceback_if_asked(ctx: Any) -> None:
        if ctx.params.get("debug"):
            output.traceback()


def _is_usage_error(error: Exception) -> bool:
    # Since 0.26 typer has its own copy of click; before that it used the package.
    return any(kind.__name__ == "ClickException" for kind in type(error).__mro__)


def show_import(
    told: output.Document, *, json: bool, text: Callable[[output.Document], None]
) -> None:
    """Show what was imported; ends the command as done in part where files were left out."""
    output.show(told, json=json, text=text)
    output.import_notes(told)
    if told["failures"]:
        raise typer.Exit(ExitCode.PARTLY)
