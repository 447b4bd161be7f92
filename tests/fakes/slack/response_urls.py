"""What a post to a response_url does (docs.slack.dev/interactivity/handling-user-interaction)."""

from tests.fakes.slack.chat_methods import content_of
from tests.fakes.slack.faults import Hook
from tests.fakes.slack.worlds import Json, Message, SlackSays, World


def respond(world: World, hook: Hook, body: Json) -> None:
    """Show, replace or delete a message. Raises SlackSays when Slack would refuse the body."""
    if body.get("delete_original"):
        if len(body) > 1:
            raise SlackSays("invalid_payload")
        if hook.original is not None:
            hook.original.deleted = True
        return
    text, blocks = content_of(body)
    if body.get("replace_original") and hook.original is not None:
        # A message stays ephemeral or public for life, whatever response_type says.
        hook.original.edit(text, world.complete(blocks))
        return
    in_channel = body.get("response_type") == "in_channel"
    thread = body.get("thread_ts") if in_channel and not body.get("replace_original") else _thread_of(hook.original)
    world.add_message(hook.channel, text, blocks, thread=thread, ephemeral_to=None if in_channel else hook.user)


def _thread_of(original: Message | None) -> str | None:
    return original.thread if original else None
