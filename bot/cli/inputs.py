"""Lines that a person types, or that a script sends: both are read the same way."""

import getpass
import sys
import threading
from collections.abc import Iterable

try:
    from readline import get_line_buffer
except ImportError:  # a Python built without it still reads lines

    def get_line_buffer() -> str:
        return ""


class Terminal:
    """Reads lines and prints what happens meanwhile, without tearing the line that is being typed."""

    def __init__(self) -> None:
        self.is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._prompt: str | None = None
        self._printing = threading.Lock()

    def ask(self, prompt: str) -> str | None:
        """The next line without its end; None at the end of the input. A script sees no prompt."""
        if not self.is_interactive:
            line = sys.stdin.readline()
            return line.rstrip("\r\n") if line else None
        self._prompt = prompt
        try:
            return input(prompt)
        except EOFError:
            return None
        finally:
            self._prompt = None

    def ask_secret(self, prompt: str) -> str | None:
        """The same without showing what is typed."""
        if not self.is_interactive:
            return self.ask(prompt)
        try:
            return getpass.getpass(prompt)
        except EOFError:
            return None

    def show(self, lines: Iterable[str]) -> None:
        """Prints lines above the one that is being typed; any thread may call it."""
        with self._printing:
            prompt = self._prompt
            if prompt is not None:
                sys.stdout.write("\r\x1b[K")
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            if prompt is not None:
                sys.stdout.write(prompt + get_line_buffer())
            sys.stdout.flush()
