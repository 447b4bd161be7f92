"""What is sent to each route, so that the decision about it shows: a request that is right in everything but who sends it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import httpx

from bot.console.pages import _STATIC
from bot.console.sessions import _csrf, cookie_name
from tests.matrix.doors import Doors, Shown
from tests.matrix.towns import NAMES, Run

Send = Callable[[Doors, str, str, Run], Awaitable[Shown]]
"""Doors, persona, what the row is about, and the run."""
STATES: Final = {
    "POST /api/v1/runs/{reference}/resume": "interrupted",
    "POST /api/v1/runs/{reference}/takeback": "approved",
    "POST /api/v1/runs/{reference}/answers": "asked",
    "GET /api/v1/runs/{reference}/log": "done",
    "GET /api/v1/runs/{reference}/artifacts/{name}": "done",
    "GET /runs/{reference}/artifacts/{name}": "done",
    "GET /api/v1/tasks/{reference}": "tasked",
    "POST /api/v1/tasks/{reference}/answer": "tasked",
    "POST /api/v1/tasks/{reference}/assign": "tasked",
}
"""In which state a run has to be for the request to make sense."""
ELSEWHERE: Final = "from elsewhere"
DIRECTORY: Final = "with a directory's token"
_NEWEST: Final = "SELECT id FROM tokens WHERE kind = 'session' AND person = 'kim' AND ended_at IS NULL ORDER BY created_at DESC LIMIT 1"
_USER: Final = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "new", "active": True}


def api(method: str, path: str, body: Mapping[str, Any] | None = None) -> Send:
    async def send(doors: Doors, persona: str, about: str, run: Run) -> Shown:
        filled = {key: run.digest if value == "{digest}" else value for key, value in body.items()} if body is not None else None
        return await doors.rest(persona, method, path.format(id=run.id), filled)

    return send


def page(path: str) -> Send:
    async def send(doors: Doors, persona: str, about: str, run: Run) -> Shown:
        answer = await doors.client(persona, browser=True).get(path.format(id=run.id, static=next(iter(_STATIC))))
        return Shown(answer.status_code, answer.text)

    return send


def form(path: str, **fields: str) -> Send:
    async def send(doors: Doors, persona: str, about: str, run: Run) -> Shown:
        return await doors.browse(persona, path, **{name: value.format(id=run.id) for name, value in fields.items()})

    return send


def stream(path: str, *, browser: bool = False, events: int = 2) -> Send:
    async def send(doors: Doors, persona: str, about: str, run: Run) -> Shown:
        return await doors.stream(persona, path.format(id=run.id), browser=browser, events=events)

    return send


async def _changes(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """Of everything, or of the run."""
    return await doors.stream(persona, f"/console/events?run={run.id}" if about else "/console/events", browser=True)


def scim(method: str, path: str, body: Mapping[str, Any] | None = None) -> Send:
    async def send(doors: Doors, persona: str, about: str, run: Run) -> Shown:
        filled = None if body is None else {**body, "userName": uuid4().hex}
        user = uuid4()
        if about == DIRECTORY and "{user}" in path:
            made = await doors.rest("directory", "POST", "/scim/v2/Users", _USER | {"userName": uuid4().hex})
            user = made.text.partition('"id": "')[2].partition('"')[0]  # type: ignore[assignment]
        return await doors.rest("directory" if about == DIRECTORY else persona, method, path.format(user=user), filled)

    return send


async def _slack(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    return await doors.slash(persona, "whoami")


async def _numbers(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """From the same machine, or from another one."""
    if about != ELSEWHERE:
        return await doors.rest(persona, "GET", "/metrics")
    transport = httpx.ASGITransport(doors.town.web.app, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url=doors.town.web.address, headers=doors.client(persona).headers) as client:
        answer = await client.get("/metrics")
    return Shown(answer.status_code, answer.text)


async def _login(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """With a link of one's own, or of somebody else's."""
    name = "kim" if about == "another's link" else NAMES.get(persona, "kim")
    return await doors.rest(persona, "POST", "/api/v1/login", {"link": await doors.town.web.token("link", name)})


async def _look_at_link(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    answer = await doors.client(persona, browser=True).get(f"/enter/{await _link(doors, about)}")
    return Shown(answer.status_code, answer.text)


async def _come_in(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """As a browser of its own, which keeps the session to itself."""
    async with doors.town.web.client({"origin": doors.town.web.address, "sec-fetch-site": "same-origin"}) as browser:
        answer = await browser.post(f"/enter/{await _link(doors, about)}")
    return Shown(answer.status_code, answer.text)


async def _leave(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """With a session that is made for it, because it ends."""
    name = NAMES.get(persona)
    session = await doors.town.web.token("session", name) if name else ""
    headers = {"origin": doors.town.web.address, "sec-fetch-site": "same-origin"}
    headers |= {"cookie": f"{cookie_name(doors.town.web.hub.settings)}={session}"} if session else {}
    async with doors.town.web.client(headers) as browser:
        answer = await browser.post("/leave", data={"csrf": _csrf(session)})
    return Shown(answer.status_code, answer.text)


async def _sign_in(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """As a browser of its own, with a link that is pasted."""
    async with doors.town.web.client({"origin": doors.town.web.address, "sec-fetch-site": "same-origin"}) as browser:
        answer = await browser.post("/sign-in", data={"link": await _link(doors, about), "next": "/inbox"})
    return Shown(answer.status_code, answer.text)


async def _end_session(doors: Doors, persona: str, about: str, run: Run) -> Shown:
    """One that there is not, or one of somebody else's."""
    which = str(uuid4())
    if about:
        await doors.town.web.token("session", "kim")
        [row] = await doors.town.rows(_NEWEST)
        which = str(row.id)
    return await doors.browse(persona, "/sessions/end", which=which)


