"""How the web server is started, wherever it is started from."""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 2
# Who calls is whoever is at the other end of the connection: a header could name a proxy that is believed.
_FLAGS: Final = ("--no-access-log", "--no-server-header", "--no-proxy-headers")


def web_command(*, host: str, port: int) -> list[str]:
    """The command line of one web process.

    Streams of events never end by themselves, so shutdown waits 2 s for them. Access lines are left out: a path may hold a one-time link.
    """
    options = {
        "--host": host,
        "--port": str(port),
        "--loop": "uvloop",
        "--http": "httptools",
        "--lifespan": "on",
        "--timeout-graceful-shutdown": str(STOP_SECONDS),
        # Otherwise uvicorn looks for modules in the folder one happens to be in.
        "--app-dir": str(ROOT),
    }
    words = [word for pair in options.items() for word in pair]
    return [sys.executable, "-P", "-m", "uvicorn", "bot.app:create_app", "--factory", *words, *_FLAGS]
