"""policy check: what only the whole policy shows, each with its line; and what is worth a note."""

import pytest

from commands.checks import check_policy, notes_on
from commands.policies import compile_policy
from tests.commands.samples import COMMANDS

PEOPLE = "people: {ada: {groups: [g]}, lin: {groups: [h]}}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules:\n- {name: a, command: nope, deny: x}", "line 2: rule 'a' names the command 'nope', which does not exist"),
        ("rules:\n- {name: a, command: [deploy, nope], deny: x}", "line 2: rule 'a' names the command 'nope', which does not exist"),
        ("rules:\n- {name: a, command: deploy, risk: low, deny: x}", "line 2: rule 'a' can never match: no command it names has risk low"),
        ("rules:\n- {name: a, command: [], deny: x}", "line 2: rule 'a' can never match: no command it names has risk at all"),
        ("rules:\n- {name: a, risk: [], deny: x}", "line 2: rule 'a' can never match: no command it names has risk at all"),
        ("people: {ada: {}}\nrules:\n- {name: a, risk: low, people: [adda], deny: x}", "line 3: rule 'a' names 'adda', who"),
        ("people: {ada: {groups: [g]}}\nrules:\n- {name: a, risk: low, groups: [h], deny: x}", "line 3: rule 'a' names the group 'h'"),
        (
            "people: {ada: {groups: [g]}}\nroles: {r: []}\ngroups:\n  g: [r]\n  h: [r]",
            "line 5: groups: nobody listed under people is in 'h'",
        ),
        ("profile: team\nchannels: {nope: [ops]}", "line 2: channels: there is no command 'nope'"),
        ("roles:\n  r: [deploy:run]\n  s: [deploy:rum]", "line 3: roles: no command uses the permission 'deploy:rum'"),
    ],
)
def test_what_only_the_whole_set_shows_is_a_problem(text: str, problem: str) -> None:
    problems = check_policy(compile_policy(text), COMMANDS)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


EXPRESSIONS = {
    "command: deploy, if: 'args.env == 1'": "if: at character 10: == does not go with a text and a whole number",
    "command: deploy, if: 'args.environment == \"prod\"'": "if: looks at the argument 'environment', which deploy does not have",
    "command: [deploy, tell], if: 'args.env == \"prod\"'": "if: looks at the argument 'env', which tell does not have",
    "risk: high, if: 'args.env == \"prod\"'": "if: looks at the argument 'env', which scale does not have",
    "command: deploy, if: 'args.env == \"live\"'": "if: args.env is never 'live'; it is 'staging' or 'prod'",
    "command: deploy, if: 'time.hour >= 22 && time.hour < 6'": "can never match: its conditions contradict each other; if: time.hour >= 22",
    "command: deploy, doors: [slack], if: 'door == \"api\"'": "can never match: its conditions contradict each other",
    "command: deploy, when: {env: prod}, if: 'args.env == \"staging\"'": "can never match: its conditions contradict each other",
    "command: deploy, people: [ada], if: 'person.name == \"lin\"'": "can never match: its conditions contradict each other",
    "risk: medium, if: 'command == \"scale\"'": "can never match: its conditions contradict each other",
}


@pytest.mark.parametrize("conditions", EXPRESSIONS)
def test_an_expression_that_cannot_be_typed_or_can_never_be_true_is_a_problem(conditions: str) -> None:
    problems = check_policy(compile_policy(f"{PEOPLE}rules:\n- {{name: a, {conditions}, deny: No.}}"), COMMANDS)
    assert problems[0].startswith(f"line 3: rule 'a' {EXPRESSIONS[conditions]}")


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        ("command: deploy, deny: No.", "command: deploy, when: {env: prod}, deny: Not in prod.", True),
        ("risk: medium, deny: No.", "command: deploy, approve: {count: 2}", True),
        ("command: deploy, when: {env: prod}, deny: No.", "command: deploy, when: {env: prod}, groups: [g], step_up: login", True),
        ("command: deploy, groups: [g, h], deny: No.", "command: deploy, groups: [h], approve: {}", True),
        ("command: deploy, if: 'args.force', deny: No.", "command: deploy, people: [ada], if: 'args.force', approve: {}", True),
        ("command: deploy, approve: {}", "command: deploy, deny: No.", True),
        ("command: deploy, when: {env: prod}, deny: No.", "command: deploy, deny: Never.", False),
        ("command: deploy, when: {env: prod}, deny: No.", "command: deploy, when: {env: [prod, staging]}, approve: {}", False),
        ("command: deploy, groups: [g], deny: No.", "command: deploy, people: [ada], approve: {}", False),
        ("command: deploy, deny: No.", "command: [deploy, tell], approve: {}", False),
        ("command: deploy, if: 'args.force', deny: No.", "command: deploy, if: '!args.force', approve: {}", False),
    ],
)
def test_a_rule_behind_a_denial_of_all_it_concerns_is_a_problem(first: str, second: str, shadowed: bool) -> None:
    problems = check_policy(compile_policy(f"{PEOPLE}rules:\n- {{name: a, {first}}}\n- {{name: b, {second}}}"), COMMANDS)
    assert bool(problems) is shadowed
    if shadowed:
        assert " never counts: line " in problems[0]
        assert problems[0].endswith("denies all that it concerns; move or narrow one of them")


def test_two_limits_do_not_share_a_name() -> None:
    rules = "rules:\n- {name: a, command: deploy, limit: {count: 1, per: 1h}}\n- {name: a, command: tell, limit: {count: 1, per: 1h}}"
    assert check_policy(compile_policy(rules), COMMANDS) == ["line 3: rule 'a' limits under the same name as line 2; give it another one"]


def test_permissions_that_only_voters_need_are_used() -> None:
    text = "roles: {r: ['ops:sign', 'law:sign']}\nrules:\n- name: a\n  command: deploy\n  approve:\n    stages:\n"
    stages = "    - {of: 'permission:ops:sign', escalate_after: 1h, escalate_to: ['permission:law:sign']}"
    assert check_policy(compile_policy(text + stages), COMMANDS) == []


def test_what_is_worth_knowing_is_a_note() -> None:
    text = PEOPLE + "roles: {r: [deploy:approve]}\ngroups: {g: [r], h: []}\nrules:\n"
    text += "- {name: a, command: [deploy, scale, rotate, erase, policy apply], approve: {by: deploy:approve, count: 2}}"
    policy = compile_policy(text)
    assert check_policy(policy, COMMANDS) == []
    assert notes_on(policy, COMMANDS) == [
        "no rule concerns tell: the profile and their authors decide",
        "line 5: rule 'a' asks for 2 who hold deploy:approve; of the people listed, 1 do",
    ]
    assert notes_on(compile_policy("profile: team"), COMMANDS) == []
