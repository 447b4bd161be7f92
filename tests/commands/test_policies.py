"""Reading a policy: what is wrong stops it with the place and the fix, and an empty list means nobody."""

import hashlib

import pytest

from commands.checks import check_policy
from commands.policies import PolicyError, compile_policy, covers
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
        ("profil: team", "policy line 1: profil is not a key that is known here; did you mean profile?"),
        ("profile: open", "policy line 1: profile: should be 'team' or 'strict'"),
        ("people: {ada: {mail: x}}", "policy line 1: people.ada.mail is not a key that is known here"),
        ("people: {Ada Lovelace: {}}", "policy line 1: people.Ada Lovelace.[key]: "),
        (
            "people: {ada: {groups: [admins]}}\ngroups: {developers: []}",
            "policy line 1: people.ada is in the group 'admins', which",
        ),
        ("roles: {r: [deploy]}", "policy line 1: roles.r.0: "),
        ("groups: {g: [nope]}", "policy line 1: groups.g names the role 'nope', which roles does not define"),
        ("rules:\n- name: a\n  command: deploy", "policy line 2: rule 'a' should say what follows: allow:, deny:, approve:,"),
        (
            "rules:\n- {name: a, command: deploy, deny: x, approve: {}}",
            "policy line 2: rule 'a' says deny: together with approve:; make two rules of it",
        ),
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
        ("rules: {a: b}", "policy line 1: rules: "),
        ("rules: 7", "policy line 1: rules: "),
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
    ("rule", "sentence"),
    [
        ("{name: a, risk: low, allow: true}", "allows something, so it should name its commands"),
        ("{name: a, command: deploy, allow: true, limit: {count: 1, per: 1h}}", "says allow: together with limit:; make two rules of it"),
        ("{name: a, command: deploy, iff: x, deny: No.}", "rules.0.iff is not a key that is known here; did you mean if?"),
        ("{name: a, command: deploy, allow: false}", "rules.0.allow: should be True"),
        ("{name: a, command: deploy, limit: {count: 1, per: 10s}}", "rules.0.limit.per: should be from 1m to 30d"),
        ("{name: a, command: deploy, limit: {count: 0, per: 1h}}", "rules.0.limit.count: should be greater than or equal to 1"),
        ("{name: a, command: deploy, limit: {count: 1, per: 1h, by: team}}", "rules.0.limit.by: should be 'person' or 'command'"),
        ("{name: a, command: deploy, only: {}}", "rules.0.only: name doors or channels; an empty list means nowhere"),
        ("{name: a, command: deploy, require_reason: '(a+'}", "rules.0.require_reason.pattern: '(a+' is not a pattern: invalid regular"),
        ("{name: a, command: deploy, step_up: sms}", "rules.0.step_up: should be '', 'login' or 'passkey'"),
        ("{name: a, command: deploy, timezone: Mars, deny: No.}", "rules.0.timezone: there is no time zone 'Mars'"),
    ],
)
def test_what_a_rule_may_say_is_checked(rule: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as told:
        compile_policy(f"rules:\n- {rule}")
    assert str(told.value).removeprefix("policy line 2: ").removeprefix("rule 'a' ").startswith(sentence)


def test_rules_keep_the_clocks_of_the_file_unless_they_name_their_own() -> None:
    text = "timezone: Europe/Berlin\nrules:\n- {name: a, risk: low, deny: x}\n- {name: b, risk: low, timezone: Asia/Tokyo, deny: x}"
    assert [rule.timezone for rule in compile_policy(text).file.rules] == ["Europe/Berlin", "Asia/Tokyo"]


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
