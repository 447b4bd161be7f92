"""Reading a policy: what is wrong stops it with the place and the fix, and an empty list means nobody."""

import hashlib
import re

import pytest

from commands.checks import check_policy
from commands.policies import PolicyError, compile_policy, covers
from countersign.moments import instant
from tests.commands.samples import COMMANDS, policy

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
        ("people: {ci: {}}\nservice_accounts: {ci: {}}", "policy line 2: service_accounts.ci is listed under people too; give it a name"),
        (
            "service_accounts: {ci: {groups: [admins]}}\ngroups: {developers: []}",
            "policy line 1: service_accounts.ci is in the group 'admins', which",
        ),
        ("service_accounts: {ci: {email: ci@example.test}}", "policy line 1: service_accounts.ci.email is not a key that is known here"),
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
        ("[" * 7_000, "policy line 1: not YAML"),
        ("a: &a [*a]", "policy: not YAML: a date that does not exist, or too many brackets"),
        (
            "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 10)}]\n" for n in range(9)),
            "policy: has more",
        ),
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


WITH_TIMES = """
timezone: Europe/Berlin
windows:
  nights: {days: mon-thu, from: 22:00, to: 4:00}
  business-hours: {days: mon-fri, from: 9:00, to: 17:00, zone: America/New_York}
freezes:
  year-end:
    from: 2026-12-18 18:00
    to: 2027-01-04 08:00:00
    command: deploy
    because: We sell.
rules:
  - {name: at night, command: deploy, when: {env: prod}, window: nights}
  - {name: with an eye, risk: high, approve: {by: "deploy:approve"}, window: business-hours}
"""


def test_times_are_read_as_they_are_written_and_meant_in_the_policy_s_zone() -> None:
    """YAML 1.1 would take 22:00 for the number 1320."""
    bound = policy(WITH_TIMES)
    assert {name: str(one) for name, one in bound.windows.items()} == {
        "nights": "nights (mon-thu 22:00–04:00 Europe/Berlin)",
        "business-hours": "business-hours (mon-fri 09:00–17:00 America/New_York)",
    }
    (freeze,) = bound.freezes["deploy"]
    assert (freeze.freeze.begins, freeze.freeze.ends) == (instant("2026-12-18 17:00 UTC"), instant("2027-01-04 07:00 UTC"))
    assert freeze.bound.rule.place == "line 7: freeze 'year-end'"
    assert [one.rule.window for one in bound.rules["deploy"]] == ["nights"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("window: nights", "window: days", "policy line 13: rule 'at night' names the window 'days', which windows does not define"),
        ("from: 22:00", "from: 2200", "policy line 4: windows.nights.from: should be a valid string"),
        ("from: 22:00", "from: 22:61", "policy line 4: windows.nights: 22:61 is not a time of day"),
        ("zone: America/New_York", "zone: New York", "policy line 5: windows.business-hours: there is no time zone 'New York'"),
        ("because", "why", "policy line 11: freezes.year-end.why is not a key that is known here"),
        ("command: deploy\n    because", "risk: huge\n    because", "policy line 7: freeze 'year-end': risk 'huge' should be one of"),
        ("to: 2027-01-04 08:00:00", "to: 2026-01-04 08:00", "policy line 7: freezes.year-end: should end after it begins"),
        ("timezone: Europe/Berlin", "", "policy line 4: windows.nights.zone: Field required"),
        ("because: We sell.", "approve: {stages: [{of: role:nobody}]}", "freeze 'year-end': role:nobody names 'nobody'"),
    ],
)
def test_a_time_that_cannot_be_read_stops_the_policy(old: str, new: str, problem: str) -> None:
    assert old in WITH_TIMES
    with pytest.raises(PolicyError, match=re.escape(problem)):
        compile_policy(WITH_TIMES.replace(old, new, 1))
