"""Explaining: what is said, what would have to change, and that working it out for many at once says the same as for each alone."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from commands.explaining import Explainer, Explanation
from commands.policies import bind, compile_policy
from countersign import Command
from countersign.invocations import Door
from store.people import Person
from tests.commands.samples import asking, deploy, erase, look, policy, scale, somebody, tell
from tests.commands.test_policy_oracle import request
from tests.commands.wilds import COMMANDS, GROUPS, random_policy, random_request

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEAD = """profile: strict
roles: {deployer: ['deploy:run'], approver: ['deploy:approve'], all: ['*:*']}
groups: {developers: [deployer], leads: [deployer, approver], admins: [all]}
rules:
"""
ADA, LIN, KIM, EVE = somebody("ada", "developers"), somebody("lin", "leads"), somebody("kim", "leads"), somebody("eve")
PEOPLE = (ADA, EVE, KIM, LIN)


def told(rules: str, person: Person = ADA, command: Command = deploy, *, head: str = HEAD, **more: Any) -> Explanation:
    explainer = Explainer(policy(head + rules), PEOPLE, NOW)
    return explainer.explain(person, replace(asking(command, **more), reason="", now=NOW))


def test_who_may_and_who_would_have_to_approve() -> None:
    found = told("- {name: two, command: deploy, when: {env: prod}, approve: {by: deploy:approve, count: 2}}", env="prod")
    assert list(found.lines()) == [
        "may run      yes: deploy:run through a role",
        "approval     2 of: kim, lin",
        "because      rule 'two', line 5; the author of deploy",
    ]
    own = told("", LIN, env="prod")
    assert list(own.lines())[1:] == [
        "approval     2 of: kim",
        "because      the author of deploy",
        "would change if 1 more person held deploy:approve",
    ]
    assert list(told("").lines())[1:] == ["approval     none (risk medium)"]
    assert list(told("", command=look).lines())[1:] == ["approval     none: it answers at once and changes nothing by itself"]


def test_stages_are_told_one_by_one() -> None:
    stages = "- {name: s, command: tell, approve: {stages: [{of: 'group:leads'}, {any: [{of: 'person:ada'}, {of: 'group:admins'}]}]}}"
    found = told(stages, LIN, tell, head=HEAD.replace("strict", "team"))
    assert list(found.lines())[1:3] == [
        "approval     stage 1: group leads (1 of: kim)",
        "approval     stage 2: ada or group admins (1 of: ada)",
    ]


@pytest.mark.parametrize(
    ("rules", "person", "because", "rule", "changes"),
    [
        (
            "",
            EVE,
            "This needs the permission deploy:run; it belongs to the role all or deployer.",
            "",
            [
                "with the role all, which comes with the group admins",
                "with the role deployer, which comes with the group developers or leads",
            ],
        ),
        (
            "- {name: a, command: deploy, when: {env: prod}, allow: true}",
            EVE,
            "This needs the permission deploy:run; it belongs to the role all or deployer.",
            "",
            ["if line 5: rule 'a' matched, which allows it"],
        ),
        (
            "- {name: d, command: deploy, when: {env: [staging]}, groups: [developers], doors: [slack], if: '!args.force', deny: No.}",
            ADA,
            "No.",
            "line 5: rule 'd'",
            [
                "with another env than staging",
                "asked by somebody who is not in developers",
                "asked through another door than slack",
                "where this is not true: !args.force",
            ],
        ),
        (
            "- {name: d, command: deploy, deny: No.}",
            ADA,
            "No.",
            "line 5: rule 'd'",
            ["by another policy: line 5: rule 'd' refuses everybody"],
        ),
        (
            "- {name: d, command: deploy, people: [ada], channels: [ops], deny: No.}",
            ADA,
            "No.",
            "line 5: rule 'd'",
            ["asked by somebody else than ada", "asked in another channel than #ops"],
        ),
        (
            "- {name: o, command: deploy, only: {doors: [api]}}",
            ADA,
            "deploy is asked through api only.",
            "line 5: rule 'o'",
            ["asked where the rule says"],
        ),
        (
            "- {name: w, command: deploy, require_reason: OPS}",
            ADA,
            'deploy needs a reason with OPS in it. Give it with --reason "…".',
            "line 5: rule 'w'",
            ["with another reason"],
        ),
        (
            "- {name: b, command: deploy, if: args.nope, deny: No.}",
            ADA,
            "The policy cannot be read",
            "line 5: rule 'b'",
            ["if the rule were mended: policy apply"],
        ),
        ("", somebody("ada", active=False), "Your account is not active any more.", "", ["if the account were active again"]),
    ],
)
def test_what_refuses_and_what_would_have_to_change(rules: str, person: Person, because: str, rule: str, changes: list[str]) -> None:
    found = told(rules, person)
    assert not found.allowed
    assert found.because.startswith(because)
    assert found.rule == rule
    assert [one for one in found.changes if one in changes] == changes
    assert any(line.startswith("may run      no: ") for line in found.lines())


def test_programs_are_told_the_same() -> None:
    data = told("", LIN, scale).as_json()
    assert {name: data[name] for name in ("person", "command", "allowed", "rule", "would_change")} == {
        "person": "lin",
        "command": "scale",
        "allowed": True,
        "rule": "",
        "would_change": [],
    }
    assert data["approval"]["stages"] == [{"wanted": "who holds deploy:approve", "least": 1, "people": ["kim"]}]
    assert data["approval"]["rule"]["by"] == "deploy:approve"
    assert told("", EVE, erase).as_json()["approval"]["rule"]["step_up"] == "passkey"


def test_for_many_at_once_the_answers_are_those_for_each_alone() -> None:
    random = Random("explaining")
    people = [Person(f"p{n}", n % 9 != 8, frozenset(random.sample(GROUPS, n % 3)), frozenset(), service=n % 7 == 6) for n in range(12)]
    people += [Person("ada", True, frozenset({"dev"}), frozenset()), Person("lin", True, frozenset({"sre"}), frozenset())]
    for _ in range(60):
        wild = random_policy(random)
        bound = bind(compile_policy(wild.body), COMMANDS)
        together = Explainer(bound, people, NOW)
        for _ in range(4):
            asked = replace(request(random_request(random, wild.data)[1]), door=random.choice(list(Door)))
            for person in people:
                assert together.explain(person, asked) == Explainer(bound, people, NOW).explain(person, asked), (wild.body, person, asked)
