"""chat.* and conversations.*, as the Web API answers them."""

from typing import Any

from integrations.slack.validation import problems
from tests.fakes.slack.worlds import Channel, Json, Message, SlackSays, World

LONGEST_TEXT = 40_000


def post_message(world: World, args: Json) -> Json:
    channel = writable(world, args)
    text, blocks = content_of(args)
    message = world.add_message(channel, text, blocks, thread=args.get("thread_ts"), metadata=_metadata(args))
    return {"channel": channel.id, "ts": message.ts, "message": message_json(world, message)}


def post_ephemeral(world: World, args: Json) -> Json:
    channel = writable(world, args)
    user = world.user(str(args.get("user")))
    if user.id not in channel.members:
        raise SlackSays("user_not_in_channel")
    text, blocks = content_of(args)
    message = world.add_message(channel, text, blocks, thread=args.get("thread_ts"), ephemeral_to=user.id)
    return {"message_ts": message.ts}


def update(world: World, args: Json) -> Json:
    channel = _readable(world, args)
    message = world.message(channel.id, str(args.get("ts")))
    if message.ephemeral_to:
        raise SlackSays("message_not_found")
    if message.sender != world.bot_user:
        raise SlackSays("cant_update_message")
    text, blocks = content_of(args)
    message.edit(text, world.complete(blocks))
    return {"channel": channel.id, "ts": message.ts, "text": text, "message": message_json(world, message)}


def conversations_open(world: World, args: Json) -> Json:
    users = str(args.get("users") or "")
    if not users:
        raise SlackSays("users_list_not_supplied")
    return {"channel": {"id": world.direct(users).id}}


def conversations_info(world: World, args: Json) -> Json:
    channel = _visible(world, args)
    return {
        "channel": {
            "id": channel.id,
            "name": channel.name,
            "is_channel": channel.direct_with is None and not channel.private,
            "is_group": channel.private and channel.direct_with is None,
            "is_im": channel.direct_with is not None,
            "is_private": channel.private,
            "is_archived": channel.archived,
            "is_member": channel.bot_in,
            "is_ext_shared": channel.shared,
            "is_shared": channel.shared,
        }
    }


def history(world: World, args: Json) -> Json:
    """Newest first, without replies in threads: those are only in conversations.replies."""
    channel = _readable(world, args)
    shown = [message for message in _kept(world, channel, args) if message.thread in (None, message.ts)]
    return _page(world, shown[::-1], args)


def replies(world: World, args: Json) -> Json:
    """A thread, oldest first, its parent included whatever `oldest` says."""
    channel = _readable(world, args)
    root = str(args.get("ts"))
    parent = world.message(channel.id, root)
    return _page(world, [parent, *(message for message in _kept(world, channel, args) if message.thread == root)], args)


def content_of(args: Json) -> tuple[str, list[Json]]:
    """Return text and blocks as Slack would take them. Raises SlackSays `no_text` or `invalid_blocks`."""
    text, blocks = str(args.get("text") or "")[:LONGEST_TEXT], args.get("blocks") or []
    found = problems(blocks, surface="message")
    if found:
        raise SlackSays("invalid_blocks", *found)
    if not text and not blocks:
        raise SlackSays("no_text")
    return text, blocks


def message_json(world: World, message: Message, *, with_metadata: bool = False) -> Json:
    ours = message.sender == world.bot_user
    made: Json = {
        "type": "message",
        "user": message.sender,
        "team": world.users[message.sender].team,
        "text": message.text,
        "ts": message.ts,
        "blocks": message.blocks,
    }
    if ours:
        made |= {"bot_id": world.bot_id, "app_id": world.app_id}
    if message.files:
        made["files"] = message.files
    if message.thread:
        made["thread_ts"] = message.thread
    if message.edits:
        made["edited"] = {"user": message.sender, "ts": message.ts}
    if with_metadata and message.metadata:
        made["metadata"] = message.metadata
    return made


def writable(world: World, args: Json) -> Channel:
    name = str(args.get("channel") or "")
    # Slack takes a person's id as the direct channel with them.
    channel = world.direct(name) if name in world.users else _readable(world, args)
    if channel.archived:
        raise SlackSays("is_archived")
    return channel


def _readable(world: World, args: Json) -> Channel:
    channel = _visible(world, args)
    if not channel.bot_in:
        raise SlackSays("not_in_channel")
    return channel


def _visible(world: World, args: Json) -> Channel:
    channel = world.channel(str(args.get("channel") or ""))
    if channel.private and not channel.bot_in:
        raise SlackSays("channel_not_found")
    return channel


def _kept(world: World, channel: Channel, args: Json) -> list[Message]:
    oldest, latest = float(args.get("oldest") or 0), float(args.get("latest") or "inf")
    return [
        message
        for message in world.messages
        if message.channel == channel.id and not message.deleted and not message.ephemeral_to and oldest < float(message.ts) < latest
    ]


def _page(world: World, messages: list[Message], args: Json) -> Json:
    start, limit = int(args.get("cursor") or 0), min(int(args.get("limit") or 100), 999)
    with_metadata = str(args.get("include_all_metadata")).lower() in {"true", "1"}
    rest = start + limit
    more = rest < len(messages)
    return {
        "messages": [message_json(world, message, with_metadata=with_metadata) for message in messages[start:rest]],
        "has_more": more,
        "response_metadata": {"next_cursor": str(rest) if more else ""},
    }


def _metadata(args: Json) -> Any:
    metadata = args.get("metadata")
    if metadata is not None and not (isinstance(metadata, dict) and {"event_type", "event_payload"} <= metadata.keys()):
        raise SlackSays("invalid_metadata_format")
    return metadata
