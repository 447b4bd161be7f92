"""(c) How soon the result of a slash command is posted: alone, and how many a second when 64 connections keep asking."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks import programs
from benchmarks.hubs import Hub, HubAddresses, running
from benchmarks.loads import percentile, spaced, sustained
from benchmarks.machines import require_durable
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rivals import BareBolt, NaiveStack
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.slashes import Slashes, signed_slashes

CONNECTIONS = 64
SLASHES = 50_000
# After this long without work Dramatiq has backed off as far as it ever does.
IDLE_PAUSE_SECONDS = 2.0
WARMING_SECONDS = 0.5
IDLE_RESULT_SECONDS = 10.0
SETTLING_SECONDS = 120.0

NAIVE = NaiveStack.name
RESPONDING = "bare Bolt, ack and respond"
SIDES: Sequence[Callable[[Services], Hub]] = (
    Countersign,
    NaiveStack,
    partial(BareBolt, name=RESPONDING, factory="responding"),
)

IDLE = "slash to result, idle p50, ms"
IDLE_ACK = "ack in the same runs, idle p50, ms"
RATE = f"results at {CONNECTIONS} connections, 1/s"
P50 = f"slash to result at {CONNECTIONS} connections, p50, ms"
MISSING = "results missing or not acked with 200"


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of all sides."""
    async with running([side(services) for side in SIDES]) as hubs:
        samplers = {}
        for name, hub in hubs.items():
            require_durable(hub.database_urls)
            await _together(services, hub, WARMING_SECONDS)
            samplers[name] = partial(_sample, services, hub, options)
        return await interleaved(samplers, rounds=options.rounds)


async def _sample(services: Services, hub: HubAddresses, options: Options) -> Mapping[str, float]:
    return {**await _alone(services, hub, options.alone), **await _together(services, hub, options.seconds)}


async def _alone(services: Services, hub: HubAddresses, count: int) -> Mapping[str, float]:
    slashes = signed_slashes(count, hub=hub, response_url=services.sink.response_url)

    async def result_is_here(position: int) -> None:
        await services.sink.wait_for([slashes.ids[position]], seconds=IDLE_RESULT_SECONDS)

    load = await spaced(hub.slack_url, slashes.requests, pause=IDLE_PAUSE_SECONDS, after=result_is_here)
    return {IDLE: percentile(_waits(services, slashes, load.asked_at), 50) * 1000, IDLE_ACK: load.p50_ms}


async def _together(services: Services, hub: HubAddresses, seconds: float) -> Mapping[str, float]:
    slashes = signed_slashes(SLASHES, hub=hub, response_url=services.sink.response_url)
    load = await sustained(hub.slack_url, slashes.requests, connections=CONNECTIONS, seconds=seconds)
    # What was accepted has to be finished: a side that acks faster than it works pays for that here.
    missing = await services.sink.wait_for(slashes.ids[: len(load.asked_at)], seconds=SETTLING_SECONDS)
    waits = _waits(services, slashes, load.asked_at)
    arrivals = [services.sink.arrivals[name] for name in slashes.ids[: len(load.asked_at)] if name in services.sink.arrivals]
    rate = len(arrivals) / (max(arrivals, default=load.asked_at[0] + SETTLING_SECONDS) - load.asked_at[0])
    return {RATE: rate, P50: percentile(waits, 50) * 1000, MISSING: missing + load.not_ok}


def _waits(services: Services, slashes: Slashes, asked_at: Sequence[float]) -> list[float]:
    arrivals = services.sink.arrivals
    return [arrivals[name] - asked for name, asked in zip(slashes.ids, asked_at, strict=False) if name in arrivals]


if __name__ == "__main__":
    programs.main(measure)
