"""One run's evidence as a file: its events with their proofs, the blocks, keys and anchors, the policies that it names, its plan."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from store.audits import AuditEventRow
from store.databases import ReadSession
from store.inclusions import Inclusion, find_events, find_inclusions
from store.policies import find_texts
from store.runs import RunRow
from store.sealing import Block
from store.settings import Settings

FORMAT: Final = "countersign evidence 1"


async def gather(session: ReadSession, settings: Settings, run: RunRow) -> dict[str, Any]:
    """The evidence as JSON; `store/verify_evidence.py` says what each part means and checks it. Keys and anchors are in it where this
    process can read them."""
    events = await find_events(session, run.id)
    found = await find_inclusions(session, [one.id for one in events])
    blocks = sorted({one.block for one in found.values()}, key=lambda one: one.n)
    policies = await find_texts(session, _policies(events, run))
    return {
        "format": FORMAT,
        "hub": settings.url,
        "run": _run(run),
        "events": [_event(one, found.get(one.id)) for one in events],
        "blocks": [_block(one) for one in blocks],
        "keys": await asyncio.to_thread(_keys, settings),
        "anchors": await asyncio.to_thread(_anchors, settings, blocks),
        "policies": [{"digest": digest, "text": text} for digest, text in policies.items()],
    }


def _run(run: RunRow) -> dict[str, Any]:
    plan = run.plan and {name: run.plan[name] for name in ("summary", "steps", "shape", "watched", "approval") if name in run.plan}
    names = ("number", "command", "code_version", "status", "asker", "door", "arguments", "reason", "digest", "revision", "outcome")
    return {"id": str(run.id)} | {name: getattr(run, name) for name in names} | {"plan": plan}


def _event(row: AuditEventRow, found: Inclusion | None) -> dict[str, Any]:
    told: dict[str, Any] = {"id": str(row.id), "text": row.canonical, "block": None}
    if found is None:
        return told
    return told | {"block": found.block.n, "position": found.position, "path": [[side, digest.hex()] for side, digest in found.path]}


def _block(block: Block) -> dict[str, Any]:
    return {
        "n": block.n,
        "prev": block.prev.hex(),
        "root": block.root.hex(),
        "count": block.count,
        "first_us": block.first_us,
        "last_us": block.last_us,
        "sealed_us": block.sealed_us,
        "key_id": block.key_id,
        "signature": block.signature.hex(),
    }


def _policies(events: Sequence[AuditEventRow], run: RunRow) -> set[str]:
    details = (json.loads(one.canonical).get("detail") or {} for one in events)
    named = {one["policy"] for one in details if isinstance(one, dict) and isinstance(one.get("policy"), str)}
    return named | {run.policy}


def _keys(settings: Settings) -> str:
    return _text(settings.data_dir / "keys" / "audit.pub")


def _anchors(settings: Settings, blocks: Iterable[Block]) -> str:
    """The lines of the anchor file about these blocks, as they stand there."""
    wanted = {one.n for one in blocks}
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
