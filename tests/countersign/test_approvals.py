import random
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign import Approval, Duration, Percent
from countersign.approvals import Decision, Outcome, Tally, Verdict, evaluate, matches

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
EXPIRES = START + timedelta(hours=24)
ASKER = "ada"
DIGEST = "d1"
PEOPLE = ["ada", "lin", "kim", "max", "eve"]

decisions = st.builds(
    Decision,
    person=st.sampled_from(PEOPLE),
    verdict=st.sampled_from(Verdict) | st.just(Verdict.approve),
    digest=st.sampled_from([DIGEST, DIGEST, DIGEST, "d2"]),
    at=st.integers(0, 30).map(lambda hours: START + timedelta(hours=hours)),
)
rules = st.builds(Approval, by=st.just("deploy:approve"), count=st.integers(1, 4), asker_may=st.booleans())


def said(person: str, verdict: Verdict = Verdict.approve, *, hour: float = 1, digest: str = DIGEST) -> Decision:
    return Decision(person, verdict, digest, START + timedelta(hours=hour))


def tally(rule: Approval, *said_so_far: Decision, hour: float = 2) -> Tally:
    now = START + timedelta(hours=hour)
    return evaluate(rule, asker=ASKER, digest=DIGEST, now=now, expires_at=EXPIRES, decisions=said_so_far)


TWO = Approval(by="deploy:approve", count=2)


@given(rules, st.lists(decisions, max_size=12), st.integers(0, 40))
def test_nothing_is_approved_without_enough_distinct_people_on_the_digest_in_time(
    rule: Approval, said_so_far: list[Decision], hour: int
) -> None:
    found = tally(rule, *said_so_far, hour=hour)
    in_favour = {
        one.person
        for one in said_so_far
        if one.verdict is Verdict.approve and one.digest == DIGEST and one.at < EXPIRES and (rule.asker_may or one.person != ASKER)
    }
    assert set(found.approvers) <= in_favour
    assert len(set(found.approvers)) == len(found.approvers)
    assert found.missing == max(0, rule.count - len(found.approvers))
    assert (found.outcome is Outcome.approved) <= (len(found.approvers) >= rule.count)


@given(rules, st.lists(decisions, max_size=12), st.integers(0, 40), st.randoms())
def test_the_order_in_which_decisions_are_given_does_not_matter(
    rule: Approval, said_so_far: list[Decision], hour: int, shuffler: random.Random
) -> None:
    shuffled = shuffler.sample(said_so_far, len(said_so_far))
    assert tally(rule, *shuffled, hour=hour) == tally(rule, *said_so_far, hour=hour)


@given(rules, st.lists(decisions, max_size=12))
def test_one_denial_first_on_the_digest_ends_it(rule: Approval, said_so_far: list[Decision]) -> None:
    for person in PEOPLE:
        denial = Decision(person, Verdict.deny, DIGEST, START)
        assert tally(rule, *said_so_far, denial).outcome is Outcome.denied


@given(rules, st.lists(decisions, max_size=12), st.integers(24, 100))
def test_after_the_time_nothing_waits(rule: Approval, said_so_far: list[Decision], hour: int) -> None:
    assert tally(rule, *said_so_far, hour=hour).outcome is not Outcome.waiting


def test_lin_and_kim_together_approve_what_ada_asked() -> None:
    assert tally(TWO, said("lin")) == Tally(Outcome.waiting, ("lin",), 1)
    assert tally(TWO, said("lin"), said("kim", hour=1.5)) == Tally(Outcome.approved, ("lin", "kim"), 0)


def test_lin_twice_is_one_person() -> None:
    assert tally(TWO, said("lin"), said("lin", hour=1.5)).outcome is Outcome.waiting


def test_ada_may_not_approve_her_own_request_unless_the_rule_says_so() -> None:
    one = Approval(by="deploy:approve")
    assert tally(one, said("ada")) == Tally(Outcome.waiting, (), 1)
    assert tally(Approval(by="deploy:approve", asker_may=True), said("ada")).outcome is Outcome.approved


def test_ada_may_withdraw_by_denying() -> None:
    assert tally(TWO, said("lin"), said("ada", Verdict.deny, hour=1.5)).outcome is Outcome.denied


def test_an_approval_of_the_plan_as_it_was_does_not_count() -> None:
    assert tally(TWO, said("lin", digest="old"), said("kim")) == Tally(Outcome.waiting, ("kim",), 1)


def test_at_the_same_instant_a_denial_goes_first() -> None:
    one = Approval(by="deploy:approve")
    both = [said("kim"), said("lin", Verdict.deny)]
    assert tally(one, *both).outcome is tally(one, *reversed(both)).outcome is Outcome.denied


def test_a_denial_after_the_last_approval_is_too_late() -> None:
    assert tally(Approval(by="deploy:approve"), said("lin"), said("kim", Verdict.deny, hour=1.5)).outcome is Outcome.approved


def test_the_last_instant_is_already_too_late() -> None:
    assert tally(Approval(by="deploy:approve"), said("lin", hour=24), hour=24).outcome is Outcome.expired
    assert tally(Approval(by="deploy:approve"), said("lin", hour=23.9), hour=30).outcome is Outcome.approved


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "approve"}, "should read 'bundle:verb'"),
        ({"by": "deploy:approve", "count": 0}, "count should be at least 1"),
        ({"by": "deploy:approve", "expires": "soon"}, "expires should be a duration"),
        ({"by": "deploy:approve", "expires": "0s"}, "leave people some time"),
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
