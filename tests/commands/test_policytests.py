"""policy test: cases decided under a policy, and what is said of those that are not as wanted."""

from datetime import UTC, datetime

import pytest

from commands.policies import PolicyError
from commands.policytests import read_table, run_table
from tests.commands.samples import COMMANDS, policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = """profile: strict
timezone: Europe/Berlin
people:
  ada: {groups: [developers]}
  lin: {groups: [leads]}
  kim: {groups: [leads], active: false}
roles: {deployer: ['deploy:run'], approver: ['deploy:approve']}
groups: {developers: [deployer], leads: [deployer, approver]}
rules:
- {name: not at night, command: deploy, if: time.hour >= 22, deny: It is late.}
- {name: sre may, command: erase, when: {}, groups: [sre], allow: true}
- {name: strong, command: deploy, when: {env: prod}, step_up: login}
"""
GOOD = """cases:
- {who: ada, what: deploy api, outcome: allowed, approval: none}
- {who: ada, what: deploy api env=prod, outcome: allowed, approval: {count: 2, by: deploy:approve, people: [lin], step_up: login}}
- {who: ada, what: deploy api env=prod, outcome: allowed, rule: strong}
- {who: ada, what: deploy api, at: 2026-11-23 22:30 Europe/Berlin, outcome: refused, rule: not at night}
- {who: ada, what: deploy api, at: 2026-11-23 22:30 UTC, outcome: refused}
- {who: kim, what: deploy api, outcome: refused}
- {who: stranger, what: deploy api, where: {door: api, channel: '#ops'}, outcome: refused}
- {who: {name: eve, groups: [sre]}, what: erase, outcome: allowed, rule: sre may, approval: {step_up: passkey}}
- {who: {name: eve, roles: [deployer]}, what: deploy api --reason OPS-1, outcome: allowed}
"""


def said(cases: str) -> list[str]:
    table, lines = read_table(cases)
    return [str(one) for one in run_table(table, lines, policy(POLICY), COMMANDS, now=NOW)]


def test_cases_that_are_as_wanted() -> None:
    assert [one.partition(": ")[2] for one in said(GOOD) if not one.endswith(": as wanted")] == []


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (
            "{who: eve, what: deploy api, outcome: allowed}",
            "refused (This needs the permission deploy:run; it belongs to the role deployer.), wanted",
        ),
        ("{who: ada, what: deploy api, outcome: refused}", "allowed (deploy:run through a role), wanted refused"),
        ("{who: ada, what: deploy, outcome: refused}", "service: is required"),
        ("{who: ada, what: dploy, outcome: refused}", "there is no command 'dploy'"),
        ("{who: ada, what: deploy api, at: soon, outcome: allowed}", "'soon' should be a date and a time with their zone"),
        (
            "{who: ada, what: deploy api, outcome: allowed, rule: not at night}",
            "decided by deploy:run through a role, wanted rule 'not at night'",
        ),
        ("{who: ada, what: deploy api env=prod, outcome: allowed, approval: none}", "2 have to approve, wanted none"),
        ("{who: ada, what: deploy api, outcome: allowed, approval: {count: 1}}", "nobody has to approve, wanted an approval"),
        ("{who: ada, what: deploy api env=prod, outcome: allowed, approval: {count: 1}}", "2 have to approve, wanted 1"),
        ("{who: ada, what: deploy api env=prod, outcome: allowed, approval: {by: 'a:b'}}", "approved by deploy:approve, wanted a:b"),
        (
            "{who: lin, what: deploy api env=prod, outcome: allowed, approval: {people: [lin, kim]}}",
            "lin and kim cannot approve; nobody can",
        ),
        ("{who: ada, what: deploy api env=prod, outcome: allowed, approval: {step_up: ''}}", "approved with step_up login, wanted none"),
    ],
)
def test_what_is_not_as_wanted_is_said_with_its_line(case: str, problem: str) -> None:
    (told,) = said(f"policy: p.yaml\ncases:\n- {case}")
    assert told.startswith("line 3: ")
    assert problem in told


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("cases: []", "line 1: cases: Tuple should have at least 1 item"),
        ("cases:\n- {who: ada, what: deploy api}", "line 2: cases.0.outcome: Field required"),
        ("cases:\n- {who: ada, what: deploy api, outcome: maybe}", "line 2: cases.0.outcome: should be 'allowed' or 'refused'"),
        (
            "cases:\n- who: ada\n  what: deploy api\n  outcome: allowed\n  approver: lin",
            "line 5: cases.0.approver: is not a key that is known here",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_said(table: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as told:
        read_table(table)
    assert str(told.value).startswith(sentence)
