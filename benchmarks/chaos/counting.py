"""The count after a storm: what people were promised against what the outside system's own ledger says."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, text

from benchmarks.chaos.asking import People
from benchmarks.chaos.faults import Faults
from benchmarks.chaos.grounds import Ground
from benchmarks.chaos.sizes import Size
from benchmarks.loads import percentile
from benchmarks.rounds import shown
from store.verify_audit import verify

SEALED_SECONDS: Final = 60
_RUNS: Final = text("""
SELECT r.id, r.status, r.command, r.outcome, r.arguments->>'name' AS name,
       EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.revision = r.revision AND s.state = 'calling') AS calling,
       EXISTS (SELECT FROM decisions d WHERE d.run_id = r.id AND d.verdict = 'approve' AND d.person = 'lin' AND d.digest = r.digest)
       AS approved
FROM runs r
""")
_CLAIMED: Final = text("""
SELECT run_id, at_us, cast(canonical AS jsonb)->'detail'->>'attempt' AS attempt FROM audit_events WHERE kind = 'run:reclaimed'
""")


@dataclass
class Report:
    """Everything counted. `wrong` is empty when every promise was kept."""

    seed: int
    size: Size
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    mines: Counter[str] = field(default_factory=Counter)
    recovered: dict[str, list[float]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """SIGKILLs of processes of the hub, at random instants and at crash points."""
        return sum(count for name, count in self.faults.items() if name.startswith("SIGKILL")) + self.mines.total()

    @property
    def pauses(self) -> int:
        return sum(count for name, count in self.faults.items() if name.startswith("SIGSTOP"))

    def __str__(self) -> str:
        lines = [
            f"storm {self.size.name}, seed {self.seed}, {sum(self.seconds.values()):.0f} s, lease {self.size.lease} s",
            f"  seconds: {', '.join(f'{shown(value)} {name}' for name, value in self.seconds.items())}",
            f"  runs: {_listed(self.states)}",
            f"  faults: {self.kills} SIGKILLs, {self.pauses} SIGSTOPs past the lease; {_listed(self.faults)}",
            f"  crash points: {self.mines.total()} deaths at {len(self.mines)} places: {_listed(self.mines)}",
            f"  counted: {_listed(self.counts)}",
        ]
        for what, seconds in self.recovered.items():
            shares = ", ".join(f"p{percent} {shown(percentile(seconds, percent))} s" for percent in (50, 95) if seconds)
            lines.append(f"  {what}: {len(seconds)} runs went on, {shares}, max {shown(max(seconds, default=0))} s")
        lines += [f"  slowest of them: {shown(self.slowest[0])} s {self.slowest[1]}"] if self.slowest[0] else []
        lines += [f"  not tried: {one}" for one in self.missing]
        lines += [f"  WRONG: {one}" for one in self.wrong] or ["  every promise was kept"]
        return "\n".join(lines)


async def count(made: Ground, size: Size, people: People, faults: Faults, *, seed: int) -> Report:
    """The report of a storm that is over."""
    report = Report(seed, size, faults=faults.done, mines=faults.stepped_on(), missing=made.missing)
    report.counts.update({"lost": 0, "doubled": 0, "unapproved": 0, "interrupted": 0, "interrupted and really called": 0})
    report.counts.update(people.happened)
    report.faults.update({f"{name} replies lost": wire.cuts for name, wire in made.wires.items()})
    async with made.engine.connect() as connection:
        rows = {row.id: row for row in await connection.execute(_RUNS)}
        claimed = (await connection.execute(_CLAIMED)).all()
    report.counts["lost"] = sum(one not in rows for one in people.asked)
    report.wrong += [f"{name} is lost" for one, name in people.asked.items() if one not in rows]
    for row in rows.values():
        report.states[row.status] += 1
        _judge(report, row, made.ledger.effects)
    _judge_all(report, people)
    report.recovered = _recovered(faults, claimed, report)
    await _verify(made, report)
    return report


def _judge(report: Report, row: Row[Any], effects: Counter[str]) -> None:
    name, once = row.name, row.command == "pay"
    done = [effects[key] for key in ([name] if once else [f"{name}-a", f"{name}-b"])]
    if max(done) > 1:
        report.counts["doubled"] += 1
        report.wrong.append(f"{name} was done {max(done)} times")
    if once and max(done) and not row.approved:
        report.counts["unapproved"] += 1
        report.wrong.append(f"{name} was done without approval")
    if once and name.startswith(("deny", "keep")):
        if max(done) or row.status not in ("denied", "awaiting_approval"):
            report.counts["unapproved"] += 1
            report.wrong.append(f"{name} is {row.status} and was done {max(done)} times")
    elif row.status == "interrupted":
        report.counts["interrupted"] += 1
        report.counts["interrupted and really called"] += max(done)
        if not row.calling:
            report.wrong.append(f"{name} was interrupted with no call in flight: {row.outcome}")
    elif row.status != "succeeded":
        report.wrong.append(f"{name} ended {row.status}: {row.outcome}")
    elif done != [1] * len(done):
        report.counts["lost"] += 1
        report.wrong.append(f"{name} succeeded without being done")


def _judge_all(report: Report, people: People) -> None:
    """What the whole has to be: as much of everything as was said, and few enough runs for people to look at."""
    size = report.size
    wanted = {
        "runs asked for": (len(people.asked), size.runs),
        "SIGKILLs": (report.kills, size.kills),
        "SIGSTOPs past the lease": (report.pauses, int(size.pauses * 0.97)),
        "losses of Redis": (report.faults["Redis lost"], size.redis_losses),
        "stops of Postgres": (report.faults["Postgres stopped"], size.postgres_stops),
    }
    report.wrong += [f"only {had} {what}, not {least}" for what, (had, least) in wanted.items() if had < least]
    if people.happened["one request, two runs"]:
        report.wrong.append(f"{people.happened['one request, two runs']} requests became two runs")
    if (share := report.counts["interrupted"] / size.runs) > size.interrupted:
        report.wrong.append(f"{share:.2%} of the runs were interrupted, more than {size.interrupted:.0%}")


def _recovered(faults: Faults, claimed: Sequence[Row[Any]], report: Report) -> dict[str, list[float]]:
    """Seconds from the death, or the pause, of the worker that held a run until another had claimed it; by the database's clock."""
    found: dict[str, list[float]] = {"dead workers' runs": [], "paused workers' runs": []}
    for one in faults.held:
        later = [row.at_us for row in claimed if row.run_id == one.run and int(row.attempt) > one.attempt]
        if later:
            seconds = min(later) / 1e6 - one.at.timestamp()
            found["paused workers' runs" if one.paused else "dead workers' runs"].append(seconds)
            if seconds > report.slowest[0]:
                end = one.second + seconds
                beside = Counter(name for since, until, name in faults.timeline if since < end and until > one.second)
                report.slowest = (seconds, f"from second {one.second:.0f} on, beside {_listed(beside)}")
        elif not one.paused:
            report.counts["runs whose dead worker had just let go"] += 1
    dead = found["dead workers' runs"]
    if dead and percentile(dead, 95) > report.size.recovered:
        report.wrong.append(f"runs of dead workers went on after {percentile(dead, 95):.1f} s at p95")
    return found


async def _verify(made: Ground, report: Report) -> None:
    """The record, by the program that shares no code with its writer, once everything is sealed."""
    anchors, keys = made.folder / "anchors" / "audit.jsonl", made.folder / "keys" / "audit.pub"
    deadline = time.monotonic() + SEALED_SECONDS
    while True:
        found = await asyncio.to_thread(verify, made.urls.worker, anchor_path=anchors, public_key_path=keys)
        if not (found.unsealed or found.problems) or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    report.counts["audit events verified"] = found.rows
    report.wrong += found.problems + ([f"{found.unsealed} audit events are not sealed"] if found.unsealed else [])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
