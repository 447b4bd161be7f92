"""The policy's `access:` section: what it may say, and that it neither loosens what a rule wants nor lets anybody grant to themselves."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from commands.accesses import ASK, ASKING, OWNERS, longest
from commands.authorizing import Request, required_approval
from commands.policies import BoundPolicy, PolicyError, bind, compile_policy
from commands.shipped import access_extend, access_request
from countersign.approvals import Approval
from countersign.invocations import Door, Place
from store.people import Person

COMMANDS = {one.name: one for one in (access_request, access_extend)}
ADA = Person("ada", active=True, groups=frozenset(), roles=frozenset())


def policy(access: dict[str, Any], **sections: Any) -> BoundPolicy:
    data = {"roles": {"deployer": ["deploy:run"], "reader": ["logs:read"]}, "access": access} | sections
    return bind(compile_policy(yaml.safe_dump(data, sort_keys=False)), COMMANDS)


def wanted(found: BoundPolicy, command: str = "access request", role: str = "deployer") -> tuple[Approval | None, tuple[str, ...]]:
    request = Request(ASK, Door.browser, Place("room"), COMMANDS[command], {"role": role, "duration": "1h"})
    return required_approval(found, ADA, request, alone=False)


@pytest.mark.parametrize(
    ("access", "problem"),
    [
        ({"nobody": {"max": "8h"}}, "access.nobody: there is no such role under roles"),
        ({"deployer": {"max": "8"}}, "access.deployer: max should be a duration such as 90s, 5m, 1h30m or 2d"),
        ({"deployer": {"max": "0s"}}, "access.deployer: max should be some time, for instance 8h"),
        ({"deployer": {"longest": "8h"}}, "access.deployer.longest is not a key that is known here"),
        ({"deployer": {"approve": {"count": 0}}}, "access.deployer: somebody else has to approve, because nobody grants to themselves"),
        (
            {"deployer": {"approve": {"asker_may": True}}},
            "access.deployer: somebody else has to approve, because nobody grants to themselves",
        ),
        ({"deployer": {"approve": {"stages": [{"of": "role:chief"}]}}}, "role:chief names 'chief', which this policy does not define"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused_with_its_place(access: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy(access)
    assert problem in str(refused.value)


def test_a_role_is_given_for_a_day_unless_policy_says_otherwise() -> None:
    found = policy({"deployer": {"max": "90m"}})
    assert longest(found.file.access, "deployer") == timedelta(minutes=90)
    assert longest(found.file.access, "reader") == timedelta(days=1)


@pytest.mark.parametrize("command", ASKING)
def test_owners_approve_or_admins_where_there_are_none_unless_the_section_names_others(command: str) -> None:
    found = policy({"deployer": {"approve": {"by": "deploy:approve", "count": 2}}, "reader": {"max": "1h"}})
    rule, sources = wanted(found, command)
    assert rule is not None
    assert (rule.by, rule.count) == ("deploy:approve", 2)
    assert len(sources) == 1
    assert "access deployer" in sources[0]
    other, _ = wanted(found, command, "reader")
    assert other is not None
    assert other.stages == OWNERS.stages


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_rule_for_many_commands_takes_nothing_away_from_them(count: int) -> None:
    general = {"name": "everything high", "risk": "high", "approve": {"by": "countersign:approve", "count": count}}
    for access in ({}, {"deployer": {"approve": {"stages": [{"of": "person:lin"}]}}}):
        rule, _ = wanted(policy(access, rules=[general]))
        assert rule is not None
        assert not rule.asker_may
        assert rule.least >= max(1, count)
        named = {one for stage in rule.stages for voters in stage.sets for one in voters.of}
        assert named >= ({"person:lin"} if access else {"owner-of:role"})


def test_no_rule_of_the_file_can_say_that_it_stands_instead() -> None:
    rule = {"name": "mine", "command": "access request", "approve": {"count": 0}, "replaces_author": True}
    with pytest.raises(PolicyError, match="replaces_author is not a key that is known here"):
        policy({}, rules=[rule])


@pytest.mark.parametrize("command", ASKING)
def test_from_the_first_passkey_on_roles_are_given_with_one(command: str) -> None:
    found = replace(policy({"deployer": {"approve": {"by": "deploy:approve"}}}), signed=True)
    for role in ("deployer", "reader"):
        rule, _ = wanted(found, command, role)
        assert rule is not None
        assert rule.step_up == "passkey"
