"""What a schedule's lines tell to whom, and in which order slots come."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from commands.registries import Registry
from commands.rulebooks import Rulebook
from commands.schedules import coming, told
from countersign import PlanningContext, Reply, command
from store.schedules import ScheduleRow
from store.secrets import Keys
from tests.commands.samples import policy, somebody

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


@command("open vault", permission="vault:open", visibility="private")
async def open_vault(ctx: PlanningContext, box: str) -> Reply:
    """Open a box."""
    return Reply(text=box)


def row(name: str, cadence: str, *, first: datetime = NOON, paused: bool = False) -> ScheduleRow:
    return ScheduleRow(
        id=uuid4(),
        name=name,
        owner="ada",
        command="open vault",
        arguments={"box": "red"},
        cadence=cadence,
        zone="UTC",
        anchor=NOON,
        next_at=None if paused else first,
        paused_at=NOON if paused else None,
    )


@pytest.fixture
def rulebook(tmp_path: Path) -> Rulebook:
    found = policy("roles: {admin: ['*:*']}\ngroups: {admins: [admin]}\npeople: {max: {groups: [admins]}}")
    return Rulebook(registry=Registry({"open vault": open_vault}), policy=found, sealer=Keys.prepared(tmp_path / "keys").sealer())


@pytest.mark.parametrize(("name", "groups", "seen"), [("ada", (), True), ("lin", (), False), ("max", ("admins",), True)])
def test_what_a_private_command_is_asked_is_its_owners_and_an_admins(
    rulebook: Rulebook, name: str, groups: tuple[str, ...], seen: bool
) -> None:
    shown = told(rulebook, somebody(name, *groups), row("r", "@daily"))
    assert shown == ("open vault box=red" if seen else "open vault …")


def test_slots_to_come_are_in_order_and_a_paused_schedule_has_none() -> None:
    rows = [
        row("often", "every 20m"),
        row("hourly", "30 * * * *", first=NOON + timedelta(minutes=30)),
        row("idle", "* * * * *", paused=True),
    ]
    found = [(at - NOON, one.name) for at, one in coming(rows, limit=6)]
    minutes = [0, 20, 30, 40, 60, 80]
    assert found == [(timedelta(minutes=n), "hourly" if n == 30 else "often") for n in minutes]
    assert coming([row("broken", "never")], limit=5) == []
