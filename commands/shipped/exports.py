"""export: runs, decisions and the record of a span of time as files of the run, with a manifest that the audit's key has signed."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

from commands.policies import AUDIT
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.calendars import zone_of
from countersign.canonical import canonical
from countersign.moments import instant, shown
from store.audits import AuditEvent, record
from store.exports import Batch, Span, read_blocks, read_decisions, read_erasures, read_events, read_runs
from store.sealing import Signer, load_or_create_key

from .givings import run_of

MANIFEST: Final = "manifest.json"
SIGNED: Final = b"countersign export manifest 1\n"
PART_BYTES: Final = 16 * 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = 10
# An event that is committed late bears an earlier time.
_SETTLED: Final = timedelta(seconds=10)


@command("export", permission=AUDIT, risk="medium", visibility="private")
async def export(ctx: PlanningContext, since: str, until: str) -> Plan:
    """Write runs, decisions and the record from SINCE until UNTIL as files that can be checked offline.

    Both are a day or a moment, as 2026-11-01 or "2026-11-01 12:00", where you live. The files stay with the run: countersign artifacts RUN.
    """
    zone = zone_of(ctx.asker.timezone)
    first, last = (_moment(name, text, ctx.asker.timezone) for name, text in (("since", since), ("until", until)))
    if not first < last <= ctx.now - _SETTLED:
        raise PlanRefused("SINCE has to be before UNTIL, and UNTIL past for ten seconds: what is still to come cannot be exported.")
    span = f"{shown(first, zone)} until {shown(last, zone)}"
    step = write_export(_microseconds(first), _microseconds(last), ctx.services.rulebook.policy.digest)
    return Plan(f"runs, decisions and the record from {span} are written as files that can be checked offline", step)


@step(idempotent=True, timeout="4h")
async def write_export(ctx: Context, since: int, until: int, policy: str) -> str:
    """Batch after batch into compressed files of at most 16 MiB, then the manifest; the same again writes the same over it."""
    signer, span = await asyncio.to_thread(_signer, ctx), Span(since, until)
    with TemporaryDirectory(prefix="countersign-export-") as folder:
        shelf = _Shelf(ctx, Path(folder))
        await shelf.put("runs", read_runs(ctx.services.reading, span))
        await shelf.put("decisions", read_decisions(ctx.services.reading, span))
        await shelf.put("events", read_events(ctx.services.reading, span))
        await shelf.put("erasures", read_erasures(ctx.services.reading, span), if_any=True)
        if shelf.blocks:
            await shelf.put("blocks", read_blocks(ctx.services.reading, shelf.blocks[0], shelf.blocks[-1]))
    about = {"format": "countersign export 1", "hub": ctx.services.settings.url, "run": str(run_of(ctx)), "asked_by": ctx.asker.name}
    manifest = about | {"since_us": since, "until_us": until, "policy": policy, "files": shelf.files, "blocks": list(shelf.blocks)}
    signature = signer.sign(SIGNED + canonical(manifest))
    whole = {"manifest": manifest, "key_id": signer.key_id, "signature": signature.hex(), "public_key": signer.public_pem.decode()}
    written = json.dumps(whole, ensure_ascii=False, indent=1)
    await ctx.artifact(MANIFEST, written, content_type="application/json")
    digest = hashlib.sha256(written.encode()).hexdigest()
    detail = {"since_us": since, "until_us": until, "rows": shelf.rows, "files": len(shelf.files), "sha256": digest, "policy": policy}
    async with ctx.services.transaction() as session:
        await record(session, [AuditEvent("audit:exported", ctx.asker.name, run_of(ctx), detail)])
    told = ", ".join(f"{count:,} {kind}" for kind, count in shelf.rows.items())
    return f"{told} in {len(shelf.files)} files; {MANIFEST} {digest[:12]}"


@dataclass
class _Shelf:
    """The files of an export while they are written: one part at a time is on disk, and a batch of rows in memory."""

    ctx: Context
    folder: Path
    files: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    blocks: tuple[int, ...] = ()

    async def put(self, kind: str, batches: AsyncIterator[Batch], *, if_any: bool = False) -> None:
        """Everything of one kind, in as many parts as it takes; at least one, which may be empty, unless it is written only if any."""
        self.rows[kind] = 0
        part = _Part(self.folder, kind, 1)
        async for one in batches:
            await asyncio.to_thread(part.add, one)
            self.rows[kind] += one.rows
            self.blocks = (min((*self.blocks, *one.blocks)), max((*self.blocks, *one.blocks))) if one.blocks else self.blocks
            if part.size >= PART_BYTES:
                await self._keep(part)
                part = _Part(self.folder, kind, part.number + 1)
            await self.ctx.progress(self.rows[kind], self.rows[kind], f"{self.rows[kind]:,} {kind}")
        if self.rows[kind] or not if_any:
            await self._keep(part)
        else:
            part.close()
            del self.rows[kind]

    async def _keep(self, part: "_Part") -> None:
        self.files.append(await asyncio.to_thread(part.close))
        await self.ctx.artifact(part.path.name, part.path, content_type="application/gzip")
        part.path.unlink()


class _Part:
    """One compressed file of lines. The same lines give the same bytes: it bears no time."""

    def __init__(self, folder: Path, kind: str, number: int) -> None:
        self.kind, self.number, self.rows = kind, number, 0
        self.path = folder / f"{kind}-{number:03}.jsonl.gz"
        self._file: IO[bytes] = self.path.open("wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)

    @property
    def size(self) -> int:
        return self._file.tell()

    def add(self, batch: Batch) -> None:
        self._packed.write(batch.lines.encode())
        self.rows += batch.rows

    def close(self) -> dict[str, Any]:
        """Ends it; the line about it in the manifest."""
        self._packed.close()
        self._file.close()
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self.path.stat().st_size
        return {"name": self.path.name, "kind": self.kind, "rows": self.rows, "bytes": size, "sha256": digest}


def _signer(ctx: Context) -> Signer:
    path: Path = ctx.services.settings.data_dir / "keys" / "audit.pem"
    if not path.exists():
        raise StepFailed(f"this worker has no key to sign with: {path} is not there")
    return load_or_create_key(path)


def _moment(name: str, written: str, timezone: str) -> datetime:
    text = written.strip()
    try:
        return instant(f"{text} 00:00" if len(text) == _DAY else text, zone_of(timezone))
    except ValueError as error:
        raise PlanRefused(f"{name}: {error}.") from None


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
