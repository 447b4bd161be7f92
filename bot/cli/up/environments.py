"""What each process is told: only what it needs, so that a process that is taken over holds nothing else."""

import os
from collections.abc import Mapping
from typing import Final

from bot.cli.reaching import WORKER_URL
from store.settings import PREFIX, Settings

from .databases import Servers

# Of the surroundings, what programs need to find their files, speak the right language and trust the right certificates.
_PLAIN: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SHARED: Final = ("PUBLIC_URL", "COMMANDS", "LOG_FORMAT", "SLACK_BOT_TOKEN", "SLACK_API_URL")
_WEB: Final = ("SECRET_KEY", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN", "METRICS_TOKEN")
# Slack's signing secret stays: Settings refuses a bot token without it, and a worker that acts on the world could not do more with it.
_NEVER_WORKER: Final = (
    "SECRET_KEY",
    "METRICS_TOKEN",
    "DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "LISTEN_DATABASE_URL",
    "TOKEN",
    "URL",
    "POLICY",
)


def plain_environment() -> dict[str, str]:
    """The surroundings without anything of ours or of anybody's credentials; modules come from where they are installed."""
    return {name: os.environ[name] for name in _PLAIN if name in os.environ} | {"PYTHONSAFEPATH": "1"}


def web_environment(settings: Settings, servers: Servers, extra: Mapping[str, str], *, reload: bool) -> dict[str, str]:
    """The web process reaches the database as the web role; it gets no credentials of other systems than its own chat."""
    own = {
        "DATABASE_URL": servers.web,
        "LISTEN_DATABASE_URL": servers.listen,
        "HOST": settings.host,
        "PORT": str(settings.port),
        "DATA_DIR": str(settings.data_dir),
        **({"DEMO": "true"} if settings.demo else {}),
        **({"RELOAD": "1"} if reload else {}),
    }
    runbooks = {name: value for name, value in extra.items() if name == f"{PREFIX}RUNBOOKS"}
    return plain_environment() | _given(*_SHARED, *_WEB, "RUNBOOKS") | runbooks | _prefixed(own)


def worker_environment(settings: Settings, servers: Servers, extra: Mapping[str, str]) -> dict[str, str]:
    """The workers reach the database as the worker role, Redis, and the systems whose credentials are set for integrations."""
    ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
    hidden = {*(PREFIX + name for name in _NEVER_WORKER), WORKER_URL}
    own = {
        "DATABASE_URL": servers.worker,
        # Any role may listen; what counts is that no pooler stands before the connection.
        "LISTEN_DATABASE_URL": settings.listen_database_url or servers.worker,
        "REDIS_URL": servers.redis,
        "HOST": settings.host,
        "PORT": str(settings.port),
        "DATA_DIR": str(settings.data_dir),
        **({"DEMO": "true"} if settings.demo else {}),
    }
    return plain_environment() | {name: value for name, value in ours.items() if name not in hidden} | dict(extra) | _prefixed(own)


def _given(*names: str) -> dict[str, str]:
    return {PREFIX + name: os.environ[PREFIX + name] for name in names if os.environ.get(PREFIX + name)}


def _prefixed(values: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in values.items() if value}
