"""The embedded default: a real Postgres and a real Redis that a hub starts for itself under its data folder."""

from store.embedded.postgres import DatabaseUrls, EmbeddedPostgres
from store.embedded.redis import EmbeddedRedis
from store.embedded.servers import EmbeddedError

__all__ = ["DatabaseUrls", "EmbeddedError", "EmbeddedPostgres", "EmbeddedRedis"]
