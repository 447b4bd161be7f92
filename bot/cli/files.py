"""Files that a person names on the command line."""

from pathlib import Path

from .endings import WrongCall


def read_text(path: Path) -> str:
    """The text of a file; raises WrongCall in one sentence when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WrongCall(f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}.") from None
    except UnicodeError:
        raise WrongCall(f"{path} is not UTF-8 text.") from None
