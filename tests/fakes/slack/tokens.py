"""Tokens and scopes: an unknown token fails, because a fake that takes any hides authorization bugs."""

from dataclasses import dataclass
from typing import Literal

from tests.fakes.slack.worlds import Clock, Json, SlackSays, World

BOT_SCOPES = frozenset(
    {
        "app_mentions:read",
        "channels:history",
        "channels:read",
        "chat:write",
        "commands",
        "files:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "usergroups:read",
        "users:read",
        "users:read.email",
    }
)
ROTATION = 12 * 3600.0


@dataclass(frozen=True)
class Token:
    """What a token may do, and until when (None: for ever)."""

    kind: Literal["bot", "app"]
    scopes: frozenset[str]
    until: float | None = None


class Tokens:
    """Every token that this Slack knows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._refresh: dict[str, frozenset[str]] = {}

    def add(self, secret: str, token: Token) -> None:
        self._tokens[secret] = token

    def add_rotating(self, secret: str, refresh: str, *, scopes: frozenset[str] = BOT_SCOPES) -> None:
        """Add a bot token that lives twelve hours, and the refresh token that buys the next."""
        self._tokens[secret] = Token("bot", scopes, self._clock.now() + ROTATION)
        self._refresh[refresh] = scopes

    def check(self, secret: str | None, *, kind: str, scopes: tuple[str, ...]) -> Token:
        """Return the token if it may. Raises SlackSays with Slack's words for each way it may not."""
        if not secret:
            raise SlackSays("not_authed")
        token = self._tokens.get(secret)
        if token is None:
            raise SlackSays("invalid_auth")
        if token.until is not None and self._clock.now() > token.until:
            raise SlackSays("token_expired")
        if token.kind != kind:
            raise SlackSays("not_allowed_token_type")
        if scopes and not token.scopes & set(scopes):
            raise SlackSays("missing_scope", f"needed: {scopes[0]}")
        return token

    def access(self, world: World, args: Json) -> Json:
        """oauth.v2.access with a refresh token, which works once (docs.slack.dev/authentication/using-token-rotation)."""
        scopes = self._refresh.pop(str(args.get("refresh_token")), None)
        if args.get("grant_type") != "refresh_token" or scopes is None:
            raise SlackSays("invalid_refresh_token")
        secret, refresh = world.mint("xoxe.xoxb-"), world.mint("xoxe-")
        self.add_rotating(secret, refresh, scopes=scopes)
        return {"access_token": secret, "refresh_token": refresh, "expires_in": int(ROTATION), "token_type": "bot"}
