"""What `countersign up` says once everything works: one link, and calm lines of what to do."""

import shlex
import sys
from pathlib import Path
from typing import Final

from store.settings import Settings

DEFAULT_PORT: Final = 8000
DEFAULT_FOLDER: Final = ".countersign"


def greet(settings: Settings, link: str, *, first: bool) -> None:
    """Prints the link and what can be done now; `first` is whether this data folder is new."""
    lines = _demo_lines(settings) if settings.demo else _lines(link)
    found = [] if first else [f"Your earlier runs are still there, from {settings.data_dir}."]
    print("\n".join(["", f"  {settings.url}{link}", "", *lines, *found, "Ctrl-C stops everything.", ""]))
    sys.stdout.flush()


def _demo_lines(settings: Settings) -> list[str]:
    elsewhere = {"COUNTERSIGN_PORT": str(settings.port), "COUNTERSIGN_DATA_DIR": str(settings.data_dir)}
    usual = {str(DEFAULT_PORT), str(Path(DEFAULT_FOLDER).absolute())}
    told = "".join(f"{name}={shlex.quote(value)} " for name, value in elsewhere.items() if value not in usual)
    return [
        "Countersign runs. Open the link (it works once), and be Ada, Lin, Kim, Max or Eve.",
        "As Ada, in #ops:   /deploy api v2             staging moves at once; watch the card in #deploys",
        "Then:              /deploy api v3 env=prod    two others have to countersign",
        "As Lin and as Kim: press Approve on the card in #deploys; only then it runs",
        "As Eve:            /deploy api v2             refused, with the reason",
        "As Ada:            /deploy api broken         fails its check, and is undone",
        f"In a terminal:     {told}countersign chat --as ada",
    ]


def _lines(link: str) -> list[str]:
    who = "this link signs you in once, within 15 minutes" if link else "a link for each person: countersign token issue PERSON --link"
    return [
        f"Countersign runs; {who}.",
        "Is every part well:  countersign doctor",
        "A token for yourself: countersign token issue PERSON, then countersign login",
        "Ask for something:   countersign run 'help', or countersign chat",
        "Change who may what: countersign policy check FILE, then countersign policy apply FILE",
        "Connect Slack:       countersign slack manifest",
        "Write a command:     countersign new command NAME",
    ]
