"""What can go wrong between us and Slack, in the four ways a sender must tell apart.

Nothing here ever holds a token or a response_url: both are secrets, and an exception ends in logs.
"""

_SENTENCES = {
    "account_inactive": "the app was removed from the workspace; install it again",
    "cant_update_message": "the app may only edit its own messages",
    "channel_not_found": "Slack knows no such channel, or the app may not see it",
    "exchanged_trigger_id": "the form was opened already; press the button again",
    "expired_trigger_id": "Slack gives three seconds to open a form and they are over; press the button again",
    "expired_url": "the answer came more than 30 minutes after the question",
    "hash_conflict": "the view changed meanwhile",
    "invalid_auth": "Slack does not accept the bot token",
    "is_archived": "the channel is archived",
    "message_not_found": "the message does not exist any more",
    "missing_scope": "the app lacks a permission in Slack; update it from the manifest",
    "not_authed": "no bot token was sent",
    "not_in_channel": "the app is not in the channel; invite it there",
    "too_far_back": "it may be among more messages than can be looked through",
    "token_expired": "the bot token has expired",
    "token_revoked": "the bot token was revoked; install the app again",
    "used_url": "the response_url was used five times already",
    "user_not_found": "Slack knows no such person",
}


class SlackError(Exception):
    """Any failure of a call to Slack."""


class SlackRefused(SlackError):
    """Slack said no, and would say no again: `code` is Slack's word, `sentence` is for a person; as text it is both."""

    def __init__(self, code: str, sentence: str = "") -> None:
        """Name the refusal; without a sentence the known ones are used."""
        self.code = code
        self.sentence = sentence or _SENTENCES.get(code, f"Slack refused with {code!r}")
        super().__init__(self.sentence if code in self.sentence else f"{self.sentence} ({code})")


class SlackBusy(SlackError):
    """Slack answered 429: nothing was done; `retry_after` is in seconds, `method` is what it wants left alone."""

    def __init__(self, retry_after: float, method: str = "") -> None:
        """Keep the seconds that Slack asked to wait, and for what."""
        self.retry_after, self.method = retry_after, method
        super().__init__(f"Slack asks to wait {retry_after:g} s")


class SlackUnclear(SlackError):
    """The request was sent and no valid answer came: it may or may not have been done. Look before sending again.

    `late` when we stopped waiting: Slack may still be about to do it.
    """

    def __init__(self, sentence: str, *, late: bool = False) -> None:
        """Say what came instead of an answer."""
        self.late = late
        super().__init__(sentence)


class SlackUnreachable(SlackError):
    """No connection to Slack: certainly nothing was sent."""
