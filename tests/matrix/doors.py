"""How each persona comes in by each door: what they send, with whatever proof they have, and everything they are shown in return."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode
from uuid import NAMESPACE_OID, uuid4, uuid5

import httpx

from bot.console.sessions import _csrf, cookie_name
from bot.slack import PATH
from integrations.slack.roundtrips import ANSWER, PREFIX, metadata
from tests.fakes.slack import SIGNING_SECRET, sign
from tests.matrix.towns import Town

ACCOUNTS = {
    "guest": ("T1", "U0GIL"),
    "outsider": ("T2", "U0OLE"),
    "staff": ("T1", "U0EVE"),
    "approver": ("T1", "U0LIN"),
    "asker": ("T1", "U0ADA"),
    "admin": ("T1", "U0MAX"),
    "leaver": ("T1", "U0GUS"),
    "service": ("T1", "U0CI"),
    "nobody": ("T1", "U0MAX"),  # says so, and cannot sign it
}
TYPED: Final = ("slack", "rest", "browser", "terminal")
PRESSED: Final = ("slack", "browser", "terminal")
DOOR_OF: Final = {"slack": "slack", "mention": "slack", "home": "slack", "rest": "api", "browser": "browser", "terminal": "terminal"}
"""What the record calls each of these ways in."""
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Shown:
    """What came back: the status of the answer, and everything that can be read in it or because of it."""

    status: int
    text: str
    headers: Mapping[str, str] | None = None


def ways_in(persona: str, ways: tuple[str, ...]) -> tuple[str, ...]:
    """The ways that this persona has: guests and outsiders are somebody only in Slack, a service account is nobody there."""
    if persona in ("guest", "outsider"):
        return tuple(one for one in ways if DOOR_OF[one] == "slack")
    return tuple(one for one in ways if DOOR_OF[one] != "slack") if persona == "service" else ways


class Doors:
    """All ways into one town."""

    def __init__(self, town: Town, *, proof: Mapping[str, str] | None = None, session: str = "") -> None:
        """With everybody's own proof; or all of them with this one, and with this session."""
        self.town, self._session = town, session
        everybody = (*ACCOUNTS, "directory", "kim")
        self._clients = {one: town.web.client(dict(proof) if proof else _proof(town, one, "api")) for one in everybody}
        own = {"origin": town.web.address, "sec-fetch-site": "same-origin"}
        self._slack = town.web.client()
        cookie = {"cookie": f"{cookie_name(town.web.hub.settings)}={session}"}
        self._browsers = {one: town.web.client(own | (cookie if session else _proof(town, one, "session"))) for one in everybody}

    async def close(self) -> None:
        for one in (self._slack, *self._clients.values(), *self._browsers.values()):
            await one.aclose()

    def client(self, persona: str, *, browser: bool = False) -> httpx.AsyncClient:
        """What sends this persona's token, or session."""
        return (self._browsers if browser else self._clients)[persona]

    async def type(self, way: str, persona: str, line: str) -> Shown:
        """A line that is typed."""
        if way == "slack":
            return await self.slash(persona, line)
        if way == "mention":
            return await self.mention(persona, line)
        if way == "rest":
            return await self.rest(persona, "POST", "/api/v1/runs", {"text": line})
        if way == "terminal":
            return await self.rest(persona, "POST", "/api/v1/room/say", {"text": line, "channel": "ops"})
        return await self.browse(persona, "/room/say", text=line)

    async def press(self, way: str, persona: str, intent: str, target: str, *, digest: str = "") -> Shown:
        """A button that is pressed."""
        if way in ("slack", "home"):
            return await self.click(persona, intent, {"target": target, "digest": digest}, home=way == "home")
        if way == "terminal":
            pressed = {"intent": intent, "target": target, "digest": digest}
            return await self.rest(persona, "POST", "/api/v1/room/press", pressed)
        return await self.browse(persona, "/room/press", intent=intent, target=target, digest=digest)

    async def send(self, way: str, persona: str, intent: str, target: str, *, answers: Mapping[str, str], digest: str = "") -> Shown:
        """A form that a button had opened, filled in."""
        if way == "slack":
            carried = {"intent": intent, "target": target, "digest": digest}
            return await self.submit(persona, "form", answers, carried)
        if way == "terminal":
            pressed = {"intent": intent, "target": target, "digest": digest, "answers": dict(answers)}
            return await self.rest(persona, "POST", "/api/v1/room/press", pressed)
        named = {f"a.{name}": value for name, value in answers.items()}
        return await self.browse(persona, "/room/press", intent=intent, target=target, digest=digest, **named)

    async def submit(self, persona: str, callback: str, answers: Mapping[str, str], carried: Mapping[str, str]) -> Shown:
        """A form of Slack's that is sent back."""
        values = {name: {ANSWER: {"type": "plain_text_input", "value": value}} for name, value in answers.items()}
        blocks = [{"type": "input", "block_id": name} for name in answers]
        view: dict[str, Any] = {"type": "modal", "id": f"V{uuid4().hex}", "hash": "h", "callback_id": callback, "blocks": blocks}
        view |= {"private_metadata": metadata(**{"channel": "C_OPS", **carried}), "state": {"values": values}}
        return await self.interact(persona, {"type": "view_submission", "view": view})

    async def rest(self, persona: str, method: str, path: str, body: Any = None) -> Shown:
        return _shown(await self._clients[persona].request(method, path, json=body))

    async def browse(self, persona: str, path: str, **fields: str) -> Shown:
        """A form of the page, sent from the page."""
        session = self._session or self.town.tokens.get((persona, "session"), "")
        own = {"csrf": _csrf(session), "key": uuid4().hex, "channel": "ops", "as": ""}
        return _shown(await self._browsers[persona].post(path, data=own | fields, headers={"countersign-part": "1"}))

    async def slash(self, persona: str, line: str) -> Shown:
        team, user = ACCOUNTS[persona]
        fields = {"team_id": team, "user_id": user, "channel_id": "C_OPS", "command": "/cs", "text": line, "trigger_id": _trigger()}
        return await self.signed(persona, urlencode(fields).encode(), _FORM)

    async def mention(self, persona: str, line: str) -> Shown:
        team, user = ACCOUNTS[persona]
        event = {"type": "app_mention", "user": user, "team": team, "text": f"<@U_BOT> {line}", "channel": "C_OPS", "ts": "1.1"}
        number = f"Ev{uuid4().hex}"
        answer = await self.event(persona, event, number=number)
        return await self._with_reply(answer, f"slack:{number}")

    async def event(self, persona: str, event: Mapping[str, Any], *, number: str = "") -> Shown:
        team, _ = ACCOUNTS[persona]
        foreign = {"user_team": team} if team != "T1" else {}
        envelope = {"type": "event_callback", "team_id": "T1", "event_id": number or f"Ev{uuid4().hex}", "event": {**event, **foreign}}
        return await self.signed(persona, json.dumps(envelope).encode(), _JSON)

    async def click(self, persona: str, intent: str, value: Mapping[str, Any], *, home: bool = False) -> Shown:
        """A button of a message, or of App Home, where what is said opens as a form."""
        trigger = _trigger()
        action = {"type": "button", "action_id": f"{PREFIX}{intent}:0", "block_id": "b", "value": json.dumps(value), "action_ts": trigger}
        place: dict[str, Any] = {"channel": {"id": "C_OPS"}, "container": {"type": "message", "channel_id": "C_OPS", "message_ts": "1.1"}}
        if home:
            place = {"view": {"type": "home", "id": "V1", "hash": "h"}, "container": {"type": "view"}}
        payload = {"type": "block_actions", "trigger_id": trigger, "actions": [action], **place}
        answer = await self.interact(persona, payload)
        if home:
            return await self._with_view(answer, trigger)
        told = await self._with_reply(answer, f"slack:T1:{trigger}")
        return told if told.text else await self._with_view(answer, trigger)

    async def interact(self, persona: str, payload: Mapping[str, Any]) -> Shown:
        team, user = ACCOUNTS[persona]
        whole = {"team": {"id": "T1"}, "user": {"id": user, "team_id": team}, **payload}
        return await self.signed(persona, urlencode({"payload": json.dumps(whole)}).encode(), _FORM)

    async def opened(self, trigger: str) -> str:
        """The form that was opened with this trigger, as it was sent to Slack."""
        deadline = time.monotonic() + 60
        while trigger not in self.town.opened:
            assert time.monotonic() < deadline, "no form was opened"
            await asyncio.sleep(0.005)
        return self.town.opened[trigger]

    async def stream(self, persona: str, path: str, *, browser: bool = False, events: int = 0) -> Shown:
        """The beginning of a stream: so many events, or all of an answer that is none."""
        client = self.client(persona, browser=browser)
        headers = [(name.encode(), value.encode()) for name, value in client.headers.items()]
        bare, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "method": "GET",
            "path": bare,
            "raw_path": bare.encode(),
            "query_string": query.encode(),
        }
        scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("testserver", 80), "scheme": "http", "http_version": "1.1"}
        return await _Listening(events).hear(self.town, scope)

    async def signed(self, persona: str, body: bytes, content_type: str) -> Shown:
        proof = sign(SIGNING_SECRET if persona != "nobody" else "a guess", body)
        return _shown(await self._slack.post(PATH, content=body, headers=proof | {"content-type": content_type}))

    async def _with_reply(self, answer: Shown, key: str) -> Shown:
        """The answer that is left for the sender, to one person alone."""
        rows = await self.town.rows(
            "SELECT card::text AS card, channel, account FROM messages WHERE id = :id", id=uuid5(NAMESPACE_OID, f"reply to {key}")
        )
        assert all(row.account for row in rows), "an answer is for one account"
        return Shown(answer.status, answer.text + "".join(json.dumps(json.loads(row.card), ensure_ascii=False) for row in rows))

    async def _with_view(self, answer: Shown, trigger: str) -> Shown:
        if answer.status != 200:
            return answer
        return Shown(answer.status, answer.text + await self.opened(trigger))


