"""What all sides of a comparison share: one Postgres, one Redis, one stand-in for Slack."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sinks import Sink
from store.embedded.postgres import EmbeddedPostgres
from store.embedded.redis import EmbeddedRedis


@dataclass(frozen=True, slots=True)
class Services:
    """The running services, and a folder for logs that is deleted at the end."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    sink: Sink
    folder: Path


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """The services for the length of a block, with empty data."""
    async with AsyncExitStack() as stack:
        folder = _folder(stack)
        postgres, redis, sink = EmbeddedPostgres(folder), EmbeddedRedis(folder), Sink()
        stack.callback(postgres.stop)
        postgres.start()
        stack.callback(redis.stop)
        redis.start()
        stack.push_async_callback(sink.stop)
        await sink.start()
        yield Services(postgres, redis, sink, folder)


def _folder(stack: AsyncExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-bench-", ignore_cleanup_errors=True)))
    # A server started as root runs as somebody else, who has to get to the data.
    folder.chmod(0o711)
    return folder
