"""Service levels of approvals and the backlog of messages as Prometheus text: from rows alone, so every process says the same."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from store.databases import ReadSession
from store.levels import BOUNDS, DECISION, ENDED, FIRST_VOTE, Level, Open, find_levels, find_open
from store.messages import Backlog, find_backlog
from store.undeliverables import count_undeliverable

from .hubs import Hub

_LABELS: Final = ("command", "group")


@dataclass(frozen=True, eq=False)
class Figures(Collector):
    """What was counted, what is open and what waits to be shown, at one moment."""

    levels: Sequence[Level]
    open: Sequence[Open]
    backlog: Sequence[Backlog]
    undeliverable: Mapping[str, int]

    def collect(self) -> Iterator[Metric]:
        yield _histogram("countersign_approval_first_vote_seconds", "From the question to the first vote.", self._of(FIRST_VOTE))
        yield _histogram("countersign_approval_decision_seconds", "From the question to its approval or denial.", self._of(DECISION))
        ended = CounterMetricFamily("countersign_approvals_ended", "Requests that have ended, by how.", labels=(*_LABELS, "how"))
        for one in self.levels:
            if one.figure.startswith(ENDED):
                ended.add_metric((one.command, one.asked, one.figure.removeprefix(ENDED)), one.count)
        yield ended
        waiting = GaugeMetricFamily("countersign_approvals_open", "Requests that wait for people.", labels=_LABELS)
        oldest = GaugeMetricFamily("countersign_approvals_oldest_seconds", "Since the oldest of them was opened.", labels=_LABELS)
        for here in self.open:
            waiting.add_metric((here.command, here.asked), here.count)
            oldest.add_metric((here.command, here.asked), here.oldest)
        yield waiting
        yield oldest
        unshown = GaugeMetricFamily("countersign_messages_waiting", "Messages not yet shown as they should be.", labels=("platform",))
        unshown_for = GaugeMetricFamily("countersign_messages_oldest_seconds", "Since the oldest of them was wanted.", labels=("platform",))
        for there in self.backlog:
            unshown.add_metric((there.platform,), there.waiting)
            unshown_for.add_metric((there.platform,), there.oldest)
        yield unshown
        yield unshown_for
        dead = GaugeMetricFamily("countersign_messages_undeliverable", "Messages that wait for a person.", labels=("platform",))
        for platform, count in self.undeliverable.items():
            dead.add_metric((platform,), count)
        yield dead

    def _of(self, figure: str) -> list[Level]:
        return [one for one in self.levels if one.figure == figure]


async def levels_text(hub: Hub) -> bytes:
    """The text; raises what the database raises."""

    async def find(session: ReadSession) -> Figures:
        return Figures(
            await find_levels(session), await find_open(session), await find_backlog(session), await count_undeliverable(session)
        )

    registry = CollectorRegistry()
    registry.register(await hub.read(find))
    return await asyncio.to_thread(generate_latest, registry)


def _histogram(name: str, words: str, levels: Iterable[Level]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, words, labels=_LABELS)
    rows: dict[tuple[str, str], dict[float, Level]] = defaultdict(dict)
    for one in levels:
        rows[one.command, one.asked][one.bound] = one
    for labels, found in rows.items():
        buckets, count = [], 0
        for bound in BOUNDS:
            count += found[bound].count if bound in found else 0
            buckets.append((str(bound) if bound < BOUNDS[-1] else "+Inf", count))
        family.add_metric(labels, buckets, sum(one.seconds for one in found.values()))
    return family
