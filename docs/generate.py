#!/usr/bin/env python3
"""Writes the pages that say what code says. Run it after changing the code: `python docs/generate.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from countersign.runs import BIRTHS, FINISHED, MOVES, RunStatus
from store.settings import PREFIX, Settings

_OPENING = """# The life of a run

Every run is in exactly one of these states, and only the moves below are possible. This page is written by `docs/generate.py`
from `countersign/runs.py`; a test compares the two.

A run is born {births}. It has ended when it is {ended}; an ended run never moves again. Whatever has not ended can be
cancelled; those arrows are left out of the drawing.
"""

_SETTINGS_OPENING: Final = """# Every variable

All knobs are environment variables; there is no settings file. A wrong value stops the start with the variable's name and a right example.
This page is written by `docs/generate.py` from `store/settings.py`; a test compares the two.

| variable | default | who reads it | meaning |
|---|---|---|---|
"""
_SETTINGS_END: Final = """
Beside these:

- `COUNTERSIGN_<NAME>__<FIELD>` is the setting FIELD of the integration NAME, for instance `COUNTERSIGN_FLEET__ROOT`. Only workers need it.
  An unknown field, a missing one or a wrong value is refused when the integration is first used.
- `COUNTERSIGN_<NAME>__RATE_LIMIT`, as in `30/minute`, is how often that integration may be called by all workers together; `none` takes
  a limit of its author's away. Calls wait for their turn ([how often](../authors/integrations.md#how-often)).
