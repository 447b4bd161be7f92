"""Which addresses may be posted to as a response_url, or be sent a file: they come from outside, and slack_sdk would post to any host."""

from urllib.parse import urlsplit

from integrations.slack.errors import SlackRefused

SLACK_HOOKS = "https://hooks.slack.com"
SLACK_FILES = "https://files.slack.com"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HookPin:
    """Allows addresses of Slack's own host, or of exactly one gateway on this machine."""

    def __init__(self, gateway: str | None = None, *, host: str = SLACK_HOOKS) -> None:
        """Take a gateway's base such as `http://127.0.0.1:9000`. Raises ValueError when it is not on loopback."""
        if gateway is not None and not is_loopback(gateway):
            raise ValueError("hooks_base must be an address on this machine, for example http://127.0.0.1:9000")
        self._allowed = [_origin(base) for base in (host, gateway) if base is not None]

    def check(self, response_url: str) -> None:
        """Raise SlackRefused `foreign_url`, naming nothing of it, unless the address starts with an allowed origin."""
        try:
            origin = _origin(response_url)
        except ValueError:
            origin = None
        if origin not in self._allowed:
            raise SlackRefused("foreign_url", "the address does not lead to Slack, so nothing was sent")


def is_loopback(url: str) -> bool:
    """Say whether an address leads to this machine, judged by its literal host."""
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    # The whole netloc is compared, so user@host, host:port and host. with a dot are all foreign. A backslash or a control
    # character is read differently by different URL parsers, so neither is let near one.
    if any(sign <= " " or sign in "\\\x7f" for sign in url):
        raise ValueError("not a clean address")
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
