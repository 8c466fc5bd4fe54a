"""The command line, called in this process."""

from typing import Any, Protocol

from typer.testing import CliRunner

from napari_mlbseg.cli import app


class Mlbseg(Protocol):
    """The fixture `mlbseg`: arguments to the result, which has the exit code that is expected."""

    def __call__(self, *arguments: object, code: int = 0) -> Any: ...


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    return result
