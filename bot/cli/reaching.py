"""How an operator's tool reaches the hub's databases: by the URLs in the environment, else those of the data folder's own servers."""

import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from store.databases import WriteSession, open_engine, transaction
from store.embedded import DatabaseUrls, EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from store.settings import Settings, WrongSetting

from .endings import Failed, WrongCall

T = TypeVar("T")
# Where `up` and the tools work with a Postgres of yours: DATABASE_URL is the web process's role there, and this one the workers'.
WORKER_URL: Final = "COUNTERSIGN_WORKER_DATABASE_URL"


def read_settings() -> Settings:
    """The settings in force; raises WrongCall naming the variable that is wrong."""
    try:
        return Settings.read()
    except WrongSetting as error:
        raise WrongCall(str(error)) from None


def web_url(settings: Settings) -> str:
    """A database URL for reading what a web process reads; raises Failed when none is known."""
    return settings.database_url or _embedded(settings).web


def record_url(settings: Settings) -> str:
    """A database URL of a role that may read the whole record, which a web process may not; raises Failed when none is known."""
    given = os.environ.get(WORKER_URL) or settings.migrate_database_url or settings.database_url
    return given or _embedded(settings).worker


def owner_url(settings: Settings) -> str:
    """The database URL of the role that owns the tables; raises Failed when none is known."""
    if settings.migrate_database_url or settings.database_url:
        return settings.migrate_database_url
    return _embedded(settings).owner


def redis_url(settings: Settings) -> str:
    """Where the workers' Redis is; raises Failed when none is known."""
    given = settings.redis_url.get_secret_value()
    try:
        return given or EmbeddedRedis(settings.data_dir).url
    except EmbeddedError as error:
        raise Failed(str(error)) from None


async def committed(url: str, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    """Runs the work in one transaction; raises Failed when the database cannot be used."""
    engine = open_engine(url, name="countersign-tool", pool=1, door=False)
    try:
        async with transaction(engine) as session:
            return await work(session)
    except SQLAlchemyError as error:
        raise Failed(f"The database cannot be used: {first_line(error)}") from None
    finally:
        await engine.dispose()


def first_line(error: BaseException) -> str:
    """What a library said, on one line, without the statement that it quotes."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _embedded(settings: Settings) -> DatabaseUrls:
    try:
        return EmbeddedPostgres(settings.data_dir).urls
    except EmbeddedError as error:
        raise Failed(f"{error} To use a Postgres of yours, set COUNTERSIGN_DATABASE_URL.") from None
