import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from countersign import Approval
from countersign.approvals import Stage, Voters
from countersign.tallies import Case, Decision, Need, Outcome, Tally, Verdict, evaluate, satisfied

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


GROUPS = {"sre": {"lin", "kim", "max"}, "leads": {"lin", "eve"}, "board": {"max"}}


def belongs(person: str, voters: Voters) -> bool:
    """Everybody holds every permission; groups as above; `person:` is that person."""
    kinds = [one.partition(":")[::2] for one in voters.of]
    return any(kind == "permission" or (kind == "person" and name == person) or person in GROUPS.get(name, ()) for kind, name in kinds)


def case(*, barred: frozenset[str] = frozenset()) -> Case:
    return Case(ASKER, DIGEST, START, EXPIRES, barred)


def tally(rule: Approval, *said_so_far: Decision, hour: float = 2, barred: frozenset[str] = frozenset()) -> Tally:
    now = START + timedelta(hours=hour)
    return evaluate(rule, case(barred=barred), said_so_far, now=now, belongs=belongs)


def group(name: str, count: int = 1) -> Voters:
    return Voters((f"group:{name}",), count)


def outcome(found: Tally) -> tuple[Outcome, tuple[str, ...], int]:
    return found.outcome, found.approvers, found.missing


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
    assert outcome(tally(TWO, said("lin"))) == (Outcome.waiting, ("lin",), 1)
    assert outcome(tally(TWO, said("lin"), said("kim", hour=1.5))) == (Outcome.approved, ("lin", "kim"), 0)


def test_lin_twice_is_one_person() -> None:
    assert tally(TWO, said("lin"), said("lin", hour=1.5)).outcome is Outcome.waiting


def test_ada_may_not_approve_her_own_request_unless_the_rule_says_so() -> None:
    one = Approval(by="deploy:approve")
    assert outcome(tally(one, said("ada"))) == (Outcome.waiting, (), 1)
    assert tally(Approval(by="deploy:approve", asker_may=True), said("ada")).outcome is Outcome.approved


def test_ada_may_withdraw_by_denying() -> None:
    assert tally(TWO, said("lin"), said("ada", Verdict.deny, hour=1.5)).outcome is Outcome.denied


def test_an_approval_of_the_plan_as_it_was_does_not_count() -> None:
    assert outcome(tally(TWO, said("lin", digest="old"), said("kim"))) == (Outcome.waiting, ("kim",), 1)


def test_at_the_same_instant_a_denial_goes_first() -> None:
    one = Approval(by="deploy:approve")
    both = [said("kim"), said("lin", Verdict.deny)]
    assert tally(one, *both).outcome is tally(one, *reversed(both)).outcome is Outcome.denied


def test_a_denial_after_the_last_approval_is_too_late() -> None:
    assert tally(Approval(by="deploy:approve"), said("lin"), said("kim", Verdict.deny, hour=1.5)).outcome is Outcome.approved


def test_the_last_instant_is_already_too_late() -> None:
    assert tally(Approval(by="deploy:approve"), said("lin", hour=24), hour=24).outcome is Outcome.expired
    assert tally(Approval(by="deploy:approve"), said("lin", hour=23.9), hour=30).outcome is Outcome.approved


SRE_AND_LEAD = Approval(stages=(Stage((group("sre"), group("leads"))),))
TWO_STAGES = Approval(stages=(Stage((group("sre"),)), Stage((group("board"), group("leads")), need="any")))


def test_lin_who_is_in_both_sets_is_counted_where_kim_cannot_be() -> None:
    for votes in (["lin", "kim"], ["kim", "lin"]):
        assert tally(SRE_AND_LEAD, *(said(one, hour=1 + n / 10) for n, one in enumerate(votes))).outcome is Outcome.approved


def test_lin_alone_is_one_person_although_she_is_in_both_sets() -> None:
    found = tally(SRE_AND_LEAD, said("lin"))
    assert outcome(found) == (Outcome.waiting, ("lin",), 1)
    assert [need.missing for need in found.needs] == [1]


def test_stages_vote_in_order_and_a_person_counts_in_one_of_them_only() -> None:
    first = said("lin")
    assert (tally(TWO_STAGES, first).stage, tally(TWO_STAGES, first).missing) == (1, 1)
    again = Decision("lin", Verdict.approve, DIGEST, START + timedelta(hours=1.5), stage=1)
    assert tally(TWO_STAGES, first, again).outcome is Outcome.waiting
    early = Decision("max", Verdict.approve, DIGEST, START, stage=1)
    assert tally(TWO_STAGES, early).stage == 0, "a vote for a later stage does not open the first"
    second = Decision("max", Verdict.approve, DIGEST, START + timedelta(hours=1.5), stage=1)
    assert outcome(tally(TWO_STAGES, first, second)) == (Outcome.approved, ("lin", "max"), 0)


def test_a_stage_that_nobody_decides_is_skipped_only_when_its_time_is_over() -> None:
    rule = Approval(stages=(Stage((group("board"),), skip_after="1h"), Stage((group("sre"),))))
    assert tally(rule, hour=0.9).stage == 0
    assert (tally(rule, hour=1).stage, tally(rule, hour=1).skipped) == (1, (0,))
    vote = Decision("kim", Verdict.approve, DIGEST, START + timedelta(hours=1.5), stage=1)
    assert tally(rule, vote).outcome is Outcome.approved
    too_soon = Decision("kim", Verdict.approve, DIGEST, START + timedelta(hours=0.5), stage=0)
    assert tally(rule, too_soon).outcome is Outcome.waiting


