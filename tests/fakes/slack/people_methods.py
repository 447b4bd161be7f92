"""auth.*, users.*, usergroups.*: who is who."""

from tests.fakes.slack.worlds import FakeUser, Json, SlackSays, World


def auth_test(world: World, _args: Json) -> Json:
    answer: Json = {
        "url": "https://example.slack.com/",
        "team": "Example",
        "user": "countersign",
        "team_id": world.team,
        "user_id": world.bot_user,
        "bot_id": world.bot_id,
        "is_enterprise_install": world.enterprise is not None,
    }
    if world.enterprise:
        answer["enterprise_id"] = world.enterprise
    return answer


def users_info(world: World, args: Json) -> Json:
    return {"user": user_json(world, world.user(str(args.get("user"))), scopes=args["scopes"])}


def users_lookup_by_email(world: World, args: Json) -> Json:
    for user in world.users.values():
        if user.email and user.email == args.get("email") and user.team == world.team:
            return {"user": user_json(world, user, scopes=args["scopes"])}
    raise SlackSays("users_not_found")


def users_list(world: World, args: Json) -> Json:
    limit, start = int(args.get("limit") or 0), int(args.get("cursor") or 0)
    if not 0 < limit <= 1_000:
        raise SlackSays("invalid_limit")
    users = list(world.users.values())
    following = str(start + limit) if start + limit < len(users) else ""
    shown = [user_json(world, one, scopes=args["scopes"]) for one in users[start : start + limit]]
    return {"members": shown, "response_metadata": {"next_cursor": following}}


def usergroups_list(world: World, args: Json) -> Json:
    """Slack leaves the members out unless asked, and people who were deactivated are in no group."""
    groups: list[Json] = []
    for one in world.usergroups.values():
        users = [name for name in one.users if not world.users[name].deleted]
        groups.append(
            {"id": one.id, "team_id": world.team, "handle": one.handle} | ({"users": users} if args.get("include_users") == "true" else {})
        )
    return {"usergroups": groups}


def usergroups_users_list(world: World, args: Json) -> Json:
    group = world.usergroups.get(str(args.get("usergroup")))
    if group is None:
        raise SlackSays("no_such_subteam")
    return {"users": [name for name in group.users if not world.users[name].deleted]}


def user_json(world: World, user: FakeUser, *, scopes: frozenset[str]) -> Json:
    """An account as users.info shows it: no email without its own scope, nor for people of other companies."""
    profile: Json = {"display_name": user.name, "real_name": user.name.title(), "team": user.team}
    if user.email and "users:read.email" in scopes and user.team == world.team:
        profile["email"] = user.email
    made: Json = {
        "id": user.id,
        "team_id": user.team,
        "name": user.name,
        "real_name": user.name.title(),
        "deleted": user.deleted,
        "is_bot": user.bot,
        "is_stranger": user.stranger,
        "profile": profile,
    }
    if not user.deleted:
        made |= {
            "tz": user.tz,
            "is_admin": False,
            "is_restricted": user.guest is not None,
            "is_ultra_restricted": user.guest == "single",
        }
    return made
