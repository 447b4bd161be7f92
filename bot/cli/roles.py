"""The roles of the hub and its tools, each started by becoming it: none of them is ever imported here."""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import typer

ROLES: Final = {
    "up": ("bot.cli.up", "Run the whole hub here, with its own Postgres and Redis where no URL is set."),
    "web": ("bot.cli.operating.webs", "Run the web server alone."),
    "worker": ("automations", "Run the workers alone: planning, executing and housekeeping, supervised."),
    "migrate": ("bot.cli.operating.migrations", "Bring the database's schema to the newest version and put a first policy in force."),
    "doctor": ("bot.cli.operating.doctors", "Check every part of the hub and say what to do about what is wrong."),
    "policy check": ("bot.cli.operating.policychecks", "Check a policy file against the commands, without a hub."),
    "policy test": ("bot.cli.operating.policytests", "Decide a table of who, what and where under a policy file, for CI."),
    "audit verify": ("bot.cli.operating.verifications", "Prove that nobody changed the audit, or name what was changed."),
    "slack manifest": ("bot.cli.operating.manifests", "Print the Slack app's manifest for the commands there are."),
    "token issue": (
        "bot.cli.operating.tokens",
        "Make a personal token, or a one-time link into the browser room, on the hub's own machine.",
    ),
    "directory token": ("bot.cli.operating.directories", "Make or end the token of a SCIM directory, on the hub's own machine."),
    "passkey accept": ("bot.cli.operating.passkeys", "Accept a first passkey, on the hub's own machine: no other one can sign for it yet."),
}
_AS_GIVEN: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_roles(app: typer.Typer, *, group: str = "") -> None:
    """Adds the roles of one group (`policy`) to its application; their options are their own."""
    for name, (module, help_text) in ROLES.items():
        parent, _, last = name.rpartition(" ")
        if parent == group:
            app.command(last, help=help_text, add_help_option=False, context_settings=dict(_AS_GIVEN))(_starter(module))


def execute(module: str, arguments: list[str]) -> NoReturn:
    """Becomes `python -m module arguments…`. The folder one happens to be in is never searched for modules."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 becoming the role is the point


def _starter(module: str) -> Callable[[typer.Context], None]:
    def start(context: typer.Context) -> None:
        execute(module, list(context.args))

    return start
