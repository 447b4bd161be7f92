"""Filters and PATCH as directories write them: what RFC 7644 says, and what Okta and Entra ID are known to send instead."""

from typing import Any

import pytest

from bot.scim.filters import Equal, read_filter
from bot.scim.patches import patched
from bot.scim.problems import ScimProblem
from bot.scim.resources import ENTERPRISE, read_group, read_user

ADA: dict[str, Any] = {
    "userName": "ada@example.test",
    "active": True,
    "name": {"givenName": "Ada", "familyName": "L"},
    "emails": [{"value": "ada@example.test", "type": "work", "primary": True}, {"value": "a@home.test", "type": "home"}],
}
GROUP: dict[str, Any] = {"displayName": "SRE", "members": [{"value": "1"}, {"value": "2"}]}


def one(op: str, path: str | None = None, value: Any = None) -> dict[str, Any]:
    return {"op": op} | ({"path": path} if path else {}) | ({"value": value} if value is not None else {})


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ('userName eq "ada"', [Equal("username", "ada")]),
        ('  userName  EQ  "a \\"b\\" c" ', [Equal("username", 'a "b" c')]),
        ("active eq true", [Equal("active", True)]),
        ('id eq "1" and members eq "2"', [Equal("id", "1"), Equal("members", "2")]),
        ('emails[type eq "work"].value eq "a@b.c"', [Equal("emails.value", "a@b.c")]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada"', [Equal("username", "ada")]),
    ],
)
def test_filters_are_read(text: str, conditions: list[Equal]) -> None:
    assert read_filter(text) == conditions


@pytest.mark.parametrize(
    "text", ["userName", 'userName co "a"', 'userName eq "a" or id eq "b"', "userName eq", 'eq "a"', 'a eq "' + "x" * 3_000 + '"', "((("]
)
def test_other_filters_are_refused_in_words(text: str) -> None:
    with pytest.raises(ScimProblem, match=r"^filter: ") as refused:
        read_filter(text)
    assert (refused.value.status, refused.value.kind) == (400, "invalidFilter")


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([one("replace", "active", False)], {"active": False}),
        ([one("Replace", "active", "False")], {"active": "False"}),
        ([one("replace", None, {"active": False, "title": "CTO"})], {"active": False, "title": "CTO"}),
        ([one("replace", "name.familyName", "Lovelace")], {"name": {"givenName": "Ada", "familyName": "Lovelace"}}),
        ([one("replace", None, {"name.familyName": "Lovelace"})], {"name": {"givenName": "Ada", "familyName": "Lovelace"}}),
        ([one("add", "name", {"familyName": "B"})], {"name": {"givenName": "Ada", "familyName": "B"}}),
        ([one("replace", "USERNAME", "b")], {"userName": "b"}),
        ([one("remove", "name")], {"name": None}),
        (
            [one("replace", 'emails[type eq "work"].value', "b@example.test")],
            {"emails": [{"value": "b@example.test", "type": "work", "primary": True}, ADA["emails"][1]]},
        ),
        (
            [one("add", 'emails[type eq "other"].value', "c@example.test")],
            {"emails": [*ADA["emails"], {"type": "other", "value": "c@example.test"}]},
        ),
        ([one("remove", 'emails[type eq "home"]')], {"emails": ADA["emails"][:1]}),
        ([one("add", f"{ENTERPRISE}:manager", "7")], {ENTERPRISE: {"manager": "7"}}),
        ([one("replace", f"{ENTERPRISE}:manager.value", "7")], {ENTERPRISE: {"manager": {"value": "7"}}}),
        ([one("add", None, {ENTERPRISE: {"manager": {"value": "7"}}})], {ENTERPRISE: {"manager": {"value": "7"}}}),
        ([one("add", None, {f"{ENTERPRISE}:department": "IT"})], {ENTERPRISE: {"department": "IT"}}),
        ([one("replace", "urn:ietf:params:scim:schemas:core:2.0:User:active", False)], {"active": False}),
        ([one("add", "title", "A"), one("replace", "title", "B")], {"title": "B"}),
    ],
)
def test_a_user_is_changed(operations: list[dict[str, Any]], changed: dict[str, Any]) -> None:
    after = patched(ADA, {"Operations": operations})
    assert {name: value for name, value in {**ADA, **changed}.items() if value is not None} == after
    assert ADA["active"] is True, "the one before stays as it was"


