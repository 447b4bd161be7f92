"""Bolt: it knows the kinds of payloads and Socket Mode. Each listener hands its payload to one handler; requests were verified before."""

import re
from typing import Any, Final

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.deadlines import answering
from bot.logs import new_trace
from countersign.errors import CountersignError
from integrations.slack.roundtrips import read_metadata

from .clicks import handle_click
from .connections import Connection
from .homes import publish_home
from .mentions import handle_mention
from .openings import open_form
from .parsers import Json
from .slashes import handle_slash
from .sources import Source, text_at
from .submissions import handle_submission, line_form
from .userchanges import handle_user_change

SHORTCUT: Final = "run_about_message"
_ANY: Final = re.compile(".*", re.DOTALL)


def build_app(connection: Connection) -> AsyncApp:
    """The Bolt app. Its own signature check is off, because `requests` has checked, and Socket Mode has no signatures."""

    async def authorize(**_: Any) -> AuthorizeResult:
        own = connection.workspace.own
        return AuthorizeResult(
            enterprise_id=own.enterprise if own else None,
            team_id=own.team if own else None,
            bot_token=connection.client.web.token,
            bot_id=own.bot if own else None,
            bot_user_id=own.user if own else None,
        )

    app = AsyncApp(
        # Never called by us. Not the real one, because Bolt copies it deeply for lazy listeners, which open connections do not survive.
        client=AsyncWebClient(base_url=connection.client.web.base_url, retry_handlers=[]),
        signing_secret="checked before",  # noqa: S106  Bolt wants one and, with its check off, never looks at it
        authorize=authorize,
        process_before_response=True,
        request_verification_enabled=False,
        ssl_check_enabled=False,
        url_verification_enabled=False,
    )
    _Listeners(connection).listen(app)
    return app


async def dispatch(app: AsyncApp, payload: Json, *, trace: str) -> BoltResponse:
    """Hands Bolt a payload that came over HTTP and was read by our own parser.

    It goes in as Socket Mode's do, already read, so that no second parser can find another meaning in the same bytes.
    """
    return await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=payload, context={"trace": trace}))


class _Listeners:
    """The first function of each pair answers, once everything is committed; the lazy one comes after and may be lost."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def listen(self, app: AsyncApp) -> None:
        app.command(_ANY)(self._slash)
        app.action(_ANY)(ack=self._click, lazy=[self._open, self._refresh_home])
        app.view_submission(_ANY)(ack=self._submission, lazy=[self._refresh_home])
        app.view_closed(_ANY)(self._nothing)
        app.shortcut(SHORTCUT)(ack=self._shortcut, lazy=[self._open])
        app.event("app_mention")(self._mention)
        app.event("user_change")(self._user_changed)
        app.event("app_home_opened")(ack=self._nothing, lazy=[self._publish_home])
        app.event(_ANY)(self._nothing)

    async def _slash(self, body: Json, context: AsyncBoltContext) -> BoltResponse:
        return _answer(await handle_slash(self._connection, body, trace=_trace(context)))

    async def _click(self, body: Json, context: AsyncBoltContext) -> BoltResponse:
        with answering():
            context["opening"] = await handle_click(self._connection, body, trace=_trace(context))
        return _answer({})

    async def _submission(self, body: Json, context: AsyncBoltContext) -> BoltResponse:
        with answering():
            return _answer(await handle_submission(self._connection, body, trace=_trace(context)))

    async def _shortcut(self, body: Json, context: AsyncBoltContext) -> BoltResponse:
        context["opening"] = line_form(body)
        return _answer({})

    async def _mention(self, body: Json, context: AsyncBoltContext) -> BoltResponse:
        try:
            with answering():
                await handle_mention(self._connection, body, trace=_trace(context))
        except CountersignError as error:
            return BoltResponse(status=503, body=str(error))
        return _answer({})

    async def _user_changed(self, body: Json) -> BoltResponse:
        try:
            with answering():
                await handle_user_change(self._connection, body)
        except CountersignError as error:
            return BoltResponse(status=503, body=str(error))
        return _answer({})

    async def _nothing(self) -> BoltResponse:
        return _answer({})

    async def _open(self, context: AsyncBoltContext) -> None:
        if opening := context.get("opening"):
            await open_form(self._connection, opening)

    async def _publish_home(self, body: Json, context: AsyncBoltContext) -> None:
        if text_at(body, "event", "tab") == "home":
            await publish_home(self._connection, Source.of_event(body), trace=_trace(context))

    async def _refresh_home(self, body: Json, context: AsyncBoltContext) -> None:
        """What was pressed in App Home does not wait there any more."""
        source, view = Source.of_interaction(body), body.get("view")
        if source.home or (isinstance(view, dict) and "home" in read_metadata(view)):
            await publish_home(self._connection, source, trace=_trace(context), again=True)


def _answer(body: Json) -> BoltResponse:
    return BoltResponse(status=200, body=body or "")


def _trace(context: AsyncBoltContext) -> str:
    return str(context.get("trace") or new_trace())
