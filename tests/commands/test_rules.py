"""A rule compares what people mean, and one that cannot be read for a command keeps everybody from it."""

from typing import Any

import pytest

from commands.authorizing import Allowed, Refused, authorize, required_approval
from commands.checks import check_policy
from commands.policies import compile_policy
from countersign import Command
from countersign.invocations import Door
from tests.commands.samples import COMMANDS, asking, deploy, erase, policy, policy_apply, rotate, scale, somebody, tell


def denied(text: str, command: Command, **arguments: Any) -> bool:
    """Whether a policy with one rule, which it also finds no problem with, denies the request."""
    whole = f"profile: team\nrules:\n- name: closed\n  deny: Closed.\n{text}"
    assert check_policy(compile_policy(whole), COMMANDS) == []
    answer = authorize(policy(whole), somebody(), asking(command, **arguments))
    assert isinstance(answer, Allowed) or answer == Refused("Closed.", "denied_by_rule:3")
    return isinstance(answer, Refused)


@pytest.mark.parametrize("written", ["prod", "production", "[prod]", "[staging, production]"])
def test_an_enum_is_meant_by_its_name_or_its_value(written: str) -> None:
    rule = f"  command: deploy\n  when: {{env: {written}}}"
    assert denied(rule, deploy, env="prod")
    assert denied(rule, deploy, env="production")
    assert denied(rule, deploy, env="staging") == ("staging" in written)


@pytest.mark.parametrize(
    ("name", "value", "typed", "other"),
    [
        ("pause", "60m", "1h", "2h"),
        ("pause", "1h", "3600s", "1h1s"),
        ("on_call", "'@Ada'", "ada", "lin"),
        ("share", "1", "1.0", "1.5"),
        ("share", "2.50", "2.5", "2"),
    ],
)
def test_values_are_compared_as_arguments_are_written(name: str, value: str, typed: str, other: str) -> None:
    rule = f"  command: scale\n  when: {{{name}: {value}}}"
    assert denied(rule, scale, **{name: typed})
    assert not denied(rule, scale, **{name: other})


def test_a_boolean_is_meant_by_any_of_its_words() -> None:
    for value in ("yes", "true", "'yes'", "'on'"):
        assert denied(f"  command: deploy\n  when: {{force: {value}}}", deploy, force="yes")
        assert not denied(f"  command: deploy\n  when: {{force: {value}}}", deploy)


def test_a_list_argument_matches_when_any_of_its_values_does() -> None:
    rule = "  command: rotate\n  when: {services: api}"
    assert denied(rule, rotate, services="web,api")
    assert not denied(rule, rotate, services="web")


def test_a_number_that_storage_wrote_without_its_fraction_still_matches() -> None:
    bound = policy("rules:\n- {name: full, command: scale, when: {share: 1.0}, deny: Closed.}")
    request = asking(scale)
    stored = type(request)(request.permission, request.door, request.place, scale, {**request.arguments, "share": 1})
    assert isinstance(authorize(bound, somebody(), request), Refused)
    assert isinstance(authorize(bound, somebody(), stored), Refused)


def test_all_conditions_have_to_hold() -> None:
    rule = (
        "profile: team\nrules:\n"
        "- {name: r, command: [deploy, tell], people: [ada], groups: [night], doors: [slack, api], channels: ['#ops'], deny: No.}"
    )
    bound = policy(rule)
    ada = somebody("ada", "night")
    assert isinstance(authorize(bound, ada, asking(deploy)), Refused)
    assert isinstance(authorize(bound, ada, asking(tell, door=Door.api)), Refused)
    assert isinstance(authorize(bound, ada, asking(deploy, channel="#ops")), Refused)
    assert isinstance(authorize(bound, somebody("ada"), asking(deploy)), Allowed)
    assert isinstance(authorize(bound, somebody("lin", "night"), asking(deploy)), Allowed)
    assert isinstance(authorize(bound, ada, asking(deploy, door=Door.browser)), Allowed)
    assert isinstance(authorize(bound, ada, asking(deploy, channel="dev")), Allowed)
    assert isinstance(authorize(bound, ada, asking(scale)), Allowed)