- `COUNTERSIGN_WORKER_DATABASE_URL` is read by `countersign up` alone: the workers' URL when `COUNTERSIGN_DATABASE_URL` is the web's.
- `COUNTERSIGN_URL` and `COUNTERSIGN_TOKEN` tell the command line which hub to ask, and as whom, instead of what `countersign login` kept.
"""


class Meaning(NamedTuple):
    """What the settings page says about one variable."""

    readers: str
    text: str


MEANINGS: Final = {
    "port": Meaning("web, tools", "The port of the web process."),
    "host": Meaning("web, tools", "The address it binds to. Anything but loopback is refused with `--demo`."),
    "database_url": Meaning(
        "web, workers, tools",
        "Postgres as this process's role. Without it `countersign up` starts its own. A superuser or the owner is refused.",
    ),
    "migrate_database_url": Meaning("migrate, up", "Postgres as the role that owns the tables. No running process needs it."),
    "listen_database_url": Meaning("web, workers", "A session connection for LISTEN, when `DATABASE_URL` goes through a pooler."),
    "redis_url": Meaning("workers", "Redis or Valkey with `maxmemory-policy noeviction`. Without it `countersign up` starts its own."),
    "data_dir": Meaning("all", "The folder of keys, and of everything that `countersign up` keeps."),
    "public_url": Meaning(
        "web, workers, tools", "The address people open; passkeys are for its name. With https, cookies are `Secure` and HSTS is sent."
    ),
    "policy": Meaning("migrate, up", "The file that becomes the first policy. Read only while no policy is in force."),
    "secret_key": Meaning("nobody yet", "Reserved: accepted and not used in this version."),
    "slack_bot_token": Meaning("web, workers", "`xoxb-…`; setting it turns Slack on."),
    "slack_signing_secret": Meaning(
        "web", "What Slack signs its requests with. Any process with a bot token must also be given this or an app token."
    ),
    "slack_app_token": Meaning("web", "`xapp-…`; turns Socket Mode on, where Slack needs no address of the hub."),
    "slack_long_answers": Meaning(
        "workers, doctor",
        "What comes with an answer that Slack has no room for: a `link` to all of it, which asks for the right at each look, or also a"
        " `file` in the asker's direct messages, for which the app needs `files:write`, as for pictures.",
    ),
    "slack_api_url": Meaning("web, workers", "The base of Slack's Web API, for gateways and tests: https, or http on loopback."),
    "runbooks": Meaning("web, workers", "A folder of runbooks."),
    "commands": Meaning("web, workers", "A folder of Python files with commands."),
    "anchor": Meaning(
        "workers, tools", "The anchor file of the audit; unset, `anchors/audit.jsonl` below the data folder. Put it on another disk."
    ),
    "metrics_token": Meaning(
        "web",
        "What monitoring sends as a bearer token to `/metrics`, at least 20 characters. Unset, only programs on the same machine"
        " may read it; behind a proxy, set it.",
    ),
    "otlp_endpoint": Meaning(
        "web, workers",
        "The base address of an OpenTelemetry collector that takes OTLP over HTTP; unset, and without OpenTelemetry's own"
        " `OTEL_EXPORTER_OTLP_ENDPOINT`, no traces are made.",
    ),
    "log_format": Meaning("web, workers", "`json` or `text`."),
    "lease_seconds": Meaning("workers", "How long a worker holds a run without renewing: what a dead worker delays its runs by. 1 to 600."),
    "version_seconds": Meaning(
        "workers",
        "How long a run waits for a worker with the version of its command's code, before another version looks at it and people are"
        " asked again. 1 to 86400. The same for all workers.",
    ),
    "planning_processes": Meaning("workers", "Processes that plan, 1 to 64."),
    "executing_processes": Meaning("workers", "Processes that execute, 1 to 64."),
    "slots": Meaning(
        "workers", "Runs that one executing process works on side by side, 1 to 200. It opens this many database connections and a few."
    ),
    "labels": Meaning(
        "workers",
        "Labels of the workers that this process starts, for instance `dc2, gpu`: beside what anybody may carry out they take the runs of"
        " commands that say `runs_on` one of them.",
    ),
    "delivery_days": Meaning("workers", "For how many days what was delivered to triggers is kept, to look at and to replay. 1 to 3650."),
    "log_days": Meaning("workers", "For how many days after its end a run's log is kept. 1 to 3650."),
    "artifact_days": Meaning("workers", "For how many days after its end the files of a run are kept. 1 to 3650."),
    "message_days": Meaning("workers", "For how many days messages are kept, in the room too. 0 is for ever; else 30 to 36500."),
    "run_days": Meaning(
        "workers",
        "For how many days after its end what was said about a run is kept, in the record too. 0 is for ever; else 30 to 36500.",
    ),
    "artifacts": Meaning(
        "web, workers",
        "Where the files of runs are kept: a folder, or `s3://bucket/prefix`. Unset, `artifacts` below the data folder. The web only reads"
        " there ([files and logs of runs](files.md)).",
    ),
    "trusted_proxies": Meaning(
        "web",
        "Addresses and networks of proxies that check clients' certificates and say so in `Client-Cert` (RFC 9440). Unset, nobody is"
        " believed.",
    ),
    "oidc_issuer": Meaning(
        "web, workers", "The address of the OpenID Connect issuer that people sign in with; setting it turns single sign-on on."
    ),
    "oidc_client_id": Meaning("web, workers", "How the issuer knows this hub."),
    "oidc_client_secret": Meaning("web", "What the issuer gave for it; empty for a public client, which PKCE protects alone."),
    "oidc_hosts": Meaning("web, workers", "Hosts that may be called besides the issuer's own, for its token endpoint or keys."),
    "oidc_scopes": Meaning("web", "What is asked for; some issuers want `groups` among them."),
    "oidc_email_claim": Meaning(
        "web",
        "The claim by which people are linked. `email` counts only with `email_verified`; another one counts as it is.",
    ),
    "oidc_groups_claim": Meaning("web, workers", "The claim of the ID token that names groups."),
    "session_hours": Meaning("web", "After how many hours everybody has to sign in to the browser again, 1 to 168."),
    "session_idle_minutes": Meaning(
        "web", "After how many minutes without use a session ends, 5 to 10080. A page that is merely left open is not used."
    ),
    "demo": Meaning("web, workers, up", "Set by `--demo`. Refused with a public address or a real Slack token."),
}


def main() -> None:
    folder = Path(__file__).parent
    (folder / "authors" / "runs.md").write_text(runs_page(), encoding="utf-8")
    (folder / "operators" / "settings.md").write_text(settings_page(), encoding="utf-8")


def settings_page() -> str:
    """The table of variables as Markdown; raises KeyError for a setting that nobody explained."""
    rows = [_setting(name) for name in Settings.model_fields]
    return _SETTINGS_OPENING + "\n".join(rows) + "\n" + _SETTINGS_END


def _setting(name: str) -> str:
    default = Settings.model_fields[name].default
    shown = default.get_secret_value() if isinstance(default, SecretStr) else "" if default is None else str(default)
    meaning = MEANINGS[name]
    return f"| `{PREFIX}{name.upper()}` | {f'`{shown}`' if shown else 'not set'} | {meaning.readers} | {meaning.text} |"


def runs_page() -> str:
    """The whole page as Markdown: an opening, a Mermaid state diagram and the table of moves."""
    opening = _OPENING.format(births=_listed(BIRTHS), ended=_listed(FINISHED))
    return "\n".join([opening, "```mermaid", *_diagram(), "```", "", *_table()]) + "\n"


def _diagram() -> Iterator[str]:
    yield "stateDiagram-v2"
    for status in RunStatus:
        if status in BIRTHS:
            yield f"    [*] --> {status}"
        for to in _ordered(MOVES[status] - {RunStatus.cancelled}):
            yield f"    {status} --> {to}"
        if status in FINISHED:
            yield f"    {status} --> [*]"


def _table() -> Iterator[str]:
    yield "| from | to |"
    yield "|---|---|"
    for status in RunStatus:
        moves = ", ".join(f"`{to}`" for to in _ordered(MOVES[status]))
        yield f"| `{status}` | {moves or 'nothing: it has ended'} |"


def _listed(statuses: frozenset[RunStatus]) -> str:
    *names, last = [f"`{status}`" for status in _ordered(statuses)]
    return f"{', '.join(names)} or {last}"


def _ordered(statuses: frozenset[RunStatus]) -> list[RunStatus]:
    return [status for status in RunStatus if status in statuses]


if __name__ == "__main__":
    main()
