"""The Web API and the response_urls over HTTP: tokens, scopes, rates, faults, then the method itself."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from tests.fakes.slack import chat_methods, people_methods
from tests.fakes.slack.faults import MODES, Fault, Faults, Hooks, RateLimits, Triggers
from tests.fakes.slack.file_methods import Uploads
from tests.fakes.slack.response_urls import respond
from tests.fakes.slack.tokens import Tokens
from tests.fakes.slack.view_methods import ViewMethods
from tests.fakes.slack.worlds import Json, SlackSays, World

Handler = Callable[[World, Json], Json]
_STRUCTURED = ("blocks", "view", "metadata", "files")


@dataclass(frozen=True)
class Method:
    """One Web API method: the scope it needs and how many calls a minute its tier allows (docs.slack.dev, rate limits)."""

    handler: Handler
    scope: str | None = None
    per_minute: int | None = 50
    kind: str = "bot"


@dataclass
class ApiCall:
    """One call that reached Slack at `at`, for `fake.requests`: `error` is Slack's code, `status` None while nothing was answered."""

    method: str
    params: Json
    at: float = 0.0
    status: int | None = None
    error: str | None = None


class WebApi:
    """Serves POST and GET /api/METHOD, and POST /actions/… for response_urls."""

    def __init__(self, world: World, *, tokens: Tokens, faults: Faults, limits: RateLimits, triggers: Triggers, hooks: Hooks) -> None:
        self.requests: list[ApiCall] = []
        self.closing = asyncio.Event()
        self._world, self._tokens, self._faults, self._limits, self._hooks = world, tokens, faults, limits, hooks
        self.uploads = Uploads()
        self.methods = _methods(ViewMethods(triggers), tokens, self.uploads)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self._serve),
            web.post("/actions/{team}/{secret}", self._serve_hook),
            web.post("/upload/v1/{file}", self._serve_upload),
        ]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        args = await _arguments(request)
        secret = args.pop("token", None) or request.headers.get("Authorization", "").removeprefix("Bearer").strip()
        call = ApiCall(method, args, self._world.clock.now())
        self.requests.append(call)
        return await self._answer(request, call, partial(self._run, call, secret))

    async def _serve_hook(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        call = ApiCall("response_url", _json(body) or {}, self._world.clock.now())
        self.requests.append(call)
        return await self._answer(request, call, partial(self._run_hook, call, request.match_info["secret"]))

    async def _serve_upload(self, request: web.Request) -> web.StreamResponse:
        """Without a token: the address is the right."""
        content = await request.read()
        call = ApiCall("upload", {"bytes": len(content)}, self._world.clock.now())
        self.requests.append(call)
        return await self._answer(request, call, partial(self._run_upload, call, request.match_info["file"], content))

    async def _answer(self, request: web.Request, call: ApiCall, run: Callable[[], web.Response]) -> web.StreamResponse:
        fault = self._faults.take(call.method)
        if fault is None:
            response = run()
            call.status = response.status
            return response
        return await self._misbehave(request, call, fault, run)

    async def _misbehave(self, request: web.Request, call: ApiCall, fault: Fault, run: Callable[[], web.Response]) -> web.StreamResponse:
        if fault.mode == "429":
            return _busy(call, fault.retry_after)
        if fault.mode not in MODES:
            return _refusal(call, SlackSays(fault.mode))
        if fault.mode.endswith("_after"):
            run()
        mode = fault.mode.removesuffix("_after")
        if mode == "500":
            call.status = 500
            return web.Response(status=500, text="<html>something broke</html>", content_type="text/html")
        if mode == "hang":
            await self.closing.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _run(self, call: ApiCall, secret: str | None) -> web.Response:
        method = self.methods.get(call.method)
        if method is None:
            return _refusal(call, SlackSays("unknown_method"))
        try:
            scopes = frozenset[str]()
            if method.kind != "none":
                needed = self._scopes(call, method)
                scopes = self._tokens.check(secret, kind=method.kind, scopes=needed).scopes
            wait = self._wait_for(call, method)
            if wait is not None:
                return _busy(call, wait)
            answer = method.handler(self._world, {**call.params, "scopes": scopes})
        except SlackSays as error:
            return _refusal(call, error)
        return web.json_response({"ok": True, **answer})

    def _scopes(self, call: ApiCall, method: Method) -> tuple[str, ...]:
        if method.scope is None or ":" in method.scope or method.scope == "commands":
            return (method.scope,) if method.scope else ()
        # "history" and "read" come in one scope for each kind of channel.
        channel = self._world.channels.get(str(call.params.get("channel")))
        family = "channels" if channel is None else "im" if channel.direct_with else "groups" if channel.private else "channels"
        return (f"{family}:{method.scope}",)

    def _wait_for(self, call: ApiCall, method: Method) -> int | None:
        if call.method == "chat.postMessage":
            return self._limits.wait_for(f"post {call.params.get('channel')}", per_second=self._limits.posts_per_second, burst=1)
        if method.per_minute is None or not self._limits.tiers:
            return None
        return self._limits.wait_for(call.method, per_second=method.per_minute / 60, burst=method.per_minute)

    def _run_upload(self, call: ApiCall, file: str, content: bytes) -> web.Response:
        try:
            self.uploads.receive(file, content)
        except SlackSays as error:
            call.status, call.error = 400, error.code
            return web.Response(status=400, text=error.code)
        return web.Response(text=f"OK - {len(content)}")

    def _run_hook(self, call: ApiCall, secret: str) -> web.Response:
        try:
            respond(self._world, self._hooks.use(secret), call.params)
        except SlackSays as error:
            return _refusal(call, error)
        return web.Response(text="ok")


def _methods(views: ViewMethods, tokens: Tokens, uploads: Uploads) -> dict[str, Method]:
    return {
        "auth.test": Method(people_methods.auth_test, per_minute=None),
        "oauth.v2.access": Method(tokens.access, kind="none", per_minute=100),
        "users.info": Method(people_methods.users_info, "users:read", 100),
        "users.lookupByEmail": Method(people_methods.users_lookup_by_email, "users:read.email"),
        "users.list": Method(people_methods.users_list, "users:read", 20),
        "usergroups.list": Method(people_methods.usergroups_list, "usergroups:read", 20),
        "usergroups.users.list": Method(people_methods.usergroups_users_list, "usergroups:read", 20),
        "conversations.open": Method(chat_methods.conversations_open, "im:write"),
        "conversations.info": Method(chat_methods.conversations_info, "read"),
        "conversations.history": Method(chat_methods.history, "history"),
        "conversations.replies": Method(chat_methods.replies, "history"),
        "chat.postMessage": Method(chat_methods.post_message, "chat:write"),
        "chat.postEphemeral": Method(chat_methods.post_ephemeral, "chat:write", 100),
        "chat.update": Method(chat_methods.update, "chat:write"),
        "files.getUploadURLExternal": Method(uploads.place, "files:write", 100),
        "files.completeUploadExternal": Method(uploads.complete, "files:write", 100),
        "views.open": Method(views.open, per_minute=100),
        "views.push": Method(views.push, per_minute=100),
        "views.update": Method(views.update, per_minute=100),
        "views.publish": Method(views.publish, per_minute=100),
    }


async def _arguments(request: web.Request) -> Json:
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        args |= _json(await request.text()) or {}
    elif request.method == "POST":
        args |= {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    for key in _STRUCTURED:
        if isinstance(args.get(key), str):
            args[key] = _json(args[key])
    return args


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _refusal(call: ApiCall, error: SlackSays) -> web.Response:
    call.status, call.error = 200, error.code
    if call.method == "response_url":
        # Unlike the Web API, a response_url refuses with an HTTP status.
        call.status = 404 if error.code.endswith("_url") else 400
    answer: Json = {"ok": False, "error": error.code}
    if error.messages:
        answer["response_metadata"] = {"messages": [f"[ERROR] {message}" for message in error.messages]}
    return web.json_response(answer, status=call.status)


def _busy(call: ApiCall, seconds: int) -> web.Response:
    call.status, call.error = 429, "ratelimited"
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(seconds)})
