"""Who may look at this process's numbers: a program on the same machine, or one with the token that the settings give to monitoring."""

import hmac
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request

from bot.api.problems import Problem
from store.settings import Settings

from .refusals import Refusals

# Added by whatever passes a request on: the one who asks is then somewhere else, wherever the connection comes from.
_PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_REFUSED: Final = "These numbers are for this machine, or for whoever has COUNTERSIGN_METRICS_TOKEN: Authorization: Bearer …"


def check_watcher(request: Request) -> None:
    """Raises Problem 401 for anybody else; the refusal is counted."""
    if not is_watcher(request):
        refusals: Refusals = request.app.state.refusals
        refusals.count(door="metrics", reason="no_token")
        raise Problem(401, "unauthorized", _REFUSED, headers={"www-authenticate": 'Bearer realm="metrics"'})


def is_watcher(request: Request) -> bool:
    """With a token in the settings only that counts, because behind a proxy everybody comes from this machine."""
    settings: Settings = request.app.state.settings
    if wanted := settings.metrics_token.get_secret_value():
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(value.strip().encode(), wanted.encode())
    return _is_here(request) and not any(one in request.headers for one in _PASSED_ON)


def _is_here(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
