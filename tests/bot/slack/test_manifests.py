"""The manifest tells Slack our commands and asks for no more than we use."""

from typing import Any

import pytest

from bot.slack import manifest
from commands.registries import Registry, load_registry
from countersign import Context, Plan, PlanningContext, command, step
from tests.fakes.slack.tokens import BOT_SCOPES


@step(idempotent=True)
async def nothing(ctx: Context) -> None:
    return None


def named(name: str) -> Registry:
    @command(name, permission="x:run", slash=True)
    async def one(ctx: PlanningContext, place: str = "here") -> Plan:
        """Do it."""
        return Plan("it", nothing())

    return Registry({name: one})


def test_commands_arrive_with_ids_and_at_our_address() -> None:
    made = manifest(load_registry(folder=None, runbooks=None), "https://hub.example.test/")
    commands: list[dict[str, Any]] = made["features"]["slash_commands"]
    assert [one["command"] for one in commands][:2] == ["/countersign", "/cs"]
    assert len(commands) <= 50
    assert all(one["should_escape"] and one["url"] == "https://hub.example.test/slack/events" for one in commands)
    assert made["settings"]["event_subscriptions"]["request_url"] == "https://hub.example.test/slack/events"
    assert not made["settings"]["socket_mode_enabled"]


def test_a_command_with_a_name_of_its_own_says_how_it_is_used() -> None:
    [_, _, own] = manifest(named("ship"), "https://hub.example.test")["features"]["slash_commands"]
    assert (own["command"], own["description"], own["usage_hint"]) == ("/ship", "Do it.", "[place=here]")


def test_socket_mode_needs_no_address() -> None:
    made = manifest(named("ship"), "", socket_mode=True)
    assert made["settings"]["socket_mode_enabled"]
    assert "url" not in str(made)


def test_a_name_too_long_for_slack_is_refused() -> None:
    with pytest.raises(ValueError, match="31 characters"):
        manifest(named("x" * 32), "https://hub.example.test")


def test_every_scope_is_one_that_the_fake_needs() -> None:
    scopes = manifest(named("ship"), "", user_groups=True)["oauth_config"]["scopes"]["bot"]
    assert set(scopes) <= BOT_SCOPES
    assert "files:write" in scopes, "reports have pictures"
