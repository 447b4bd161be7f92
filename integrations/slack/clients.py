"""The client of Slack's Web API: one connection pool, no hidden retries, four kinds of failure (see `errors`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from integrations.slack.calls import Json, ask, post_bytes, post_json
from integrations.slack.errors import SlackRefused
from integrations.slack.hooks import SLACK_FILES, HookPin, is_loopback
from integrations.slack.validation import problems, view_problems

SLACK_API = "https://slack.com/api/"
KEY_EVENT = "countersign_message"
PAGES = 10
USERS_A_PAGE = 1_000
LONGEST_ALT = 1_000


@dataclass(frozen=True)
class Posted:
    """Where a message ended up: both are needed to edit it."""

    channel: str
    ts: str


@dataclass(frozen=True)
class SlackUser:
    """A chat account as Slack tells it. `team` is the account's own workspace, which may not be ours (Slack Connect)."""

    id: str
    team: str
    email: str | None
    name: str
    is_guest: bool
    is_stranger: bool
    deleted: bool
    is_bot: bool
    tz: str | None


@dataclass(frozen=True)
class SlackSelf:
    """Who we are in Slack: the answer to auth.test."""

    team: str
    user: str
    bot: str
    url: str
    enterprise: str | None


def escape(text: str) -> str:
    """Escape the three characters that Slack's mrkdwn gives a meaning (docs.slack.dev, formatting message text).

    It makes `<!channel>` and `<@U…>` from a person's input plain text instead of a mention.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class SlackClient:
    """Calls Slack with one bot token over one shared connection pool. Every method raises only errors of `errors`.

    `base_url` is the base of the Web API and gets its closing slash if it lacks one; `timeout` is in seconds and covers a whole call.
    `hooks_base` allows response_urls of a gateway on this machine (scheme, host and port must then match it exactly);
    without it only https://hooks.slack.com is ever posted to. `web` is the same client for Bolt, on the same pool.
    """

    def __init__(self, token: str, *, base_url: str = SLACK_API, timeout: float = 2.5, hooks_base: str | None = None) -> None:
        """Prepare the client; call inside the running loop that will use it. Raises ValueError for a hooks_base off loopback."""
        self._timeout = timeout
        self._pin, self._files = HookPin(hooks_base), HookPin(hooks_base, host=SLACK_FILES)
        # A connection that does not come about must end first, so that it is told apart from an answer that does not come.
        limits = aiohttp.ClientTimeout(total=None, connect=timeout * 0.6)
        self._session = aiohttp.ClientSession(timeout=limits)
        base = base_url if base_url.endswith("/") else base_url + "/"
        # retry_handlers=[]: the default one sends chat.postMessage again after a dropped connection, and so posts twice.
        self.web = AsyncWebClient(token, base_url=base, timeout=max(1, int(timeout)), session=self._session, retry_handlers=[])
        if is_loopback(base):
            self.web.proxy = None  # slack_sdk takes HTTPS_PROXY from the environment even for this machine
        self._self: SlackSelf | None = None

    async def __aenter__(self) -> Self:
        """Return the client; it closes its connections on leaving."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        await self._session.close()

    async def post(self, channel: str, blocks: Sequence[Json], text: str, *, thread: str | None = None, key: str) -> Posted:
        """Post a message; `text` is what notifications show, `key` lets `find_by_key` find it when the outcome was unclear."""
        answer = await self._ask(
            "chat.postMessage",
            channel=channel,
            blocks=_checked(blocks),
            text=text,
            thread_ts=thread,
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": KEY_EVENT, "event_payload": {"key": key}},
        )
        return Posted(answer["channel"], answer["ts"])

    async def upload(self, channel: str, name: str, content: bytes, *, title: str, comment: str, alt: str = "") -> str:
        """Show a file in a channel, with a sentence; returns its id. Nobody sees anything of it before the last of three calls.

        `alt` is what a picture shows, for who cannot see it; of a long one the beginning is kept. `name` is what `find_file` looks for
        when the outcome was unclear (docs.slack.dev, files.getUploadURLExternal and files.completeUploadExternal). Raises SlackRefused
        `missing_scope` without files:write.
        """
        place = await self._ask("files.getUploadURLExternal", filename=name, length=len(content), alt_txt=alt[:LONGEST_ALT] or None)
        self._files.check(place["upload_url"])
        await post_bytes(self._session, place["upload_url"], content, within=self._timeout)
        files = [{"id": place["file_id"], "title": title}]
        await self._ask("files.completeUploadExternal", files=files, channel_id=channel, initial_comment=comment)
        return str(place["file_id"])

    async def may_upload(self) -> bool:
        """Say whether Slack lets the app upload files: asks for a place for one, which is nothing as long as it stays empty."""
        try:
            await self._ask("files.getUploadURLExternal", filename="test.txt", length=1)
        except SlackRefused as error:
            if error.code == "missing_scope":
                return False
            raise
        return True

    async def update(self, channel: str, ts: str, blocks: Sequence[Json], text: str) -> None:
        """Edit a message of ours; doing it twice is harmless."""
        await self._ask("chat.update", channel=channel, ts=ts, blocks=_checked(blocks), text=text)

    async def ephemeral(self, channel: str, user: str, blocks: Sequence[Json], text: str, *, thread: str | None = None) -> None:
        """Show a message to one member of a channel only; Slack keeps no trace of it, so an unclear outcome stays unclear."""
        await self._ask("chat.postEphemeral", channel=channel, user=user, blocks=_checked(blocks), text=text, thread_ts=thread)

    async def open_direct(self, user: str) -> str:
        """Return the id of the direct channel with a person; opening it twice is harmless."""
        answer = await self._ask("conversations.open", users=user)
        return str(answer["channel"]["id"])

    async def respond(
        self,
        response_url: str,
        *,
        text: str,
        blocks: Sequence[Json] = (),
        in_channel: bool = False,
        replace_original: bool = False,
        thread: str | None = None,
    ) -> None:
        """Answer through a response_url: five times within 30 minutes, to the asker alone unless `in_channel`.

        Raises SlackRefused `foreign_url` without sending when the address is not Slack's own.
        """
        body: Json = {"text": text, "response_type": "in_channel" if in_channel else "ephemeral", "replace_original": replace_original}
        if blocks:
            body["blocks"] = _checked(blocks)
        if thread is not None:
            body["thread_ts"] = thread
        self._pin.check(response_url)
        await post_json(self._session, response_url, body, within=self._timeout)

    async def remove_original(self, response_url: str) -> None:
        """Delete the message that the response_url belongs to; Slack allows no other attribute beside it."""
        self._pin.check(response_url)
        await post_json(self._session, response_url, {"delete_original": True}, within=self._timeout)

    async def open_view(self, trigger_id: str, view: Json) -> str:
        """Open a form and return its view id; the trigger lives three seconds and works once."""
        answer = await self._ask("views.open", trigger_id=trigger_id, view=_checked_view(view))
        return str(answer["view"]["id"])

    async def publish_home(self, user: str, view: Json, hash: str | None = None) -> str:  # noqa: A002 - Slack's own word
        """Publish a person's App Home and return its new hash; with `hash`, refused (`hash_conflict`) if it changed meanwhile."""
        answer = await self._ask("views.publish", user_id=user, view=_checked_view(view), hash=hash)
        return str(answer["view"]["hash"])

    async def user(self, id: str) -> SlackUser:  # noqa: A002 - an account is known by its id
        """Look an account up. `email` is None without the scope users:read.email, for bots and for most strangers."""
        answer = await self._ask("users.info", user=id)
        return _slack_user(answer["user"])

    async def users(self, cursor: str = "") -> tuple[list[SlackUser], str]:
        """A page of the workspace's accounts, deactivated ones too, and the cursor of the next one, empty at the end.

        Slack allows twenty such calls a minute.
        """
        page = await self._ask("users.list", limit=USERS_A_PAGE, cursor=cursor or None)
        return [_slack_user(one) for one in page["members"]], (page.get("response_metadata") or {}).get("next_cursor") or ""

    async def user_groups(self) -> dict[str, list[str]]:
        """The members of every user group that is not disabled, by its id; needs the scope usergroups:read."""
        answer = await self._ask("usergroups.list", include_users=True, include_disabled=False)
        return {str(one["id"]): [str(user) for user in one.get("users") or ()] for one in answer["usergroups"]}

    async def user_by_email(self, email: str) -> SlackUser | None:
        """The workspace's member with this address (users.lookupByEmail), or None."""
        try:
            answer = await self._ask("users.lookupByEmail", email=email)
        except SlackRefused as error:
            if error.code == "users_not_found":
                return None
            raise
        return _slack_user(answer["user"])

    async def is_shared(self, channel: str) -> bool:
        """Whether the channel is shared with another company (conversations.info: is_ext_shared, is_pending_ext_shared)."""
        answer = await self._ask("conversations.info", channel=channel)
        found = answer.get("channel", {})
        return bool(found.get("is_ext_shared") or found.get("is_pending_ext_shared"))

    async def auth_test(self) -> SlackSelf:
        """Ask Slack who we are; raises SlackRefused `invalid_auth` for a wrong token."""
        answer = await self._ask("auth.test")
        return SlackSelf(
            team=answer["team_id"],
            user=answer["user_id"],
            bot=answer["bot_id"],
            url=answer["url"],
            enterprise=answer.get("enterprise_id"),
        )

    async def find_by_key(self, channel: str, key: str, since: float, *, thread: str | None = None) -> Posted | None:
        """Look for the message that `post` was to send with this key, among those of at most ten pages since `since` (Unix seconds).

        Only our own messages count: another app could write our key into its metadata. Pass the thread for a reply, because
        a channel's history leaves replies out. Take `since` a minute early: it is compared with Slack's clock. Raises SlackRefused
        `too_far_back` when it is not among ten pages and there are more.
        """
        found = await self._find(channel, partial(_has_key, key=key), since, thread=thread)
        return Posted(channel, found["ts"]) if found else None

    async def find_file(self, channel: str, name: str, since: float) -> str | None:
        """Look for the file of this name that `upload` was to show; returns its id. As `find_by_key`."""
        found = await self._find(channel, partial(_has_file, name=name), since)
        return next((str(one["id"]) for one in found["files"] if one.get("name") == name), None) if found else None

    async def _find(self, channel: str, ours: Callable[[Json], bool], since: float, *, thread: str | None = None) -> Json | None:
        us = self._self = self._self or await self.auth_test()
        method, where = ("conversations.replies", {"ts": thread}) if thread else ("conversations.history", {})
        cursor = None
        for _page in range(PAGES):
            page = await self._ask(
                method, channel=channel, **where, oldest=f"{since:.6f}", limit=200, include_all_metadata=True, cursor=cursor
            )
            for message in page["messages"]:
                if ours(message) and us.bot == message.get("bot_id"):
                    return dict(message)
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return None
        raise SlackRefused("too_far_back")

    async def _ask(self, method: str, **params: object) -> Json:
        return await ask(self.web, method, {key: value for key, value in params.items() if value is not None}, within=self._timeout)


def _checked(blocks: Sequence[Json]) -> list[Json]:
    found = problems(list(blocks), surface="message")
    if found:
        raise SlackRefused("invalid_blocks", "; ".join(found))
    return list(blocks)


def _checked_view(view: Json) -> Json:
    found = view_problems(view)
    if found:
        raise SlackRefused("invalid_view", "; ".join(found))
    return view


def _has_key(message: Mapping[str, Any], key: str) -> bool:
    metadata = message.get("metadata") or {}
    return metadata.get("event_type") == KEY_EVENT and metadata.get("event_payload", {}).get("key") == key


def _has_file(message: Mapping[str, Any], name: str) -> bool:
    return any(one.get("name") == name for one in message.get("files") or ())


def _slack_user(user: Mapping[str, Any]) -> SlackUser:
    profile = user.get("profile") or {}
    return SlackUser(
        id=user["id"],
        team=user.get("team_id") or "",
        email=profile.get("email"),
        name=profile.get("display_name") or profile.get("real_name") or user.get("name") or user["id"],
        is_guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
        is_stranger=bool(user.get("is_stranger")),
        deleted=bool(user.get("deleted")),
        is_bot=bool(user.get("is_bot")),
        tz=user.get("tz"),
    )