def test_a_last_stage_is_skipped_by_time_alone_but_not_after_the_end() -> None:
    rule = Approval(stages=(Stage((group("sre"),)), Stage((group("board"),), skip_after="2h")))
    assert tally(rule, said("kim"), hour=2.9).outcome is Outcome.waiting
    assert tally(rule, said("kim"), hour=3).outcome is Outcome.approved
    assert tally(rule, said("kim", hour=23), hour=40).outcome is Outcome.expired


def test_escalation_lets_others_vote_too_and_the_first_still_may() -> None:
    rule = Approval(stages=(Stage((group("board"),), escalate_after="1h", escalate_to=("group:leads",)),))
    assert tally(rule, said("eve", hour=0.5), hour=0.6).outcome is Outcome.waiting
    assert tally(rule, said("eve", hour=1.1)).outcome is Outcome.approved
    assert tally(rule, said("max", hour=1.1)).outcome is Outcome.approved


def test_two_have_to_deny_where_the_rule_says_so_but_the_asker_withdraws_alone() -> None:
    rule = Approval(by="deploy:approve", count=2, deny=2)
    assert tally(rule, said("lin", Verdict.deny)).outcome is Outcome.waiting
    assert tally(rule, said("lin", Verdict.deny), said("kim", Verdict.deny)).outcome is Outcome.denied
    assert tally(rule, said("ada", Verdict.deny)).outcome is Outcome.denied


def test_a_delegate_and_the_one_they_stand_in_for_are_one_person() -> None:
    for_lin = Decision("kim", Verdict.approve, DIGEST, START + timedelta(hours=1), authority="lin")
    assert tally(TWO, for_lin, said("lin", hour=1.5)).outcome is Outcome.waiting
    assert tally(TWO, for_lin, said("kim", hour=1.5)).outcome is Outcome.waiting
    assert tally(TWO, for_lin, said("max", hour=1.5)).outcome is Outcome.approved
    for_ada = Decision("kim", Verdict.approve, DIGEST, START, authority="ada")
    assert tally(Approval(by="deploy:approve"), for_ada).outcome is Outcome.waiting, "nobody votes for the asker"


def test_whoever_edited_last_does_not_vote_unless_the_rule_says_so() -> None:
    kim = frozenset({"kim"})
    assert tally(Approval(by="deploy:approve"), said("kim"), barred=kim).outcome is Outcome.waiting
    assert tally(Approval(by="deploy:approve", editor_may=True), said("kim"), barred=kim).outcome is Outcome.approved
    assert tally(Approval(by="deploy:approve", editor_may=True), said("ada"), barred=frozenset({"ada"})).outcome is Outcome.waiting


sets = st.builds(group, st.sampled_from(sorted(GROUPS)), st.integers(1, 2))
stages = st.builds(Stage, st.lists(sets, min_size=1, max_size=3).map(tuple), need=st.sampled_from(["all", "any"]))
staged = st.builds(Approval, stages=st.lists(stages, min_size=1, max_size=3).map(tuple), deny=st.integers(1, 2))
votes = st.lists(
    st.builds(
        Decision,
        person=st.sampled_from(PEOPLE),
        verdict=st.sampled_from([Verdict.approve, Verdict.approve, Verdict.approve, Verdict.deny]),
        digest=st.just(DIGEST),
        at=st.integers(0, 30).map(lambda hours: START + timedelta(hours=hours)),
        stage=st.integers(0, 2),
        authority=st.sampled_from(["", "", "", "max"]),
    ),
    max_size=10,
)


@given(staged, votes)
def test_approved_means_that_different_people_fill_every_place(rule: Approval, said_so_far: list[Decision]) -> None:
    found = tally(rule, *said_so_far, hour=23)
    if found.outcome is not Outcome.approved:
        return
    assert len(found.approvers) == len(set(found.approvers)) >= rule.least
    assert ASKER not in found.approvers
    used = [one for one in said_so_far if one.person in found.approvers and one.verdict is Verdict.approve]
    for position, stage in enumerate(rule.steps):
        mine = [one.authority or one.person for one in used if one.stage == position]
        met = [len([one for one in mine if belongs(one, voters)]) >= voters.count for voters in stage.sets]
        assert all(met) if stage.need == "all" else any(met)
    assert satisfied(rule, case(), said_so_far, belongs=belongs), "what is met in order is met without order"


@given(staged, votes)
def test_one_more_approval_never_takes_an_approval_away(rule: Approval, said_so_far: list[Decision]) -> None:
    before = tally(rule, *said_so_far, hour=29)
    later = Decision("zoe", Verdict.approve, DIGEST, EXPIRES - timedelta(seconds=1), stage=before.stage)
    after = tally(rule, *said_so_far, later, hour=29)
    assert (before.outcome is Outcome.approved) <= (after.outcome is Outcome.approved)


def test_what_is_still_needed_is_told_by_set() -> None:
    found = tally(Approval(stages=(Stage((group("sre", 2), group("board"))),)), said("lin"))
    assert found.needs == (Need(group("sre", 2), 1), Need(group("board"), 1))


def test_a_rule_that_became_stricter_is_met_only_by_enough_of_the_right_people() -> None:
    given_before = [said("lin"), said("max", hour=1.5)]
    assert satisfied(Approval(stages=(Stage((group("board"),)), Stage((group("leads"),)))), case(), given_before, belongs=belongs)
    assert not satisfied(Approval(stages=(Stage((group("board", 1), group("sre", 2))),)), case(), given_before, belongs=belongs)
