"""The SCIM door over HTTP: RFC 7643 and 7644 as a directory meets them, and what it may not."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bot.scim.resources import CORE, ENTERPRISE
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.tokens import end_labelled, issue_token
from tests.bot.webs import Web, web_of
from tests.hubs import POLICY, World, disposing

DIRECTORY = POLICY + "\ndirectories: {scim: {groups: {Leads: leads}}}\n"
PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}


async def token(world: World, *, label: str = "hr", lifetime: float = 600) -> str:
    async with disposing(world.engine(role="worker")) as engine, transaction(engine) as session:
        return await issue_token(session, kind="scim", person=None, label=label, scopes=(), lifetime=lifetime)


@pytest.fixture
async def hr(database: DatabaseUrls, redis_url: str, tmp_path: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A directory's client at a hub whose policy takes one."""
    world = World(database, redis_url, tmp_path, policy=DIRECTORY)
    await world.prepare()
    headers = {"authorization": f"Bearer {await token(world)}", "content-type": "application/scim+json"}
    async with web_of(world) as web, web.client(headers) as client:
        client.base_url = httpx.URL(str(client.base_url).rstrip("/") + "/scim/v2/")
        yield client


async def made(hr: httpx.AsyncClient, name: str = "zoe", **more: Any) -> dict[str, Any]:
    answer = await hr.post("Users", json={"schemas": [f"{CORE}User"], "userName": f"{name}@example.test", **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_user_is_made_read_changed_and_deleted(hr: httpx.AsyncClient) -> None:
    answer = await hr.post("Users", json={"userName": "zoe@example.test", "externalId": "77", "emails": [{"value": "Zoe@Example.test"}]})
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/scim+json"
    assert answer.headers["location"] == body["meta"]["location"]
    assert answer.headers["location"].endswith(f"/scim/v2/Users/{body['id']}")
    assert answer.headers["etag"] == body["meta"]["version"] == 'W/"1"'
    assert body["schemas"] == [f"{CORE}User"]
    assert body["emails"] == [{"value": "zoe@example.test"}]
    assert body["active"] is True
    assert (await hr.get(f"Users/{body['id']}")).json() == body
    patch = PATCH | {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    changed = await hr.patch(f"Users/{body['id']}", json=patch, headers={"if-match": 'W/"1"'})
    assert (changed.status_code, changed.json()["active"], changed.headers["etag"]) == (200, False, 'W/"2"')
    assert (await hr.patch(f"Users/{body['id']}", json=patch)).headers["etag"] == 'W/"2"', "what changes nothing is no new version"
    late = await hr.put(f"Users/{body['id']}", json={"userName": "zoe@example.test"}, headers={"if-match": 'W/"1"'})
    assert late.status_code == 412
    put = await hr.put(f"Users/{body['id']}", json={"userName": "zoe@example.test", "title": "CTO"})
    assert (put.status_code, put.json()["title"], "externalId" in put.json()) == (200, "CTO", False)
    assert (await hr.delete(f"Users/{body['id']}")).status_code == 204
    gone = await hr.get(f"Users/{body['id']}")
    assert (gone.status_code, gone.json()["detail"]) == (404, "There is no such user.")
    assert gone.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert (await hr.delete(f"Users/{body['id']}")).status_code == 404
    again = await made(hr)
    assert again["id"] != body["id"], "a user name is free again once its user is deleted"


async def test_a_user_name_is_there_once_whatever_its_case(hr: httpx.AsyncClient) -> None:
    await made(hr)
    twice = await hr.post("Users", json={"userName": "ZOE@example.test"})
    assert (twice.status_code, twice.json()["scimType"]) == (409, "uniqueness")
    other = await made(hr, "yan")
    renamed = await hr.put(f"Users/{other['id']}", json={"userName": "zoe@example.test"})
    assert renamed.status_code == 409


async def test_lists_are_filtered_and_paged(hr: httpx.AsyncClient) -> None:
    users = [await made(hr, f"u{n}", externalId=str(n)) for n in range(5)]
    first = (await hr.get("Users", params={"count": "2"})).json()
    assert (first["totalResults"], first["startIndex"], first["itemsPerPage"]) == (5, 1, 2)
    assert [one["id"] for one in first["Resources"]] == [one["id"] for one in users[:2]]
    last = (await hr.get("Users", params={"startIndex": "5", "count": "2"})).json()
    assert [one["id"] for one in last["Resources"]] == [users[4]["id"]]
    assert (await hr.get("Users", params={"count": "0"})).json()["Resources"] == []
    for text, found in (
        ('userName eq "U3@example.test"', [users[3]]),
        ('externalId eq "2"', [users[2]]),
        (f'id eq "{users[1]["id"]}" and active eq true', [users[1]]),
        ('emails[type eq "work"].value eq "u1@example.test"', []),
        ('id eq "nonsense"', []),
    ):
        assert (await hr.get("Users", params={"filter": text})).json()["Resources"] == found, text
    wrong = await hr.get("Users", params={"filter": 'nickName eq "x"'})
    assert (wrong.status_code, wrong.json()["scimType"]) == (400, "invalidFilter")
    assert (await hr.get("Users", params={"count": "many"})).status_code == 400
    narrow = (await hr.get(f"Users/{users[0]['id']}", params={"attributes": "userName"})).json()
    assert set(narrow) == {"id", "schemas", "meta", "userName"}


async def test_a_group_has_members_that_are_users(hr: httpx.AsyncClient) -> None:
    zoe, yan = await made(hr, "zoe"), await made(hr, "yan")
    answer = await hr.post("Groups", json={"displayName": "Leads", "members": [{"value": zoe["id"]}]})
    assert answer.status_code == 201, answer.text
    group = answer.json()
    assert group["members"] == [{"value": zoe["id"], "$ref": zoe["meta"]["location"], "type": "User"}]
    add = PATCH | {"Operations": [{"op": "add", "path": "members", "value": [{"value": yan["id"]}]}]}
    both = (await hr.patch(f"Groups/{group['id']}", json=add)).json()
    assert [one["value"] for one in both["members"]] == [zoe["id"], yan["id"]]
    for text in (f'members eq "{yan["id"]}"', f'id eq "{group["id"]}" and members.value eq "{zoe["id"]}"', 'displayName eq "leads"'):
        assert (await hr.get("Groups", params={"filter": text, "excludedAttributes": "members"})).json()["totalResults"] == 1, text
    small = (await hr.get("Groups", params={"excludedAttributes": "members"})).json()["Resources"][0]
    assert "members" not in small
    stranger = PATCH | {"Operations": [{"op": "add", "path": "members", "value": [{"value": str(uuid4())}]}]}
    refused = await hr.patch(f"Groups/{group['id']}", json=stranger)
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("members: there is no user ")
    less = PATCH | {"Operations": [{"op": "remove", "path": f'members[value eq "{zoe["id"]}"]'}]}
    assert [one["value"] for one in (await hr.patch(f"Groups/{group['id']}", json=less)).json()["members"]] == [yan["id"]]


async def test_the_service_describes_itself(hr: httpx.AsyncClient) -> None:
    service = (await hr.get("ServiceProviderConfig")).json()
    assert service["patch"] == {"supported": True}
    assert service["filter"] == {"supported": True, "maxResults": 200}
    assert service["bulk"]["supported"] is False
    assert [one["id"] for one in (await hr.get("ResourceTypes")).json()["Resources"]] == ["User", "Group"]
    assert (await hr.get("ResourceTypes/User")).json()["endpoint"] == "/Users"
    assert [one["id"] for one in (await hr.get("Schemas")).json()["Resources"]] == [f"{CORE}User", f"{CORE}Group", ENTERPRISE]
    assert (await hr.get(f"Schemas/{CORE}User")).json()["name"] == "User"
    assert (await hr.get("Me")).status_code == 501
    assert (await hr.get("Nothing")).status_code == 404


async def test_a_wrong_body_gets_a_sentence(hr: httpx.AsyncClient) -> None:
    for content, kind, status in (
        (b"{", "application/scim+json", 400),
        (b"[]", "application/scim+json", 400),
        (b'{"userName": "a", "userName": "b"}', "application/json", 400),
        (b"userName=a", "application/x-www-form-urlencoded", 415),
    ):
        answer = await hr.post("Users", content=content, headers={"content-type": kind})
        assert answer.status_code == status, content
        assert answer.headers["content-type"] == "application/scim+json"
        assert answer.json()["detail"]


async def test_only_a_live_token_of_a_directory_opens_the_door(database: DatabaseUrls, redis_url: str, tmp_path: Any) -> None:
    world = World(database, redis_url, tmp_path, policy=DIRECTORY)
    await world.prepare()
    async with web_of(world) as web:
        personal, ended = await web.token("api", "max"), await token(world, label="old")
        async with disposing(world.engine(role="worker")) as engine, transaction(engine) as session:
            assert await end_labelled(session, kind="scim", label="old") == 1
        async with web.client() as anybody:
            for header in ("", "Basic x", "Bearer ", "Bearer nonsense", f"Bearer {personal}", f"Bearer {ended}"):
                answer = await anybody.get("/scim/v2/Users", headers={"authorization": header} if header else {})
                assert answer.status_code == 401, header
                assert "www-authenticate" in answer.headers
                assert answer.headers["content-type"] == "application/scim+json"
            for path in ("Users", "Groups", "Schemas", "ResourceTypes", "ServiceProviderConfig", f"Users/{uuid4()}"):
                assert (await anybody.get(f"/scim/v2/{path}")).status_code == 401, path
        async with web.client({"authorization": f"Bearer {await token(world)}"}) as other_doors:
            assert (await other_doors.get("/api/v1/runs")).status_code == 401, "a directory's token opens no other door"


async def test_without_a_word_in_the_policy_nothing_is_taken(web: Web, world: World) -> None:
    async with web.client({"authorization": f"Bearer {await token(world)}"}) as hr:
        refused = await hr.get("/scim/v2/Users")
    assert refused.status_code == 403
    assert "no directories.scim" in refused.json()["detail"]
