"""What the programs have in common: options, the shared services, the table under the numbers."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks.errors import BenchmarkError
from benchmarks.machines import machine_line, require_durable
from benchmarks.rounds import Figure
from benchmarks.services import Services, services
from store.embedded.servers import EmbeddedError


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure; a line of help for each is below."""

    rounds: int
    seconds: float
    alone: int
    hand_overs: int
    idle_seconds: float
    whole: bool


Program = Callable[[Services, Options], Awaitable[Sequence[Figure]]]


def main(*programs: Program, closing: Callable[[Sequence[Figure]], str] | None = None) -> None:
    """Run the programs one after the other and print each figure; `closing` adds what all of them together say."""
    options = _options()
    try:
        uvloop.run(_run(programs, options, closing))
    except (BenchmarkError, EmbeddedError) as error:
        sys.exit(f"benchmarks: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("benchmarks: stopped before the end; a figure not printed was not measured")


async def _run(programs: Sequence[Program], options: Options, closing: Callable[[Sequence[Figure]], str] | None) -> None:
    this = asyncio.current_task()
    assert this
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    figures: list[Figure] = []
    async with services() as shared:
        require_durable([shared.postgres.superuser_url])
        print(machine_line(database_url=shared.postgres.superuser_url, redis_url=shared.redis.url, folder=shared.folder))
        print(f"Medians of {options.rounds} interleaved rounds [lowest-highest]; x = the first side's multiple of the other, per round.")
        for program in programs:
            try:
                measured = await program(shared, options)
            except BenchmarkError as error:
                print(f"{program.__module__}: not measured: {error}", flush=True)
                continue
            print(*(figure.line() for figure in measured), sep="\n", flush=True)
            figures += measured
    if closing:
        print(f"\n{closing(figures)}")


def _options() -> Options:
    parser = argparse.ArgumentParser(description="Measure the sides in interleaved rounds and print medians, ranges and ratios.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each sustained sample")
    parser.add_argument("--alone", type=int, default=12, help="slash commands sent alone, whose results are timed, in each round")
    parser.add_argument("--hand-overs", type=int, default=300, help="in each round")
    parser.add_argument("--idle-seconds", type=float, default=10.0, help="of watching the CPU time of idle workers")
    parser.add_argument("--whole", action="store_true", help="all 10,000 sleeps in each sample of benchmarks.sleeps, which takes an hour")
    return Options(**vars(parser.parse_args()))
