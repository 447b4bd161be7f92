"""Who may vote and who may see: selectors of a rule resolved to people as they are now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nacl.public import PrivateKey

from commands.authorizing import Allowed, Refused, required_approval
from commands.registries import Registry
from commands.rulebooks import Rulebook
from commands.voting import Matter, filled, may_see, may_vote, voters
from countersign import Approval, Risk
from countersign.approvals import Stage, Voters
from store.people import Person
from store.runs import RunRow
from store.secrets import Sealer
from tests.commands.samples import COMMANDS, asking, deploy, erase, policy, risky, somebody, tell
from tests.commands.test_authorizing import ADA, EVE, GONE, LIN, MAX, ROLES, STRICT, TEAM

BOOK = Rulebook(Registry(COMMANDS), TEAM, Sealer(PrivateKey.generate().public_key, b"m" * 32))
START = datetime(2026, 11, 23, 9, tzinfo=UTC)
CASTED = policy(
    """
schedules:
  payments: {rotation: [lin, kim], start: 2026-11-23T09:00:00+00:00, every: 1d}
owners:
  service: {api: ["group:leads"], web: ["person:kim", "group:leads"]}
"""
    + ROLES
)
KIM = somebody("kim")


def run(visibility: str, *, owner: str = "") -> RunRow:
    return RunRow(command="deploy", visibility=visibility, asker="ada", owner=owner, arguments={}, edited_by=None, handed_to=None)


def able(*selectors: str, matter: Matter | None = None) -> list[str]:
    """Those of the cast whom the selectors name."""
    rule = Approval(stages=(Stage((Voters(selectors),)),))
    return [one.name for one in voters(CASTED, [ADA, LIN, KIM, MAX, EVE, GONE], rule, matter or Matter("ada", deploy))]


BY = Approval(by="deploy:approve")


def test_who_may_vote() -> None:
    for person in (LIN, MAX):
        assert isinstance(may_vote(STRICT, person, BY, Matter("ada", deploy)), Allowed)
    assert may_vote(TEAM, LIN, BY, Matter("lin", deploy)) == Refused(
        "You asked for this; someone else must approve your request.", "self_approval"
    )
    assert isinstance(may_vote(TEAM, LIN, Approval(by="deploy:approve", asker_may=True), Matter("lin", deploy)), Allowed)
    for person in (ADA, EVE):
        answer = may_vote(TEAM, person, BY, Matter("max", deploy))
        assert answer == Refused(
            "This needs the permission deploy:approve; it belongs to the role approver or everything.", "missing_permission"
        )
    assert isinstance(may_vote(TEAM, GONE, BY, Matter("ada", deploy)), Refused)


@pytest.mark.parametrize("asker_may", [False, True])
def test_service_accounts_never_vote(asker_may: bool) -> None:
    robot = somebody("robot", "admins", service=True)
    rule = Approval(by="deploy:approve", asker_may=asker_may)
    for asker in ("ada", "robot"):
        assert may_vote(TEAM, robot, rule, Matter(asker, deploy)) == Refused("Service accounts never vote.", "service_account")
    assert voters(TEAM, [robot, LIN, ADA, MAX], rule, Matter("ada", deploy)) == [LIN, MAX]


def test_a_merged_rule_asks_for_every_permission() -> None:
    rule = Approval(by="deploy:approve", also=("law:approve",))
    assert isinstance(may_vote(STRICT, LIN, rule, Matter("ada", deploy)), Refused)
    assert isinstance(may_vote(STRICT, MAX, rule, Matter("ada", deploy)), Allowed)


@pytest.mark.parametrize(
    ("person", "private"),
    [(ADA, True), (somebody("kim", "platform"), True), (somebody("platform"), True), (LIN, True), (MAX, True), (EVE, False), (GONE, False)],
)
def test_a_private_run_is_seen_by_those_concerned(person: Person, private: bool) -> None:
    for visibility, sees in (("private", private), ("staff", person is not GONE)):
        assert may_see(BOOK, person, run(visibility, owner="platform"), BY) is sees


def test_a_private_run_without_owner_belongs_to_no_nameless_group() -> None:
    assert not may_see(BOOK, somebody("eve"), run("private"), None)
    assert tell.owner == ""


def test_where_one_person_is_alone_their_own_approval_counts() -> None:
    alone, _ = required_approval(policy("profile: team"), ADA, asking(erase), alone=True)
    assert alone is not None
    assert alone.asker_may
    assert isinstance(may_vote(policy("profile: team"), ADA, alone, Matter("ada", risky(Risk.high))), Allowed)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("person:kim", ["kim"]),
        ("group:leads", ["lin"]),
        ("role:approver", ["lin"]),
        ("permission:deploy:approve", ["lin", "max"]),
        ("group:nowhere", []),
        ("on-call:nowhere", []),
        ("owner-of:version", []),
    ],
)
def test_a_selector_names_people_as_they_are_now(selector: str, names: list[str]) -> None:
    assert able(selector) == names


def test_the_asker_is_never_named_and_neither_is_who_edited_last() -> None:
    assert able("person:ada", "person:lin") == ["lin"]
    assert able("person:kim", "person:lin", matter=Matter("ada", deploy, barred=frozenset({"lin"}))) == ["kim"]
    kim = Matter("ada", deploy, barred=frozenset({"kim"}))
    assert may_vote(CASTED, KIM, Approval(by="deploy:approve"), kim) == Refused(
        "You changed this request last; someone else must approve it.", "self_approval"
    )


def test_whoever_is_on_call_changes_with_the_clock_and_at_any_time_it_is_the_whole_rotation() -> None:
    for hours, name in ((-5, "lin"), (0, "lin"), (23.9, "lin"), (24, "kim"), (48, "lin")):
        assert able("on-call:payments", matter=Matter("ada", deploy, at=START + timedelta(hours=hours))) == [name]
    assert able("on-call:payments") == ["lin", "kim"]


def test_owners_of_several_things_must_own_them_all() -> None:
    def owning(value: Any) -> list[str]:
        return able("owner-of:service", matter=Matter("ada", deploy, {"service": value}))

    assert (owning("api"), owning("web"), owning(["api", "web"]), owning("db"), owning(["api", "db"])) == (
        ["lin"],
        ["lin", "kim"],
        ["lin"],
        [],
        [],
    )


def test_the_askers_manager() -> None:
    assert able("manager-of-requester", matter=Matter("ada", deploy, manager="max")) == ["max"]
    assert able("manager-of-requester") == []


def test_a_fallback_is_let_in_only_where_nobody_else_is_left() -> None:
    rule = Approval(stages=(Stage((Voters(("group:leads",)),), fallback=("person:max",)),))
    matter = Matter("ada", deploy)
    assert filled(CASTED, rule, [ADA, LIN, MAX], matter) == rule
    gone = filled(CASTED, rule, [ADA, replace(LIN, active=False), MAX], matter)
    assert gone.stages[0].sets[0].of == ("group:leads", "person:max")
