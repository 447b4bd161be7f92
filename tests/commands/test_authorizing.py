"""Who may, who has to agree, and who may vote: pure rules over a policy, a person and a request."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.authorizing import Allowed, Refused, Request, authorize, holders, is_admin, required_approval
from countersign import Approval, Command, Risk
from countersign.invocations import Door, Place
from store.people import Person
from tests.commands.samples import COMMANDS, asking, deploy, erase, look, policy, risky, scale, somebody

ROLES = """
roles:
  deployer: [deploy:run]
  approver: [deploy:approve]
  everything: ["*:*"]
groups: {developers: [deployer], leads: [approver], admins: [everything]}
"""
TEAM, STRICT = policy("profile: team" + ROLES), policy("profile: strict" + ROLES)
ADA = somebody("ada", "developers")
LIN = somebody("lin", "leads")
MAX = somebody("max", "admins")
EVE = somebody("eve")
GONE = somebody("gone", "admins", active=False)
ROBOT = somebody("robot", service=True)
GRANTED = somebody("granted", roles=frozenset({"deployer"}))


def may(profile: str, person: Person, risk: Risk, permission: str) -> bool:
    command = risky(risk, permission=permission)
    bound = policy(f"profile: {profile}{ROLES}", {command.name: command})
    return isinstance(authorize(bound, person, asking(command)), Allowed)


@pytest.mark.parametrize(("person", "risk"), list(product([ADA, LIN, MAX, EVE, GONE, ROBOT, GRANTED], Risk)))
def test_who_may_run_what_no_role_carries(person: Person, risk: Risk) -> None:
    assert may("strict", person, risk, "some:thing") == (person is MAX)
    member = person.active and not person.service
    assert may("team", person, risk, "some:thing") == (person is MAX or (member and risk < Risk.critical))


@pytest.mark.parametrize(("profile", "person", "risk"), list(product(["team", "strict"], [ADA, LIN, MAX, EVE, GONE, ROBOT, GRANTED], Risk)))
def test_who_may_run_what_a_role_carries(profile: str, person: Person, risk: Risk) -> None:
    assert may(profile, person, risk, "deploy:run") == (person in (ADA, MAX, GRANTED))


@given(
    st.sampled_from([one for one in COMMANDS.values() if one is not look]),
    st.sets(st.sampled_from(["deployer", "approver", "unknown"])),
    st.sets(st.sampled_from(["developers", "leads", "unknown"])),
    st.sampled_from(Door),
    st.booleans(),
)
def test_without_a_grant_strict_refuses(command: Command, roles: set[str], groups: set[str], door: Door, service: bool) -> None:
    person = somebody("eve", *groups, roles=frozenset(roles), service=service)
    answer = authorize(STRICT, person, asking(command, door=door))
    granted = command.permission == "deploy:run" and ("deployer" in roles or "developers" in groups)
    assert isinstance(answer, Allowed) is granted
    if isinstance(answer, Refused):
        assert answer.reason == "missing_permission"
        assert command.permission in answer.sentence


def test_help_is_for_everybody_and_nothing_is_for_those_who_left() -> None:
    for bound in (TEAM, STRICT):
        assert isinstance(authorize(bound, EVE, asking(look)), Allowed)
        assert authorize(bound, GONE, asking(look)) == Refused("Your account is not active any more.", "actor_inactive")


def test_admin_and_audit_are_claimed_by_a_wildcard_role() -> None:
    for permission in ("countersign:admin", "countersign:audit"):
        request = Request(permission, Door.api, Place("api"))
        assert isinstance(authorize(TEAM, MAX, request), Allowed)
        assert isinstance(authorize(TEAM, EVE, request), Refused)
        assert isinstance(authorize(policy("profile: team"), EVE, request), Allowed)
        assert isinstance(authorize(policy("profile: strict"), EVE, request), Refused)
    assert is_admin(TEAM, MAX)
    assert not is_admin(TEAM, EVE)
    assert not is_admin(TEAM, GONE)


def approval(text: str, command: Command, *, alone: bool = False, **arguments: object) -> Approval | None:
    return required_approval(policy(text), ADA, asking(command, **arguments), alone=alone)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", ["team", "strict"])
def test_the_risk_asks_for_others(profile: str) -> None:
    wanted = {Risk.read: 0, Risk.low: 0, Risk.medium: 0, Risk.high: 1, Risk.critical: 2}
    for risk, count in wanted.items():
        command = risky(risk)
        rule, sources = required_approval(policy(f"profile: {profile}"), ADA, asking(command), alone=False)
        assert (rule.count if rule else 0) == count
        assert sources == ((f"profile {profile}, risk {risk.name}",) if count else ())


def test_the_authors_approval_is_the_floor() -> None:
    assert approval("", deploy) is None
    assert approval("", deploy, env="prod") == Approval(by="deploy:approve", count=2, expires="1d")
    lower = "rules:\n- {name: r, command: deploy, approve: {by: ops:approve, count: 1}}"
    assert approval(lower, deploy, env="prod") == Approval(by="deploy:approve", count=2, expires="1d", also=("ops:approve",))
    assert approval(lower, deploy) == Approval(by="ops:approve", count=1, expires="1d")
    nobody = "rules:\n- {name: r, command: deploy, approve: {count: 0}}"
    assert approval(nobody, deploy, env="prod") == Approval(by="deploy:approve", count=2, expires="1d")


def test_only_an_author_who_said_so_is_loosened() -> None:
    assert approval("", scale) == Approval(by="deploy:approve", count=1, expires="1d")
    assert approval("rules:\n- {name: r, command: scale, approve: {count: 0}}", scale) is None
    loosened = "rules:\n- {name: r, command: scale, when: {share: 1}, approve: {count: 0}}"
    assert approval(loosened, scale) is None
    assert approval(loosened, scale, share="2") == Approval(by="deploy:approve", count=1, expires="1d")


def test_the_strictest_of_several_wins_and_what_the_others_ask_stays() -> None:
    text = """
rules:
- {name: two, command: erase, approve: {by: ops:approve, count: 2, expires: 8h}}
- {name: three, risk: critical, approve: {by: law:approve, count: 3, expires: 2d}}
- {name: short, command: erase, approve: {count: 1, expires: 30m}}
"""
    rule, sources = required_approval(policy(text), ADA, asking(erase), alone=False)
    assert rule == Approval(by="law:approve", count=3, expires="30m", also=("ops:approve",), step_up="passkey")
    assert sources == ("rule 'two', line 3", "rule 'three', line 4", "rule 'short', line 5")


def test_holders_are_those_who_are_active() -> None:
    assert holders(STRICT, [ADA, LIN, MAX, GONE], "deploy:approve") == [LIN, MAX]
