"""One run's evidence as a file: its events with their proofs, the blocks, keys and anchors, the policies that it names, its plan."""

import asyncio
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from store.audits import AuditEventRow
from store.databases import ReadSession
from store.erasures import write_erasures
from store.inclusions import Inclusion, find_events, find_inclusions
from store.policies import find_texts
from store.runs import RunRow
from store.sealing import written_block
from store.settings import Settings

FORMAT: Final = "countersign evidence 1"


async def gather(session: ReadSession, settings: Settings, run: RunRow) -> dict[str, Any]:
    """The evidence as JSON; `store/verify_evidence.py` says what each part means and checks it. Keys and anchors are in it where this
    process can read them."""
    events = await find_events(session, run.id)
    found = await find_inclusions(session, [one.id for one in events])
    policies = await find_texts(session, _policies(events, run))
    erasures = await write_erasures(session, [one.id for one in events if one.payload is None], policies)
    blocks = {one.block.n: written_block(one.block) for one in found.values()}
    blocks |= {one["block"]["n"]: one["block"] for one in erasures if one["block"]}
    return {
        "format": FORMAT,
        "hub": settings.url,
        "run": _run(run),
        "events": [_event(one, found.get(one.id)) for one in events],
        "erasures": [one | {"block": one["block"] and one["block"]["n"]} for one in erasures],
        "blocks": [blocks[n] for n in sorted(blocks)],
        "keys": await asyncio.to_thread(_keys, settings),
        "anchors": await asyncio.to_thread(_anchors, settings, blocks),
        "policies": [{"digest": digest, "text": text} for digest, text in policies.items()],
    }


def _run(run: RunRow) -> dict[str, Any]:
    plan = run.plan and {name: run.plan[name] for name in ("summary", "steps", "shape", "watched", "approval") if name in run.plan}
    names = ("number", "command", "code_version", "status", "asker", "door", "arguments", "reason", "digest", "revision", "outcome")
    return {"id": str(run.id)} | {name: getattr(run, name) for name in names} | {"plan": plan}


def _event(row: AuditEventRow, found: Inclusion | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": str(row.id),
        "text": row.canonical,
        "payload": row.payload,
        "salt": row.salt and row.salt.hex,
        "block": None,
    }
    if found is None:
        return told
    return told | {"block": found.block.n, "position": found.position, "path": [[side, digest.hex()] for side, digest in found.path]}


def _policies(events: Sequence[AuditEventRow], run: RunRow) -> set[str]:
    details = (json.loads(one.canonical).get("detail") or {} for one in events)
    named = {one["policy"] for one in details if isinstance(one, dict) and isinstance(one.get("policy"), str)}
    return named | {run.policy}


def _keys(settings: Settings) -> str:
    return _text(settings.data_dir / "keys" / "audit.pub")


def _anchors(settings: Settings, wanted: Collection[int]) -> str:
    """The lines of the anchor file about these blocks, as they stand there."""
    path = settings.anchor or settings.data_dir / "anchors" / "audit.jsonl"
    return "".join(f"{line}\n" for line in _text(path).splitlines() if _number(line) in wanted)


def _number(line: str) -> int | None:
    try:
        return int(json.loads(line)["n"])
    except (ValueError, TypeError, KeyError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
