"""What a side of a comparison has to offer so that the programs can measure it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

OURS = "Countersign"


@dataclass(frozen=True, slots=True)
class HubAddresses:
    """Where a running hub takes signed slash commands, and one that it understands.

    `text` is what is typed behind `command`; `{id}` in it is replaced by the id of one request. A hub that `posts_results` posts,
    exactly once to the request's response_url, a JSON body that holds `done: ` and that id. `database_urls` are of the roles that
    write the runs, so that their `synchronous_commit` can be checked.
    """

    slack_url: str
    signing_secret: str = field(repr=False)
    command: str = "/work"
    text: str = "{id}"
    asker: str = "U0ADA"
    posts_results: bool = False
    database_urls: tuple[str, ...] = field(default=(), repr=False)


class Hub(Protocol):
    """A side that answers slash commands over HTTP."""

    @property
    def name(self) -> str:
        """How tables call it; `OURS` for the hub of this repository."""

    async def start(self) -> HubAddresses:
        """Bring up all processes and return when slash commands are answered. Raises BenchmarkError."""

    async def stop(self) -> None:
        """End all processes; harmless when nothing runs."""


class Handover(Protocol):
    """A side that hands one job at a time to a worker process that is idle."""

    @property
    def name(self) -> str:
        """How tables call it; `OURS` for the hub of this repository."""

    async def start(self) -> None:
        """Bring up the worker and return when it waits for work. Raises BenchmarkError."""

    async def stop(self) -> None:
        """End all processes; harmless when nothing runs."""

    async def hand_over(self) -> float:
        """Seconds of CLOCK_MONOTONIC from the job being committed (where nothing commits: being sent) to the first line of its handler."""

    def worker_pids(self) -> list[int]:
        """The processes whose CPU time is the price of waiting."""


@asynccontextmanager
async def running(hubs: Sequence[Hub]) -> AsyncIterator[Mapping[str, HubAddresses]]:
    """All hubs up at once, by name, because only sides of the same minutes can be compared."""
    async with AsyncExitStack() as stack:
        addresses = {}
        for hub in hubs:
            stack.push_async_callback(hub.stop)
            addresses[hub.name] = await hub.start()
        yield addresses
