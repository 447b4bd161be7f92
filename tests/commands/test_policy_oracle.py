"""Ten thousand random policies: the program and an oracle, written from the documentation alone, never differ."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from commands.authorizing import Allowed, Refused, Request, authorize, required_approval
from commands.limits import limits_for
from commands.matching import find_matches
from commands.policies import BoundPolicy, bind, compile_policy
from countersign import Approval, Duration
from countersign.invocations import Door, Place
from store.people import Person
from tests.commands.oracles import Asked, Verdict, Who, judge, seconds
from tests.commands.wilds import COMMANDS, Wild, random_policy, random_request, written

POLICIES, REQUESTS, PARTS = 10_000, 4, 8
WHY = {
    "actor_inactive": "inactive",
    "broken_rule": "closed",
    "denied_by_rule": "denied",
    "elsewhere": "elsewhere",
    "missing_permission": "permission",
    "reason_wanted": "reason",
}


@pytest.mark.parametrize("part", range(PARTS))
def test_the_program_does_what_the_documentation_says(part: int) -> None:
    random = Random(f"policies {part}")
    for _ in range(POLICIES // PARTS):
        wild = random_policy(random)
        bound = bind(compile_policy(wild.body), COMMANDS)
        for _ in range(REQUESTS):
            who, asked = random_request(random, wild.data)
            if program(bound, who, asked) != told(judge(wild.data, wild.trees, who, asked)):
                pytest.fail(difference(wild, who, asked))


def test_random_policies_lead_to_everything_there_is() -> None:
    """A generator that only ever refuses would prove nothing."""
    random = Random("coverage")
    seen: dict[str, int] = {}
    unread = 0
    for _ in range(600):
        wild = random_policy(random)
        for _ in range(REQUESTS):
            who, asked = random_request(random, wild.data)
            verdict = judge(wild.data, wild.trees, who, asked)
            approval = verdict.approval
            kinds = [verdict.why or "allowed", *("stages" for one in [approval] if one and one["stages"])]
            kinds += ["short"] * bool(approval and approval["short"]) + ["limits"] * bool(verdict.limits)
            kinds += [f"step up {approval['step_up']}"] if approval else ["free"] * verdict.allowed
            for one in kinds:
                seen[one] = seen.get(one, 0) + 1
            unread += "could not be read" in str(authorize(bind(compile_policy(wild.body), COMMANDS), person(who), request(asked)))
    wanted = {"allowed", "stages", "short", "limits", "free", "step up ", "step up login", "step up passkey", *WHY.values()}
    assert {one for one, count in seen.items() if count >= 10} >= wanted, seen
    assert unread >= 10


def program(bound: BoundPolicy, who: Who, asked: Asked) -> Mapping[str, Any]:
    """What the program says, in the oracle's words."""
    found = authorize(bound, person(who), request(asked))
    if isinstance(found, Refused):
        kind, _, line = found.reason.partition(":")
        return {"why": WHY[kind], "rule": next((one.name for one in bound.file.rules if str(one.line) == line), "")}
    assert isinstance(found, Allowed)
    approval, _ = required_approval(bound, person(who), request(asked), alone=False)
    concerned = find_matches(bound, person(who), request(asked))
    limits = [(one.limit.rule, one.limit.subject, one.limit.count) for one in limits_for(person(who), request(asked), concerned)]
    return {"why": "", "rule": "", "approval": plain(approval) if approval else None, "limits": limits}


def told(verdict: Verdict) -> Mapping[str, Any]:
    more = {"approval": verdict.approval, "limits": verdict.limits} if verdict.allowed else {}
    return {"why": verdict.why, "rule": verdict.rule, **more}


def plain(approval: Approval) -> Mapping[str, Any]:
    stages = [
        {"sets": [(one.of, one.count, one.also) for one in stage.sets], "need": stage.need, "skip_after": stage.skip_after}
        for stage in approval.stages
    ]
    return {
        "short": (approval.by, approval.count, list(approval.also)) if approval.by else None,
        "stages": stages,
        "expires": seconds(approval.expires),
        "valid": Duration.parse(approval.valid).total_seconds(),
        "remind": seconds(approval.remind) if approval.remind else None,
        "deny": approval.deny,
        "asker_may": approval.asker_may,
        "editor_may": approval.editor_may,
        "reason": list(approval.reasons),
        "voter_reason": approval.voter_reason,
        "step_up": approval.step_up,
    }


def person(who: Who) -> Person:
    return Person(who.name, who.active, who.groups, who.granted, service=who.service)


def request(asked: Asked) -> Request:
    return Request(
        asked.kind.permission,
        Door(asked.door),
        Place("slack", "T1", asked.channel),
        COMMANDS[asked.kind.name],
        asked.arguments,
        reason=asked.reason,
        now=asked.now,
    )


def difference(wild: Wild, who: Who, asked: Asked) -> str:
    """The difference, with the rules that it does not take left out."""
    rules = list(wild.data["rules"])
    for rule in list(rules):
        fewer = written({**wild.data, "rules": [one for one in rules if one is not rule]}, wild.trees)
        if program(bind(compile_policy(fewer.body), COMMANDS), who, asked) != told(judge(fewer.data, wild.trees, who, asked)):
            rules.remove(rule)
    least = written({**wild.data, "rules": rules}, wild.trees)
    says = program(bind(compile_policy(least.body), COMMANDS), who, asked)
    return f"{least.body}\n{who}\n{asked}\nprogram: {says}\noracle:  {told(judge(least.data, wild.trees, who, asked))}"