@pytest.mark.parametrize(
    ("operations", "members"),
    [
        ([one("add", "members", [{"value": "3"}, {"value": "1"}])], ["2", "3", "1"]),
        ([one("Add", "members", {"value": "3"})], ["1", "2", "3"]),
        ([one("remove", 'members[value eq "1"]')], ["2"]),
        ([one("Remove", "members", [{"value": "1"}, {"value": "9"}])], ["2"]),
        ([one("remove", "members")], []),
        ([one("replace", "members", [{"value": "9"}])], ["9"]),
        ([one("replace", None, {"members": [{"value": "9"}], "displayName": "X"})], ["9"]),
    ],
)
def test_a_group_is_changed(operations: list[dict[str, Any]], members: list[str]) -> None:
    assert [one["value"] for one in patched(GROUP, {"schemas": ["…"], "Operations": operations})["members"]] == members


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        ({}, "invalidSyntax", "Operations: should be a list of 1 to 1000 operations"),
        ({"Operations": []}, "invalidSyntax", "Operations: should be"),
        ({"Operations": ["x"]}, "invalidSyntax", "Operations: each should have op, and path or value"),
        ({"Operations": [one("move", "a", "b")]}, "invalidSyntax", "op: 'move' should be add, remove or replace"),
        ({"Operations": [one("remove")]}, "noTarget", "path: is required to remove something"),
        ({"Operations": [one("add", None, "x")]}, "invalidValue", "value: should be an object of attributes"),
        ({"Operations": [one("add", "a b", "x")]}, "invalidPath", "path: 'a b' cannot be read"),
        ({"Operations": [one("add", 'emails[type co "x"].value', "x")]}, "invalidFilter", "filter: should read like"),
        ({"Operations": [one("add", 'emails[type eq "x"]', "x")]}, "invalidValue", "value: should be an object for emails"),
    ],
)
def test_a_wrong_patch_gets_a_sentence_and_the_word_of_the_rfc(request_: dict[str, Any], kind: str, sentence: str) -> None:
    with pytest.raises(ScimProblem) as refused:
        patched(ADA, request_)
    assert refused.value.kind == kind
    assert refused.value.detail.startswith(sentence)


def test_what_is_kept_of_a_user_is_little_and_clean() -> None:
    given = ADA | {"password": "secret", "nickName": "x", "externalId": "42", "timezone": "Europe/Berlin", "photos": [{"value": "x"}]}
    given |= {"emails": [{"value": "ADA@Example.Test", "display": "x"}], ENTERPRISE: {"manager": {"value": "0" * 32, "displayName": "x"}}}
    kept = read_user(given)
    assert kept == {
        "userName": "ada@example.test",
        "active": True,
        "externalId": "42",
        "timezone": "Europe/Berlin",
        "name": ADA["name"],
        "emails": [{"value": "ada@example.test"}],
        "manager": "00000000-0000-0000-0000-000000000000",
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "userName: is required"),
        ({"userName": 7}, "userName: should be a text of at most 200 characters"),
        ({"userName": "a", "active": "maybe"}, "active: should be true or false"),
        ({"userName": "a", "emails": "a@b.c"}, "emails: should be a list of at most 10 objects"),
        ({"userName": "a", "emails": [{"value": "nobody"}]}, "emails: 'nobody' is no e-mail address"),
        ({"userName": "a", "timezone": "Mars"}, "timezone: 'Mars' is not known, for instance Europe/Berlin"),
        ({"userName": "a", "name": []}, "name: should be an object"),
        ({"userName": "a", ENTERPRISE: {"manager": "lin"}}, "manager: should be the id of a user"),
    ],
)
def test_a_wrong_user_gets_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScimProblem) as refused:
        read_user(given)
    assert (refused.value.status, refused.value.kind, refused.value.detail) == (400, "invalidValue", sentence)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "displayName: is required"),
        ({"displayName": "a", "members": [{"value": "x"}]}, "members: 'x' is no id of a user"),
        ({"displayName": "a", "members": [{"value": "0" * 32, "type": "Group"}]}, "members: a group cannot be in a group here"),
    ],
)
def test_a_wrong_group_gets_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScimProblem) as refused:
        read_group(given)
    assert refused.value.detail.startswith(sentence)
