"""One call to Slack, its every ending turned into one of the errors of `errors`."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from integrations.slack.errors import SlackBusy, SlackError, SlackRefused, SlackUnclear, SlackUnreachable

Json = dict[str, Any]

# "It's possible some aspect of the operation succeeded before the error was raised" (docs.slack.dev, errors of every method).
_UNCLEAR_CODES = ("fatal_error", "internal_error", "request_timeout", "service_unavailable")
_RATE_CODES = ("ratelimited", "rate_limited")


async def ask(web: AsyncWebClient, method: str, params: Mapping[str, object], *, within: float) -> Json:
    """Call a Web API method with a JSON body and return the answer, which has `ok` true. Raises the errors of `errors` only."""
    try:
        async with asyncio.timeout(within):
            answer = await web.api_call(method, **_arguments(method, params))
            return dict(answer.data) if isinstance(answer.data, dict) else {}
    except Exception as error:
        failure = _failure(method, error)
    # Raised outside the handler, so that no traceback carries the original error, whose text may hold an address or a body.
    raise failure


async def post_json(session: aiohttp.ClientSession, url: str, body: Json, *, within: float) -> None:
    """Post to a response_url, following no redirect. Raises the errors of `errors` only, none naming the address."""
    try:
        async with asyncio.timeout(within), session.post(url, json=body, allow_redirects=False) as response:
            failure = _hook_failure(response.status, response.headers.get("Retry-After"), await response.text())
    except Exception as error:
        failure = _failure("response_url", error)
    if failure is not None:
        raise failure


async def post_bytes(session: aiohttp.ClientSession, url: str, content: bytes, *, within: float) -> None:
    """Send a file's bytes to the address that Slack gave for them, which shows them to nobody yet. Raises the errors of `errors` only."""
    try:
        async with asyncio.timeout(within), session.post(url, data=content, allow_redirects=False) as response:
            failure = _hook_failure(response.status, response.headers.get("Retry-After"), "")
    except Exception as error:
        failure = _failure("upload", error)
    if failure is not None:
        raise failure


# Slack takes JSON bodies for writing methods and only form or query arguments for these reading ones (docs.slack.dev/apis/web-api).
_FORM_METHODS = (
    *("conversations.history", "conversations.replies", "files.getUploadURLExternal", "usergroups.list", "users.info", "users.list"),
)


def _arguments(method: str, params: Mapping[str, object]) -> Json:
    if method not in _FORM_METHODS:
        return {"json": dict(params)}
    return {"data": {key: str(value).lower() if isinstance(value, bool) else value for key, value in params.items()}}


def _failure(what: str, error: Exception) -> SlackError:
    if isinstance(error, SlackApiError):
        return _api_failure(what, error)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return SlackUnreachable(f"{what}: no connection to Slack")
    if isinstance(error, aiohttp.InvalidURL):
        return SlackRefused("invalid_url", f"{what}: the address cannot be used")
    if isinstance(error, TimeoutError | OSError | aiohttp.ClientError | SlackClientError | AttributeError | ValueError):
        # AttributeError: slack_sdk's check of an answer that is text instead of JSON.
        late = isinstance(error, TimeoutError)
        return SlackUnclear(f"{what}: sent, and no valid answer came ({type(error).__name__})", late=late)
    raise error


def _api_failure(what: str, error: SlackApiError) -> SlackError:
    response: Any = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    if status == 429 or code in _RATE_CODES:
        return SlackBusy(_seconds(response.headers.get("Retry-After")), what)
    if status >= 500 or code is None or code in _UNCLEAR_CODES:
        return SlackUnclear(f"{what}: Slack answered {code or status} without saying whether it was done")
    messages = ((data or {}).get("response_metadata") or {}).get("messages") or []
    return SlackRefused(str(code), "; ".join(str(message) for message in messages))


def _hook_failure(status: int, retry_after: str | None, body: str) -> SlackError | None:
    if status == 200 and '"ok":false' not in body.replace(" ", ""):
        return None
    if status == 429:
        return SlackBusy(_seconds(retry_after), "response_url")
    if status >= 500:
        return SlackUnclear(f"response_url: Slack answered {status}")
    for code in ("used_url", "expired_url", "invalid_blocks", "no_text"):
        if code in body:
            return SlackRefused(code)
    return SlackRefused("response_url_refused", f"Slack refused the answer with HTTP {status}")


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 1))
    except ValueError:
        return 1.0