class _Listening:
    """Reads a stream until it has told enough, and goes away: what is sent next fails, as with a server that knows of it."""

    def __init__(self, events: int) -> None:
        self._events, self._status, self._text = events, 0, ""

    async def hear(self, town: Town, scope: Mapping[str, Any]) -> Shown:
        async with asyncio.timeout(60):
            await town.web.app(dict(scope), self._receive, self._send)
        return Shown(self._status, self._text)

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        self._text += message.get("body", b"").decode()
        if message.get("more_body") and self._text.count("event: ") >= self._events:
            raise OSError("the reader has gone away")


def _proof(town: Town, persona: str, kind: str) -> dict[str, str]:
    token = town.tokens.get((persona, kind), "")
    if not token:
        return {}
    return {"authorization": f"Bearer {token}"} if kind == "api" else {"cookie": f"{cookie_name(town.web.hub.settings)}={token}"}


def _shown(answer: httpx.Response) -> Shown:
    text = answer.text
    if answer.headers.get("content-type", "").startswith("application/") and "json" in answer.headers["content-type"]:
        text = json.dumps(answer.json(), ensure_ascii=False)
    return Shown(answer.status_code, text, answer.headers)


def _trigger() -> str:
    return f"{time.time_ns()}.{uuid4().hex}"
