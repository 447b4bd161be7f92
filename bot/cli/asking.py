"""run, runs, approve, deny and cancel, for people and for scripts."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from .cards import card_lines, is_coloured, reply_lines, run_line
from .clients import Client, new_key
from .endings import Failed, WrongCall
from .identities import identify
from .options import As, At, Digest, Json, Reason, Run

# Where a run stays until somebody does something, and where it ends.
WAITS: Final = frozenset({"awaiting_approval", "waiting", "interrupted"})
ENDED_WELL: Final = frozenset({"answered", "succeeded"})
ENDED_BADLY: Final = frozenset({"failed", "rolled_back", "rollback_failed", "denied", "expired", "cancelled", "refused"})
RESTING: Final = WAITS | ENDED_WELL | ENDED_BADLY
_LOOK_SECONDS: Final = 0.1
_SOON: Final = 5


def run(
    command: Annotated[str, typer.Argument(metavar="'COMMAND …'", help="As typed in chat: 'deploy api v2 env=staging'.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan, show the plan and stop.")] = False,
    at: At = "",
    reason: Reason = "",
    wait: Annotated[float, typer.Option(min=0, max=3_600, help="Seconds to wait for the run to end or to need somebody.")] = 30,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Ask for something and wait for what becomes of it; exit 1 when it is refused or ends badly."""
    with closing(Client(identify(as_person))) as client:
        body = {"text": command, "dry_run": dry_run, "start_at": at, "reason": reason, "idempotency_key": new_key()}
        answer = client.post("/runs", body)
        if "id" not in answer:
            _print(answer, reply_lines(answer["reply"], colour=is_coloured()), as_json=as_json)
            return
        found = settled(client, answer, seconds=wait)
    _print(found, card_lines(found["card"], colour=is_coloured()), as_json=as_json)
    if found["status"] in ENDED_BADLY:
        raise Failed(f"#{found['number']} {found['status'].replace('_', ' ')}{': ' if found['outcome'] else ''}{found['outcome']}")


def runs(
    *,
    command: Annotated[str | None, typer.Option(help="Only runs of this command.")] = None,
    asker: Annotated[str | None, typer.Option(help="Only runs that this person asked for.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 20,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """List the latest runs."""
    with closing(Client(identify(as_person))) as client:
        found = client.get("/runs", command=command, asker=asker, limit=limit)
    _print(found, [run_line(one) for one in found["items"]] or ["There are no runs yet."], as_json=as_json)


def approve(
    run_reference: Run, *, reason: Reason = "", digest: Digest = "", at: At = "", as_json: Json = False, as_person: As = ""
) -> None:
    """Approve the plan of a run as it is now, or only the one with --digest; with --at it starts later than was asked for."""
    _decide("approve", run_reference, reason=reason, digest=digest, at=at, as_json=as_json, as_person=as_person)


def deny(run_reference: Run, *, reason: Reason = "", digest: Digest = "", as_json: Json = False, as_person: As = "") -> None:
    """Deny the plan of a run; say why, so that the asker can act on it."""
    _decide("deny", run_reference, reason=reason, digest=digest, as_json=as_json, as_person=as_person)


def cancel(run_reference: Run, *, as_json: Json = False, as_person: As = "") -> None:
    """Cancel a run: before it starts nothing happens; while it runs it stops."""
    with closing(Client(identify(as_person))) as client:
        answer = client.post(f"{path_of(run_reference)}/cancel", {})
    _print(answer, [answer["sentence"]], as_json=as_json)


def settled(client: Client, run: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """The run once it has ended or somebody has to act, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    found = dict(run)
    while not _rests(found) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        found = client.get(f"/runs/{found['id']}")
    return found


def _rests(run: Mapping[str, Any]) -> bool:
    """Whether nothing happens to the run for now: it has ended, waits for somebody, or starts later."""
    later = run.get("due_at") and datetime.fromisoformat(run["due_at"]) > datetime.now(UTC) + timedelta(seconds=_SOON)
    return run["status"] in RESTING or bool(later and run["status"] == "queued")


def path_of(reference: str) -> str:
    """The run's path below /api/v1; raises WrongCall for what can be no run."""
    plain = reference.strip().removeprefix("#")
    if not plain or not all(one.isalnum() or one == "-" for one in plain):
        raise WrongCall(f"{reference!r} is no run: give its number, for instance 12, or its id.")
    return f"/runs/{quote(plain, safe='')}"


def _decide(verdict: str, reference: str, *, reason: str, digest: str, as_json: bool, as_person: str, at: str = "") -> None:
    """Shows the plan that is decided on: its digest goes along, so a plan that changes meanwhile is not what was approved."""
    with closing(Client(identify(as_person))) as client:
        found = client.get(path_of(reference))
        seen = digest or (found.get("approval") or {}).get("digest") or found.get("digest") or ""
        if verdict == "approve" and not seen:
            raise Failed(f"#{found['number']} has no plan to approve yet; it is {found['status'].replace('_', ' ')}.")
        if not as_json:
            print("\n".join(card_lines(found["card"], colour=is_coloured())))
        answer = client.post(f"/runs/{found['id']}/decisions", {"verdict": verdict, "reason": reason, "digest": seen, "start_at": at})
    _print(answer, [answer["sentence"]], as_json=as_json)


def _print(data: Any, lines: list[str], *, as_json: bool) -> None:
    print(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))
