"""What waits, what was carried out and which promises were broken, as Prometheus text: from rows, asked for at most every few seconds."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from store.counts import RECLAIMED, SOON, STARTS
from store.databases import ReadSession
from store.levels import Level, find_levels
from store.promises import Late, Promise, find_late, find_promises
from store.workloads import Hooked, Workload, find_hooked, find_workload

from .hubs import Hub

KEPT_SECONDS: Final = 3.0


@dataclass(frozen=True, eq=False)
class Workings(Collector):
    """All of it at one moment."""

    levels: Sequence[Level]
    work: Workload
    hooked: Sequence[Hooked]
    promises: Sequence[Promise]
    late: Sequence[Late]

    def collect(self) -> Iterator[Metric]:
        yield from self._waiting()
        yield _starts(self.levels)
        yield self._counted("countersign_steps", "Tries of steps that have ended, by how.", "step:", "state")
        yield self._counted("countersign_runs", "Runs that have ended or were interrupted, by how.", "run:", "status")
        lost = CounterMetricFamily("countersign_leases_lost", "Runs taken over from a worker whose lease had ended.", labels=("command",))
        for one in self.levels:
            if one.figure == RECLAIMED:
                lost.add_metric((one.command,), one.count)
        yield lost
        yield from self._kept()

    def _waiting(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("countersign_queue_waiting", "Runs that a worker should take now.", labels=("queue",))
        oldest = GaugeMetricFamily("countersign_queue_oldest_seconds", "Since the oldest of them is due.", labels=("queue",))
        for one in self.work.queues:
            waiting.add_metric((one.name,), one.waiting)
            oldest.add_metric((one.name,), one.oldest)
        yield waiting
        yield oldest
        yield GaugeMetricFamily("countersign_sealer_lag_seconds", "Age of the oldest event that no block holds.", self.work.unsealed)
        yield GaugeMetricFamily("countersign_schedules_due", "Schedules whose slot is due and not decided.", self.work.schedules_late)
        yield GaugeMetricFamily("countersign_schedules_oldest_seconds", "Since the oldest of these slots.", self.work.schedule_oldest)
        yield GaugeMetricFamily("countersign_schedules_paused", "Schedules paused by their failures.", self.work.schedules_paused)
        hooks = GaugeMetricFamily("countersign_hook_deliveries_recent", "Deliveries of the last 5 min.", labels=("state", "reason"))
        for each in self.hooked:
            hooks.add_metric((each.state, each.reason), each.count)
        yield hooks

    def _counted(self, name: str, words: str, prefix: str, label: str) -> CounterMetricFamily:
        family = CounterMetricFamily(name, words, labels=("command", label))
        for one in self.levels:
            if one.figure.startswith(prefix) and one.figure != RECLAIMED:
                family.add_metric((one.command, one.figure.removeprefix(prefix)), one.count)
        return family

    def _kept(self) -> Iterator[Metric]:
        broken = CounterMetricFamily("countersign_promises_broken", "What was lost or done twice.", labels=("promise", "what"))
        for one in self.promises:
            broken.add_metric((one.promise, one.what), one.count)
        yield broken
        looked = max((one.looked for one in self.promises), default=0.0)
        yield GaugeMetricFamily("countersign_promises_looked_seconds", "Since housekeeping looked whether they are kept.", looked)
        late = GaugeMetricFamily("countersign_late", "What should have moved a minute ago and has not.", labels=("what",))
        seconds = GaugeMetricFamily("countersign_late_seconds", "For how long the oldest of it is due.", labels=("what",))
        for each in self.late:
            late.add_metric((each.what,), each.count)
            seconds.add_metric((each.what,), each.seconds)
        yield late
        yield seconds


class Remembered:
    """The text for one web process: whoever asks again within KEPT_SECONDS gets the same."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._text: tuple[float, bytes] | None = None
        self._asking = asyncio.Lock()

    async def text(self) -> bytes:
        """Raises what the database raises."""
        async with self._asking:
            if self._text is None or time.monotonic() - self._text[0] > KEPT_SECONDS:
                registry = CollectorRegistry()
                registry.register(await self._hub.read(_find))
                self._text = (time.monotonic(), await asyncio.to_thread(generate_latest, registry))
            return self._text[1]


async def _find(session: ReadSession) -> Workings:
    return Workings(
        await find_levels(session),
        await find_workload(session),
        await find_hooked(session),
        await find_promises(session),
        await find_late(session),
    )


def _starts(levels: Sequence[Level]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "countersign_start_seconds", "From when a run was due to when a worker began on it.", labels=("command", "queue")
    )
    rows: dict[tuple[str, str], dict[float, Level]] = defaultdict(dict)
    for one in levels:
        if one.figure in _FIGURES:
            rows[one.command, _FIGURES[one.figure]][one.bound] = one
    for labels, found in rows.items():
        buckets, count = [], 0
        for bound in SOON:
            count += found[bound].count if bound in found else 0
            buckets.append((str(bound) if bound < SOON[-1] else "+Inf", count))
        family.add_metric(labels, buckets, sum(one.seconds for one in found.values()))
    return family


_FIGURES: Final = {figure: figure.removeprefix("start:") for figure, _ in STARTS.values()}
