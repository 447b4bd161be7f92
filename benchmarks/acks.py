"""(a) How fast a signed slash command is acked: 64 connections at once, and alone.

Bare Bolt keeps nothing; a hub that stores does so before it acks, and its workers are let finish before the next side is measured.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import Hub, HubAddresses, running
from benchmarks.loads import spaced, sustained
from benchmarks.machines import require_durable
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rivals import BareBolt
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.slashes import signed_slashes

CONNECTIONS = 64
SLASHES = 50_000
IDLE_SLASHES = 60
WARMING_SECONDS = 0.5
SETTLING_SECONDS = 120.0

DIRECT = "bare Bolt, process_before_response"
DEFAULT = "bare Bolt, default"
SIDES: Sequence[Callable[[Services], Hub]] = (
    # Its workers would take the second core from all sides while they answer what was acked; `results` measures the whole.
    partial(Countersign, workers=False),
    partial(BareBolt, name=DIRECT, factory="direct"),
    partial(BareBolt, name=DEFAULT, factory="default"),
)

RATE = f"acks at {CONNECTIONS} connections, 1/s"
P99 = f"ack p99 at {CONNECTIONS} connections, ms"
IDLE = "ack p50 idle, ms"
NOT_OK = "acks that were not 200"


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of all sides."""
    async with running([side(services) for side in SIDES]) as hubs:
        samplers = {}
        for name, hub in hubs.items():
            require_durable(hub.database_urls)
            await _sample(services, hub, seconds=WARMING_SECONDS)
            samplers[name] = partial(_sample, services, hub, seconds=options.seconds)
        return await interleaved(samplers, rounds=options.rounds)


async def _sample(services: Services, hub: HubAddresses, *, seconds: float) -> Mapping[str, float]:
    alone = signed_slashes(IDLE_SLASHES, hub=hub, response_url=services.sink.response_url)
    idle = await spaced(hub.slack_url, alone.requests)
    many = signed_slashes(SLASHES, hub=hub, response_url=services.sink.response_url)
    busy = await sustained(hub.slack_url, many.requests, connections=CONNECTIONS, seconds=seconds)
    if hub.posts_results:
        missing = await services.sink.wait_for([*alone.ids, *many.ids[: len(busy.asked_at)]], seconds=SETTLING_SECONDS)
        if missing:
            raise BenchmarkError(f"{missing} results had not come {SETTLING_SECONDS:.0f} s after the last ack.")
    return {RATE: busy.rate, P99: busy.p99_ms, IDLE: idle.p50_ms, NOT_OK: idle.not_ok + busy.not_ok}


if __name__ == "__main__":
    programs.main(measure)
