"""Reading a policy: what is wrong stops it with the place and the fix, and an empty list means nobody."""

import hashlib

import pytest

from commands.policies import PolicyError, check_policy, compile_policy, covers
from tests.commands.samples import COMMANDS

WHOLE = """\
profile: strict
people:
  ada: {email: ada@example.test, groups: [developers]}
  max: {groups: [admins], timezone: Europe/Berlin}
identity: {slack: {link_by_email: true, teams: [T1]}}
roles:
  deployer: [deploy:run, chat:tell]
  approver: ["deploy:*"]
  admin: ["*:*"]
groups: {developers: [deployer], admins: [admin, approver]}
channels: {deploy: [deploys, "#ops"]}
rules:
  - name: two in prod
    command: deploy
    when: {env: prod}
    approve: {by: deploy:approve, count: 2, expires: 2h}
  - name: not at night
    risk: [high, critical]
    groups: [developers]
    doors: [slack]
    deny: Not now.
"""


def test_a_whole_policy_is_read() -> None:
    policy = compile_policy(WHOLE)
    assert policy.digest == hashlib.sha256(WHOLE.encode()).hexdigest()
    assert policy.profile == "strict"
    assert [rule.line for rule in policy.file.rules] == [13, 17]
    assert policy.roles_with("deploy:approve") == ["admin", "approver"]
    assert policy.permissions_of(frozenset(), frozenset({"developers"})) == {"deploy:run", "chat:tell"}
    assert policy.permissions_of(frozenset({"approver"}), frozenset()) == {"deploy:*"}
    assert policy.permissions_of(frozenset(), frozenset({"unknown"})) == frozenset()
    assert policy.channels_for("deploy") == ("deploys", "#ops")
    assert policy.channels_for("tell") == ()
    assert policy.identity("slack").teams == ("T1",)
    assert policy.identity("discord").link_by_email is False
    assert check_policy(policy, COMMANDS) == []


@pytest.mark.parametrize("text", ["", "profile: team\n", "rules:\n", "people:\nroles:\n"])
def test_next_to_nothing_is_a_policy(text: str) -> None:
    assert check_policy(compile_policy(text), COMMANDS) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("profil: team", "policy: profil is not a key that is known here"),
        ("profile: open", "policy: profile: should be 'team' or 'strict'"),
        ("people: {ada: {mail: x}}", "policy: people.ada.mail is not a key that is known here"),
        ("people: {Ada Lovelace: {}}", "policy: people.Ada Lovelace.[key]: "),
        (
            "people: {ada: {groups: [admins]}}\ngroups: {developers: []}",
            "policy: people.ada is in the group 'admins', which",
        ),
        ("roles: {r: [deploy]}", "policy: roles.r.0: "),
        ("groups: {g: [nope]}", "policy: groups.g names the role 'nope', which roles does not define"),
        ("rules:\n- name: a\n  command: deploy", "policy line 2: rule 'a' should say either deny: or approve:"),
        ("rules:\n- {name: a, command: deploy, deny: x, approve: {}}", "policy line 2: rule 'a' should say either deny: or approve:"),
        ("rules:\n- {name: a, deny: x}", "policy line 2: rule 'a' should name a command or a risk, or it would match everything"),
        ("rules:\n- {name: a, risk: huge, deny: x}", "policy line 2: rule 'a': risk 'huge' should be one of read, low, medium, high"),
        ("rules:\n\n- {name: a, risk: low, deny: x}\n- {name: b, risk: low, dny: x}", "policy line 4: rules.1.dny is not a key"),
        ("rules:\n- {name: a, risk: low, approve: {count: 21}}", "policy line 2: rules.0.approve.count: "),
        ("rules:\n- {name: a, risk: low, approve: {count: -1}}", "policy line 2: rules.0.approve.count: "),
        ("rules:\n- {name: a, risk: low, approve: {expires: soon}}", "policy line 2: rules.0.approve: expires should be a duration"),
        ("rules:\n- {name: a, risk: low, approve: {expires: 0s}}", "policy line 2: rules.0.approve: expires should leave people some time"),
        ("rules:\n- {name: a, risk: low, approve: {by: 'deploy:*'}}", "policy line 2: rules.0.approve.by: "),
        ("rules:\n- {name: a, risk: low, when: {x: 2026-13-45}, deny: x}", "policy: not YAML: a date that does not exist"),
        ("[" * 7_000, "policy: not YAML"),
        ("rules:\n- {name: a, risk: low, doors: [slak], deny: x}", "policy line 2: rules.0.doors.0: should be 'slack'"),
        ("rules:\n- {name: a, risk: low, people: ada, deny: x}", "policy line 2: rules.0.people: "),
        ("rules: {a: b}", "policy: rules: "),
        ("rules: 7", "policy: rules: "),
        ("rules: [deny]", "policy line 1: rules.0: "),
        ("a: [b", "policy line 1: not YAML: "),
        ("a: b\n  c: d", "policy line 2: not YAML: "),
        ("- a", "policy: should be a mapping with keys such as profile"),
        ("just words", "policy: should be a mapping with keys such as profile"),
        ("a: !!python/object/apply:os.system [ls]", "policy line 1: not YAML: "),
        ("a: 1\0", "policy"),
        ("[a]: b", "policy"),
        ("profile: team\nprofile: strict", "policy line 2: profile is given twice"),
        ("rules:\n- {name: a, risk: low, deny: x, deny: y}", "policy line 2: deny is given twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as told:
        compile_policy(text)
    assert str(told.value).startswith(sentence)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rules:\n- {name: a, command: nope, deny: x}", "line 2: rule 'a' names the command 'nope', which does not exist"),
        ("rules:\n- {name: a, command: [deploy, nope], deny: x}", "line 2: rule 'a' names the command 'nope', which does not exist"),
        ("rules:\n- {name: a, command: deploy, risk: low, deny: x}", "line 2: rule 'a' can never match: no command it names has risk low"),
        ("rules:\n- {name: a, command: [], deny: x}", "line 2: rule 'a' can never match: no command it names has risk at all"),
        ("rules:\n- {name: a, risk: [], deny: x}", "line 2: rule 'a' can never match: no command it names has risk at all"),
        ("people: {ada: {}}\nrules:\n- {name: a, risk: low, people: [adda], deny: x}", "line 3: rule 'a' names 'adda', who"),
        (
            "people: {ada: {groups: [g]}}\nrules:\n- {name: a, risk: low, groups: [h], deny: x}",
            "line 3: rule 'a' names the group 'h'",
        ),
        ("people: {ada: {groups: [g]}}\nroles: {r: []}\ngroups: {g: [r], h: [r]}", "groups: nobody listed under people is in 'h'"),
        ("channels: {nope: [ops]}", "channels: there is no command 'nope'"),
        ("roles: {r: [deploy:rum]}", "roles: no command uses the permission 'deploy:rum'"),
    ],
)
def test_what_only_the_whole_set_shows_is_a_problem(text: str, problem: str) -> None:
    problems = check_policy(compile_policy(text), COMMANDS)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("pattern", "permission", "yes"),
    [
        ("deploy:run", "deploy:run", True),
        ("deploy:*", "deploy:run", True),
        ("*:*", "deploy:run", True),
        ("*:run", "deploy:run", True),
        ("deploy:run", "deploy:runs", False),
        ("deploy:*", "deploys:run", False),
        ("*:read", "deploy:run", False),
    ],
)
def test_a_pattern_covers_whole_words(pattern: str, permission: str, yes: bool) -> None:
    assert covers(pattern, permission) is yes
