"""Departments are groups of groups, one level; directories say which group there is which group here."""

import pytest

from commands.checks import check_policy
from commands.policies import PolicyError, compile_policy
from tests.commands.samples import COMMANDS, somebody

POLICY = """
people:
  ada: {groups: [developers]}
  lin: {groups: [sre]}
  max: {groups: [finance]}
roles: {viewer: [deploy:see], deployer: [deploy:run], payer: [money:pay]}
groups: {developers: [], sre: [deployer], finance: [payer], engineering: [viewer], company: []}
departments:
  engineering: [developers, sre]
  company: [developers, sre, finance]
directories:
  slack: {groups: {S0614TZR7: sre}}
  scim: {groups: {Finance: finance}}
"""


def test_members_of_a_group_have_its_departments_and_what_these_carry() -> None:
    policy = compile_policy(POLICY)
    ada, lin, max_ = somebody("ada", "developers"), somebody("lin", "sre"), somebody("max", "finance")
    assert policy.groups_of(ada) == {"developers", "engineering", "company"}
    assert policy.roles_of(ada) == {"viewer"}
    assert policy.permissions_of(lin.roles, lin.groups) == {"deploy:see", "deploy:run"}
    assert policy.permissions_of(max_.roles, max_.groups) == {"money:pay"}
    assert policy.groups_of(somebody("eve", "engineering")) == {"engineering"}, "a member of the department itself is in no group of it"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "departments: {a: [b], b: [c]}",
            "policy line 1: departments.a names the department 'b'; a department holds groups, one level and no more",
        ),
        (
            "departments: {a: [a]}",
            "policy line 1: departments.a names the department 'a'; a department holds groups, one level and no more",
        ),
        ("departments: {a: []}", "policy line 1: departments.a has no groups"),
        ("groups: {g: []}\ndepartments: {a: [h]}", "policy line 2: departments.a names the group 'h', which groups does not define"),
        (
            "directories: {slack: {groups: {sre: sre}}}",
            "policy line 1: directories.slack.groups: 'sre' should be the id of a user group such as S0614TZR7: names are not kept",
        ),
        (
            "groups: {g: []}\ndirectories: {scim: {groups: {X: h}}}",
            "policy line 2: directories.scim.groups names the group 'h', which groups does not define",
        ),
    ],
)
def test_what_cannot_be_is_refused(text: str, problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        compile_policy(text)
    assert str(refused.value) == problem


def test_there_are_three_directories() -> None:
    with pytest.raises(PolicyError, match=r"directories\.ldap.*should be 'slack', 'scim' or 'oidc'"):
        compile_policy("directories: {ldap: {}}")


def test_a_check_counts_departments_and_what_comes_from_elsewhere() -> None:
    text = POLICY.replace("lin: {groups: [sre]}", "lin: {}").replace("max: {groups: [finance]}", "max: {}")
    unused = "roles: no command uses the permission"
    assert [one for one in check_policy(compile_policy(text), COMMANDS) if unused not in one] == []
    alone = "people: {ada: {groups: [g]}}\ngroups: {g: [], h: [], d: []}\ndepartments: {d: [h]}"
    problems = check_policy(compile_policy(alone), COMMANDS)
    assert sorted(one.rpartition("groups: ")[2] for one in problems) == [
        "nobody listed under people is in 'd'",
        "nobody listed under people is in 'h'",
    ]


def test_a_rule_may_name_people_whom_a_directory_brings() -> None:
    rule = "\nrules:\n- {name: a, risk: low, people: [zoe], deny: No.}"
    assert check_policy(compile_policy("people: {ada: {}}" + rule), COMMANDS) != []
    assert check_policy(compile_policy("people: {ada: {}}\ndirectories: {scim: {}}" + rule), COMMANDS) == []
