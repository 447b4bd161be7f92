"""views.*: modals in a stack of three, and App Home."""

from integrations.slack.validation import view_problems
from tests.fakes.slack.faults import Triggers
from tests.fakes.slack.worlds import Json, SlackSays, View, World

HIGHEST_STACK = 3


class ViewMethods:
    """The methods that need to know triggers."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    def open(self, world: World, args: Json) -> Json:
        data = checked_view(args.get("view"), "modal")
        user = self._triggers.use(str(args.get("trigger_id")))
        view = world.make_view(user, data)
        world.stacks[user] = [view]
        return {"view": view_json(world, view)}

    def push(self, world: World, args: Json) -> Json:
        data = checked_view(args.get("view"), "modal")
        user = self._triggers.use(str(args.get("trigger_id")))
        return {"view": view_json(world, push(world, user, data))}

    def update(self, world: World, args: Json) -> Json:
        data = checked_view(args.get("view"), None)
        view = _find(world, args)
        if args.get("hash") not in (None, view.hash):
            raise SlackSays("hash_conflict")
        replace(world, view, data)
        return {"view": view_json(world, view)}

    def publish(self, world: World, args: Json) -> Json:
        data = checked_view(args.get("view"), "home")
        user = world.user(str(args.get("user_id")))
        before = world.homes.get(user.id)
        if args.get("hash") is not None and (before is None or args["hash"] != before.hash):
            raise SlackSays("hash_conflict")
        view = world.homes[user.id] = world.make_view(user.id, data)
        return {"view": view_json(world, view)}


def push(world: World, user: str, data: Json) -> View:
    """Put a view above the one a person sees. Raises SlackSays `push_limit_reached` above three."""
    stack = world.stacks.setdefault(user, [])
    if not stack:
        raise SlackSays("not_found")
    if len(stack) >= HIGHEST_STACK:
        raise SlackSays("push_limit_reached")
    stack.append(world.make_view(user, data, above=stack[-1]))
    return stack[-1]


def replace(world: World, view: View, data: Json) -> None:
    """Show other content in a view that is open."""
    view.data = {**data, "blocks": world.complete(data["blocks"])}
    view.hash = world.mint("h")


def checked_view(data: object, kind: str | None) -> Json:
    """Return a view that Slack would take. Raises SlackSays `invalid_arguments` with what is wrong."""
    if not isinstance(data, dict):
        raise SlackSays("invalid_arguments", "view: must be an object")
    found = view_problems(data)
    if kind is not None and data.get("type") != kind:
        found.append(f"view: must be of type {kind}")
    if found:
        raise SlackSays("invalid_arguments", *found)
    return data


def view_json(world: World, view: View, *, state: Json | None = None) -> Json:
    empty = {"private_metadata": "", "callback_id": "", "external_id": "", "close": None, "submit": None}
    return {
        **empty,
        **view.data,
        "id": view.id,
        "team_id": world.team,
        "app_id": world.app_id,
        "app_installed_team_id": world.team,
        "bot_id": world.bot_id,
        "hash": view.hash,
        "root_view_id": view.root,
        "previous_view_id": view.previous,
        "state": {"values": state or {}},
    }


def _find(world: World, args: Json) -> View:
    views = [view for stack in world.stacks.values() for view in stack] + list(world.homes.values())
    for view in views:
        if args.get("view_id") == view.id or (args.get("external_id") and args["external_id"] == view.data.get("external_id")):
            return view
    raise SlackSays("not_found")
