"""How every command ends: one sentence on standard error, exit 2 for a wrong call and 1 for a failure."""

import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException


class Failed(TyperException):
    """The command could not do what was asked; the message is one sentence for the person at the terminal."""

    exit_code = 1


class WrongCall(TyperException):
    """The command was called with something that it cannot use; the message says what to write instead."""

    exit_code = 2


def new_app(help_text: str | None = None) -> typer.Typer:
    """A Typer application whose errors are plain sentences."""
    return typer.Typer(help=help_text, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def finish(app: typer.Typer, *, name: str) -> NoReturn:
    """Runs the application on this process's arguments, says what went wrong in one sentence and exits."""
    try:
        code = app(prog_name=name, standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except TyperException as error:
        print(f"{name}: {_sentence(error, name)}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: TyperException, name: str) -> str:
    said = " ".join(error.format_message().split())
    return said if isinstance(error, Failed | WrongCall) else f"{said.rstrip('.')}; see: {name} --help"
