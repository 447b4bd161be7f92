import json
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign import Approval, Duration, Percent
from countersign.approvals import Stage, Voters, matches, merged

TWO = Approval(by="deploy:approve", count=2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "approve"}, "should read 'bundle:verb'"),
        ({"by": "deploy:approve", "count": 0}, "count should be at least 1"),
        ({"by": "deploy:approve", "expires": "soon"}, "expires should be a duration"),
        ({"by": "deploy:approve", "expires": "0s"}, "leave people some time"),
        ({}, "give either by=PERMISSION or stages"),
        ({"by": "deploy:approve", "stages": (Stage((Voters(("group:sre",)),)),)}, "give either"),
        ({"stages": (Stage((Voters(("group:sre",)),), skip_after="1h"),)}, "a stage without skip_after is needed"),
        ({"by": "deploy:approve", "deny": 0}, "deny should be at least 1"),
        ({"by": "deploy:approve", "valid": "later"}, "valid should be a duration"),
        ({"by": "deploy:approve", "reason": "("}, "is not a pattern"),
        ({"by": "deploy:approve", "step_up": "sms"}, "'login' or 'passkey'"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_at_import(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        Approval(**options)


class Env(Enum):
    staging = "s"
    prod = "p"


class Tier(StrEnum):
    gold = "au"


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("prod", "prod", True),
        ("prod", Env.prod, True),
        ("gold", Tier.gold, True),
        ("prod", ["staging", "prod"], True),
        ("prod", {Env.prod}, True),
        ("prod", [], False),
        ("1h", Duration.parse("60m"), True),
        ("25%", Percent.parse(25), True),
        (True, True, True),
        (True, "yes", True),
        (False, True, False),
        (3, "3", True),
        (None, "prod", False),
        (["staging", "prod"], "prod", True),
        (["staging"], ["prod"], False),
    ],
)
def test_a_rule_sees_arguments_as_people_type_them(value: Any, wanted: Any, expected: bool) -> None:
    assert matches(value, wanted) is expected
    assert Approval(by="deploy:approve", when={"x": wanted}).applies_to({"x": value}) is expected


def test_every_condition_of_a_rule_must_hold_and_no_condition_means_always() -> None:
    both = Approval(by="deploy:approve", when={"env": "prod", "service": ["api", "web"]})
    assert both.applies_to({"env": "prod", "service": "api"})
    assert not both.applies_to({"env": "prod", "service": "db"})
    assert not both.applies_to({"service": "api"})
    assert Approval(by="deploy:approve").applies_to({})


def test_a_rule_is_kept_as_data() -> None:
    assert TWO.as_json() == {"by": "deploy:approve", "count": 2, "expires": "24h", "asker_may": False, "also": []}


def test_a_rule_with_stages_is_kept_as_data_and_read_again() -> None:
    stage = Stage((Voters(("group:sre", "person:lin"), 2, ("deploy:prod",)), Voters(("on-call:payments",))), need="any", skip_after="1h")
    more = Stage((Voters(("manager-of-requester",)),), escalate_after="2h", escalate_to=("group:leads",), fallback=("person:max",))
    rule = Approval(stages=(stage, more), deny=2, valid="8h", reason=r"OPS-\d+", voter_reason=True, step_up="passkey", remind="1h")
    again = Approval.of_json(json.loads(json.dumps(rule.as_json())))
    assert again.as_json() == rule.as_json()
    assert Approval.of_json(TWO.as_json()) == TWO


@pytest.mark.parametrize("selector", ["lin", "group:", "permission:deploy", "manager-of-requester:2", "person:*", ""])
def test_a_selector_that_names_nobody_is_refused(selector: str) -> None:
    with pytest.raises(TypeError, match="should name voters as in"):
        Voters((selector,))


SRE = Stage((Voters(("group:sre",)),))
LEADS = Stage((Voters(("group:leads",), 2),))


def test_several_rules_become_one_that_asks_for_all_of_it() -> None:
    one = merged([TWO, Approval(stages=(SRE, LEADS), expires="2h", deny=2), Approval(stages=(SRE,), voter_reason=True)])
    assert one.steps == (TWO.steps[0], SRE, LEADS)
    assert (one.expires, one.deny, one.voter_reason, one.least) == ("2h", 1, True, 5)


def test_whoever_may_approve_at_all_is_not_asked_besides_those_who_are_named() -> None:
    anybody = Approval(by="countersign:approve", count=2)
    assert merged([anybody, Approval(stages=(LEADS,))], general="countersign:approve").steps == (LEADS,)
    assert len(merged([anybody, Approval(stages=(SRE,))], general="countersign:approve").steps) == 2
    # What another short form asks of each voter is not met by just as many people of a stage.
    two = merged([anybody, Approval(by="ops:sign"), Approval(stages=(LEADS,))], general="countersign:approve")
    assert two.steps[0].sets[0].also == ("ops:sign",)


@given(st.permutations([TWO, Approval(by="a:b", expires="1h"), Approval(by="c:d", step_up="login", reason="X")]))
def test_the_strictest_wins_in_any_order(rules: list[Approval]) -> None:
    one = merged(rules)
    assert (one.by, one.count, one.also, one.expires, one.step_up) == ("deploy:approve", 2, ("a:b", "c:d"), "1h", "login")
    assert one.reasons == ("X",)