async def _link(doors: Doors, about: str) -> str:
    return await doors.town.web.token("link", "kim", lifetime=-1 if about == "a dead link" else 600)


REQUESTS: Final[Mapping[str, Send]] = {
    "POST /slack/events": _slack,
    "POST /hooks/{id}": api("POST", "/hooks/2c0a1d0e-7d1c-4a52-9d54-7a1c1f0b3f11", {}),
    "GET /live": api("GET", "/live"),
    "GET /ready": api("GET", "/ready"),
    "GET /metrics": _numbers,
    "GET /api/v1/openapi.json": api("GET", "/api/v1/openapi.json"),
    "POST /api/v1/runs": api("POST", "/api/v1/runs", {"command": "oil hinge", "arguments": {"box": "red"}, "dry_run": True}),
    "GET /api/v1/runs": api("GET", "/api/v1/runs"),
    "GET /api/v1/runs/{reference}": api("GET", "/api/v1/runs/{id}"),
    "GET /api/v1/runs/{reference}/log": api("GET", "/api/v1/runs/{id}/log"),
    "GET /api/v1/runs/{reference}/log/events": stream("/api/v1/runs/{id}/log/events", events=0),
    "GET /api/v1/runs/{reference}/artifacts": api("GET", "/api/v1/runs/{id}/artifacts"),
    "GET /api/v1/runs/{reference}/artifacts/{name}": api("GET", "/api/v1/runs/{id}/artifacts/report.txt"),
    "GET /runs/{reference}/artifacts/{name}": page("/runs/{id}/artifacts/report.txt"),
    "GET /api/v1/runs/{reference}/plan.svg": api("GET", "/api/v1/runs/{id}/plan.svg"),
    "GET /api/v1/runs/{reference}/decisions/options": api("GET", "/api/v1/runs/{id}/decisions/options"),
    "GET /api/v1/runs/{reference}/conversation": api("GET", "/api/v1/runs/{id}/conversation"),
    "POST /api/v1/runs/{reference}/decisions": api(
        "POST", "/api/v1/runs/{id}/decisions", {"verdict": "approve", "digest": "{digest}", "reason": "fine"}
    ),
    "POST /api/v1/runs/{reference}/cancel": api("POST", "/api/v1/runs/{id}/cancel"),
    "POST /api/v1/runs/{reference}/resume": api("POST", "/api/v1/runs/{id}/resume", {"choice": "stop"}),
    "POST /api/v1/runs/{reference}/edits": api("POST", "/api/v1/runs/{id}/edits", {"arguments": {"box": "another"}}),
    "POST /api/v1/runs/{reference}/withdraw": api("POST", "/api/v1/runs/{id}/withdraw", {}),
    "POST /api/v1/runs/{reference}/takeback": api("POST", "/api/v1/runs/{id}/takeback", {}),
    "POST /api/v1/runs/{reference}/handover": api("POST", "/api/v1/runs/{id}/handover", {"person": "max"}),
    "POST /api/v1/runs/{reference}/comments": api("POST", "/api/v1/runs/{id}/comments", {"text": "indeed"}),
    "POST /api/v1/runs/{reference}/questions": api("POST", "/api/v1/runs/{id}/questions", {"text": "indeed"}),
    "POST /api/v1/runs/{reference}/answers": api("POST", "/api/v1/runs/{id}/answers", {"text": "indeed"}),
    "GET /api/v1/inbox": api("GET", "/api/v1/inbox"),
    "GET /api/v1/tasks/{reference}": api("GET", "/api/v1/tasks/{id}"),
    "POST /api/v1/tasks/{reference}/answer": api("POST", "/api/v1/tasks/{id}/answer", {"answers": {"text": "indeed"}}),
    "POST /api/v1/tasks/{reference}/assign": api("POST", "/api/v1/tasks/{id}/assign", {"to": ["max"]}),
    "GET /api/v1/audit": api("GET", "/api/v1/audit"),
    "GET /api/v1/audit/evidence/{reference}": api("GET", "/api/v1/audit/evidence/{id}"),
    "GET /api/v1/commands": api("GET", "/api/v1/commands"),
    "GET /api/v1/schedules": api("GET", "/api/v1/schedules"),
    "GET /api/v1/schedules/{name}": api("GET", "/api/v1/schedules/none"),
    "GET /api/v1/coming": api("GET", "/api/v1/coming"),
    "GET /api/v1/room/channels": api("GET", "/api/v1/room/channels"),
    "GET /api/v1/room/messages": api("GET", "/api/v1/room/messages?channel=ops"),
    "GET /api/v1/room/events": stream("/api/v1/room/events?channel=ops&after=0"),
    "POST /api/v1/room/say": api("POST", "/api/v1/room/say", {"text": "whoami"}),
    "POST /api/v1/room/form": api("POST", "/api/v1/room/form", {"command": "whoami"}),
    "POST /api/v1/room/press": api("POST", "/api/v1/room/press", {"intent": "unknown", "target": "x"}),
    "GET /api/v1/passkeys": api("GET", "/api/v1/passkeys"),
    "POST /api/v1/passkeys/options": api("POST", "/api/v1/passkeys/options"),
    "POST /api/v1/passkeys": api("POST", "/api/v1/passkeys", {"label": "phone", "credential": {}}),
    "POST /api/v1/login": _login,
    "GET /scim/v2/ServiceProviderConfig": scim("GET", "/scim/v2/ServiceProviderConfig"),
    "GET /scim/v2/ResourceTypes": scim("GET", "/scim/v2/ResourceTypes"),
    "GET /scim/v2/ResourceTypes/{name}": scim("GET", "/scim/v2/ResourceTypes/User"),
    "GET /scim/v2/Schemas": scim("GET", "/scim/v2/Schemas"),
    "GET /scim/v2/Schemas/{name}": scim("GET", "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User"),
    "GET /scim/v2/{endpoint}": scim("GET", "/scim/v2/Users"),
    "POST /scim/v2/{endpoint}": scim("POST", "/scim/v2/Users", _USER),
    "GET /scim/v2/{endpoint}/{reference}": scim("GET", "/scim/v2/Users/{user}"),
    "PUT /scim/v2/{endpoint}/{reference}": scim("PUT", "/scim/v2/Users/{user}", _USER),
    "PATCH /scim/v2/{endpoint}/{reference}": scim(
        "PATCH", "/scim/v2/Users/{user}", {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    ),
    "DELETE /scim/v2/{endpoint}/{reference}": scim("DELETE", "/scim/v2/Users/{user}"),
    "GET /": page("/"),
    "GET /runs/{reference}": page("/runs/{id}"),
    "GET /runs/{reference}/plan.svg": page("/runs/{id}/plan.svg"),
    "GET /runs/{reference}/signing": page("/runs/{id}/signing"),
    "GET /sessions": page("/sessions"),
    "POST /sessions/end": _end_session,
    "GET /sign-in": page("/sign-in?next=/inbox"),
    "GET /sign-in/oidc": page("/sign-in/oidc"),
    "GET /sign-in/back": page("/sign-in/back?code=x&state=x"),
    "POST /sign-in": _sign_in,
    "GET /passkeys": page("/passkeys"),
    "POST /passkeys/options": form("/passkeys/options"),
    "POST /passkeys": form("/passkeys", label="phone"),
    "GET /runs": page("/runs"),
    "GET /inbox": page("/inbox"),
    "GET /ask": page("/ask"),
    "GET /people": page("/people"),
    "GET /people/{name}": page("/people/kim"),
    "GET /policy": page("/policy"),
    "GET /access": page("/access"),
    "GET /numbers": page("/numbers"),
    "GET /numbers/{name}.csv": page("/numbers/days.csv"),
    "GET /catalogue": page("/catalogue"),
    "GET /operations": page("/operations"),
    "POST /ask": form("/ask", command="whoami"),
    "GET /audit": page("/audit"),
    "GET /audit/events/{event_id}": page("/audit/events/2c0a1d0e-7d1c-4a52-9d54-7a1c1f0b3f11"),
    "GET /audit/runs/{reference}": page("/audit/runs/{id}"),
    "POST /inbox/decide": form("/inbox/decide", verdict="approve"),
    "POST /audit/verify": form("/audit/verify"),
    "GET /console/events": _changes,
    "POST /room/say": form("/room/say", text="whoami"),
    "POST /room/form": form("/room/form", command="whoami"),
    "POST /room/press": form("/room/press", intent="details", target="{id}"),
    "GET /room/events": stream("/room/events?channel=ops&after=0", browser=True),
    "GET /enter/{token}": _look_at_link,
    "POST /enter/{token}": _come_in,
    "POST /leave": _leave,
    "GET /static/{name}": page("/static/{static}"),
}
