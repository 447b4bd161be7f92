"""The command line `countersign`. Its light commands speak to a hub over HTTP; every role is started by executing it."""

from .apps import app
from .endings import finish


def main() -> None:
    """The entry point of the console script; never returns."""
    finish(app, name="countersign")
