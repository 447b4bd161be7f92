"""What switches say about a command, and whom they let through."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from commands.switches import SWITCH_OFF, against, against_run, name_of, sentence_of, shown_on, stopped_integrations
from countersign import Command, Plan, command
from countersign.contexts import PlanningContext
from countersign.permissions import Risk
from store.switches import Held, Switch
from tests.commands.samples import COMMANDS

AT = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)


def switch(kind: str, target: str = "", reason: str = "") -> Switch:
    return Switch(kind, target, "lin", AT, reason)


def held(command: str = "deploy", risk: Risk = Risk.medium, *, dry_run: bool = False) -> Held:
    return Held(uuid4(), command, risk, dry_run, "queued")


@command("read", permission="a:read", risk="read")
async def read(ctx: PlanningContext) -> Plan:
    """Read."""
    return Plan("read")


@command(SWITCH_OFF, permission="a:start")
async def off(ctx: PlanningContext) -> Plan:
    """Switch off."""
    return Plan("off")


ALL: dict[str, Command] = {**COMMANDS, "read": read, SWITCH_OFF: off}


@pytest.mark.parametrize(
    ("one", "sentence", "name"),
    [
        (switch("everything", reason="it burns."), "Everything is stopped by lin since 2026-11-23 14:02 UTC: it burns.", "everything"),
        (switch("changes"), "Read-only mode is on by lin since 2026-11-23 14:02 UTC.", "changes"),
        (switch("command", "deploy"), "The command deploy is stopped by lin since 2026-11-23 14:02 UTC.", "command deploy"),
        (switch("integration", "fleet"), "The integration fleet is stopped by lin since 2026-11-23 14:02 UTC.", "integration fleet"),
    ],
)
def test_each_switch_has_a_sentence_and_a_name(one: Switch, sentence: str, name: str) -> None:
    assert (sentence_of(one), name_of(one)) == (sentence, name)


@pytest.mark.parametrize(
    ("one", "stopped"),
    [
        (switch("everything"), {"deploy", "scale", "tell", "rotate", "erase", "policy apply", "read"}),
        (switch("changes"), {"deploy", "scale", "tell", "rotate", "erase", "policy apply"}),
        (switch("command", "deploy"), {"deploy"}),
        (switch("integration", "fleet"), set()),
    ],
)
def test_controls_and_switching_off_are_never_stopped(one: Switch, stopped: set[str]) -> None:
    assert {name for name, each in ALL.items() if against([one], each, dry_run=False)} == stopped


def test_read_only_mode_lets_dry_runs_and_planning_happen() -> None:
    changes = [switch("changes")]
    assert against(changes, ALL["deploy"], dry_run=True) == ""
    assert against_run(changes, held(), planning=True) == ""
    assert against_run(changes, held(dry_run=True), planning=False) == ""
    assert against_run(changes, held(), planning=False) == sentence_of(changes[0])
    assert against_run([switch("everything")], held(dry_run=True), planning=True)


def test_a_card_shows_what_is_in_its_way_and_stopped_integrations() -> None:
    on = [switch("command", "tell"), switch("integration", "fleet"), switch("changes")]
    assert shown_on(on, held()) == [sentence_of(on[1]), sentence_of(on[2])]
    assert shown_on(on, held("tell", Risk.read)) == [sentence_of(on[0]), sentence_of(on[1])]
    assert shown_on(on, held(SWITCH_OFF)) == []
    assert stopped_integrations(on) == {"fleet": sentence_of(on[1])}
