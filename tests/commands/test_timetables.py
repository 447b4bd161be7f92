"""When a request may start, and what is said about it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from commands.authorizing import Refused, Request, required_approval
from commands.policies import BoundPolicy
from commands.starts import FREEZES, START
from commands.timetables import Timing, explained, timing_of, windows_for
from countersign.calendars import zone_of
from countersign.invocations import Door, Place
from countersign.moments import instant
from tests.commands.samples import deploy, policy, policy_apply, rotate, scale, somebody

BERLIN = zone_of("Europe/Berlin")
NOON = instant("2026-11-23 12:00 Europe/Berlin")  # a Monday
ADA, LIN = somebody("ada", "developers"), somebody("lin", "leads")
TEXT = """
timezone: Europe/Berlin
windows:
  nights: {days: mon-thu, from: 22:00, to: 4:00}
  weekend: {days: sat-sun, from: 00:00, to: 24:00}
freezes:
  sale: {from: 2026-11-27 00:00, to: 2026-11-28 00:00, command: [deploy, scale], approve: {by: "sale:approve", reason: "OPS-[0-9]+"}}
  audit: {from: 2026-11-27 12:00, to: 2026-11-27 18:00, risk: high, because: The auditors are here.}
rules:
  - {name: at night, command: deploy, when: {env: prod}, window: nights}
  - {name: leads at the weekend, command: deploy, groups: [leads], window: weekend}
"""


@pytest.fixture
def bound() -> BoundPolicy:
    return policy(TEXT)


def asking(command: Any = deploy, *, env: str = "prod", reason: str = "") -> Request:
    arguments = {"service": "api", "version": "v2", "env": env, "force": False} if command is deploy else {}
    return Request(command.permission, Door.slack, Place("slack"), command, arguments, reason=reason)


def start(bound: BoundPolicy, request: Request, wanted: datetime = NOON) -> datetime:
    found = timing_of(bound, ADA, request, wanted)
    assert isinstance(found, Timing), found
    return found.start


def refused(bound: BoundPolicy, request: Request, wanted: str) -> tuple[str, str]:
    found = timing_of(bound, ADA, request, instant(wanted, BERLIN))
    assert isinstance(found, Refused), found
    return found.sentence, found.reason


def test_a_request_starts_in_the_windows_of_the_rules_that_concern_it(bound: BoundPolicy) -> None:
    assert start(bound, asking(env="staging")) == NOON
    assert start(bound, asking()) == instant("2026-11-23 22:00", BERLIN)
    assert [one.name for one in windows_for(bound, LIN, asking())] == ["nights", "weekend"]
    never = timing_of(bound, LIN, asking(), NOON)
    assert never == Refused("The windows nights and weekend are never open together, so this cannot run.", "no_window")


def test_a_freeze_asks_its_approvers_or_refuses_until_it_ends(bound: BoundPolicy) -> None:
    friday = instant("2026-11-27 13:00", BERLIN)
    met = timing_of(bound, ADA, asking(env="staging", reason="OPS-12"), friday)
    assert isinstance(met, Timing)
    assert [one.freeze.name for one in met.freezes] == ["sale"]
    sentence, reason = refused(bound, asking(rotate), "2026-11-27 13:00")
    assert reason == "frozen:audit"
    assert sentence.startswith("Frozen: audit (The auditors are here) until 2026-11-27 17:00 UTC. Nobody can let it through before;")
    assert isinstance(timing_of(bound, ADA, asking(policy_apply), friday), Timing), "whoever ends the freeze is not held by it"
    assert refused(bound, asking(scale, reason="OPS-12"), "2026-11-27 13:00")[1] == "frozen:audit", "of two freezes the one that refuses"


def test_a_freezes_approvers_may_want_a_reason_of_the_asker(bound: BoundPolicy) -> None:
    sentence, reason = refused(bound, asking(env="staging", reason="it is due"), "2026-11-27 01:00")
    assert sentence == 'deploy needs a reason with OPS-[0-9]+ in it. Give it with --reason "…".'
    assert reason.startswith("reason_wanted")


def test_a_freeze_is_asked_besides_the_others_and_by_nobody_alone(bound: BoundPolicy) -> None:
    request = asking(scale, reason="OPS-12")
    met = timing_of(bound, ADA, request, instant("2026-11-27 01:00", BERLIN))
    assert isinstance(met, Timing)
    rule, sources = required_approval(bound, ADA, request, alone=True, freezes=met.freezes)
    assert rule is not None
    assert [one.of for stage in rule.steps for one in stage.sets] == [("permission:deploy:approve",), ("permission:sale:approve",)]
    assert not rule.asker_may
    assert sources[-1] == "line 7: freeze 'sale'"
    free, _ = required_approval(bound, ADA, request, alone=True)
    assert free is not None
    assert free.asker_may


def test_what_is_signed_names_the_start_and_every_freeze_that_people_were_told_of(bound: BoundPolicy) -> None:
    met = timing_of(bound, ADA, asking(env="staging", reason="OPS-1"), instant("2026-11-27 01:00", BERLIN))
    assert isinstance(met, Timing)
    assert met.signed(start=met.start, zone=BERLIN, before={}) == {START: "2026-11-27 01:00 Europe/Berlin", FREEZES: ["sale"]}
    after = Timing(met.start + timedelta(days=7))
    before = {START: "2026-11-27 01:00 Europe/Berlin", FREEZES: ["sale"]}
    assert after.signed(start=None, zone=BERLIN, before=before) == before, "what has ended stays signed"
    assert after.signed(start=None, zone=BERLIN, before={}) == {}


def test_an_explanation_says_when_it_may_start_and_what_freezes_it(bound: BoundPolicy) -> None:
    def lines(request: Request, at: str) -> list[str]:
        return explained(timing_of(bound, ADA, request, instant(at, BERLIN)), BERLIN, instant(at, BERLIN))

    nights = "nights (mon-thu 22:00–04:00 Europe/Berlin)"
    assert lines(asking(), "2026-11-23 12:00") == [f"may start    2026-11-23 22:00 Europe/Berlin, in {nights}"]
    assert lines(asking(), "2026-11-23 23:00") == [f"may start    now, in {nights}"]
    assert lines(asking(env="staging", reason="OPS-1"), "2026-11-27 01:00") == ["frozen       sale until 2026-11-28 00:00 Europe/Berlin"]
    assert lines(asking(rotate), "2026-11-27 13:00")[0].startswith("may start    no: Frozen: audit")
    assert lines(asking(env="staging"), "2026-11-23 12:00") == []
