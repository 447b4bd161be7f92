"""Options that several commands share."""

from typing import Annotated

import typer

As = Annotated[str, typer.Option("--as", metavar="PERSON", help="One of a demo's people; without it, who your token belongs to.")]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="When to start: 22:00, 'tomorrow 9:00 Europe/Berlin' or 'in 2h'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's number (12 or #12) or its id.")]
Digest = Annotated[str, typer.Option("--digest", metavar="DIGEST", help="Decide only if the plan is still this one.")]