def test_a_rule_about_a_risk_concerns_the_commands_that_have_its_arguments() -> None:
    bound = policy("rules:\n- {name: r, risk: [medium, high, low], when: {env: prod}, deny: No.}")
    assert isinstance(authorize(bound, somebody(), asking(deploy, env="prod")), Refused)
    assert isinstance(authorize(bound, somebody(), asking(scale)), Allowed)
    assert isinstance(authorize(bound, somebody(), asking(tell)), Allowed)


BROKEN = {
    "{name: r, command: deploy, when: {environment: prod}, deny: No.}": "looks at the argument 'environment', which deploy does not have",
    "{name: r, command: [deploy, tell], when: {env: prod}, deny: No.}": "looks at the argument 'env', which tell does not have",
    "{name: r, command: deploy, when: {env: live}, deny: No.}": "looks for env=live: should be 'staging' or 'prod'",
    "{name: r, command: deploy, when: {env: [prod, live]}, deny: No.}": "looks for env=live: should be 'staging' or 'prod'",
    "{name: r, command: deploy, when: {env: []}, deny: No.}": "looks for no value of env, so it would never match",
    "{name: r, command: deploy, when: {version: 1.10}, deny: No.}": "looks for version=1.1: should be a valid string",
    "{name: r, command: deploy, when: {env: prod, servce: api}, deny: No.}": "looks at the argument 'servce', which deploy does not have",
    "{name: r, command: rotate, when: {value: x}, deny: No.}": "looks for value=x: a rule cannot look at a secret",
    "{name: r, command: scale, when: {pause: 60}, approve: {count: 0}}": "looks for pause=60: should be a duration such as 90s",
    "{name: r, risk: high, when: {environment: prod}, deny: No.}": "looks at the argument 'environment', which scale and rotate",
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_cannot_be_read_is_a_problem_and_keeps_everybody_from_its_commands(rule: str) -> None:
    text = f"rules:\n- {rule}"
    problems = check_policy(compile_policy(text), COMMANDS)
    assert problems[0].startswith(f"line 2: rule 'r' {BROKEN[rule]}")
    bound = policy(text)
    named = [one for name, one in COMMANDS.items() if any(one.broken for one in bound.rules.get(name, ()))]
    assert named
    for command in named:
        answer = authorize(bound, somebody(), asking(command))
        assert isinstance(answer, Refused) == (command is not policy_apply)
        if isinstance(answer, Refused):
            assert answer.reason == "broken_rule:2"
            assert answer.sentence.startswith("The policy cannot be read for this command, so nobody may run it: line 2: rule 'r' ")
        assert required_approval(bound, somebody(), asking(command), alone=False) is not None
    assert isinstance(authorize(bound, somebody(), asking(tell)), Refused) == (tell in named)


def test_a_command_that_changed_under_a_policy_is_closed_until_the_policy_is_mended() -> None:
    rules = ("{name: r, command: [deploy, erase], doors: [slack], deny: No.}", "{name: s, command: deploy, when: {env: prod}, deny: No.}")
    text = "\n- ".join(["rules:", *rules])
    assert check_policy(compile_policy(text), COMMANDS) == []
    changed = {**COMMANDS, "deploy": Command(**{**vars(deploy), "schema": tell.schema})}
    answer = authorize(policy(text, changed), somebody(), asking(changed["deploy"]))
    assert isinstance(answer, Refused)
    assert answer.reason == "broken_rule:3"
    assert isinstance(authorize(policy(text, changed), somebody(), asking(erase)), Refused)
    assert isinstance(authorize(policy(text, changed), somebody(), asking(tell)), Allowed)
