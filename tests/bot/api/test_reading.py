"""What may be read: the audit, the commands, and the description of the API itself."""

from store.audits import search
from store.databases import reading
from tests.bot.webs import Web


async def test_the_audit_is_read_by_those_who_may_and_reading_it_is_recorded(web: Web) -> None:
    async with await web.caller("max") as max_, await web.caller("ada") as ada:
        refused = await ada.get("/api/v1/audit")
        assert (refused.status_code, refused.json()["reason"]) == (403, "missing_permission")
        for n in range(4):
            await max_.post("/api/v1/runs", json={"text": "whoami", "idempotency_key": str(n)})
        query = {"limit": "2", "kind": "control:asked"}
        first = (await max_.get("/api/v1/audit", params=query)).json()
        second = (await max_.get("/api/v1/audit", params=query | {"cursor": first["next"]})).json()
        wrong = await max_.get("/api/v1/audit", params={"cursor": "MQ"})
    ids = [one["id"] for one in first["items"] + second["items"]]
    assert len(set(ids)) == 4
    assert first["items"][0]["actor"] == "max"
    assert wrong.status_code == 400
    async with reading(web.hub.engine) as session:
        assert len(await search(session, kind="audit:read", actor="max")) == 1
        assert [row.detail["reason"] for row in await search(session, actor="ada")] == ["missing_permission"]


async def test_everybody_sees_the_commands_that_are_theirs(web: Web) -> None:
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        all_ = {one["name"]: one for one in (await max_.get("/api/v1/commands")).json()["items"]}
        few = {one["name"] for one in (await eve.get("/api/v1/commands")).json()["items"]}
    assert {"grant", "policy apply", "audit"} <= set(all_) - few
    assert {"help", "whoami", "runs", "approve"} <= few
    grant = all_["grant"]
    assert grant["arguments"]["required"] == ["person", "role"]
    assert grant["risk"] == "high"
    assert [one["name"] for one in grant["inputs"]] == ["person", "role", "duration"]


async def test_openapi_describes_every_route(web: Web) -> None:
    async with web.client() as anybody:
        described = (await anybody.get("/api/v1/openapi.json")).json()
    paths = {path: set(methods) for path, methods in described["paths"].items()}
    assert paths == {
        "/api/v1/runs": {"get", "post"},
        "/api/v1/runs/{reference}": {"get"},
        "/api/v1/runs/{reference}/log": {"get"},
        "/api/v1/runs/{reference}/log/events": {"get"},
        "/api/v1/runs/{reference}/plan.svg": {"get"},
        "/api/v1/runs/{reference}/artifacts": {"get"},
        "/api/v1/runs/{reference}/artifacts/{name}": {"get"},
        "/api/v1/audit/evidence/{reference}": {"get"},
        "/api/v1/runs/{reference}/decisions": {"post"},
        "/api/v1/runs/{reference}/edits": {"post"},
        "/api/v1/runs/{reference}/withdraw": {"post"},
        "/api/v1/runs/{reference}/takeback": {"post"},
        "/api/v1/runs/{reference}/handover": {"post"},
        "/api/v1/runs/{reference}/conversation": {"get"},
        "/api/v1/runs/{reference}/comments": {"post"},
        "/api/v1/runs/{reference}/questions": {"post"},
        "/api/v1/runs/{reference}/answers": {"post"},
        "/api/v1/runs/{reference}/cancel": {"post"},
        "/api/v1/runs/{reference}/resume": {"post"},
        "/api/v1/runs/{reference}/decisions/options": {"get"},
        "/api/v1/inbox": {"get"},
        "/api/v1/tasks/{reference}": {"get"},
        "/api/v1/tasks/{reference}/answer": {"post"},
        "/api/v1/tasks/{reference}/assign": {"post"},
        "/api/v1/audit": {"get"},
        "/api/v1/commands": {"get"},
        "/api/v1/schedules": {"get"},
        "/api/v1/schedules/{name}": {"get"},
        "/api/v1/coming": {"get"},
        "/api/v1/login": {"post"},
        "/api/v1/passkeys": {"get", "post"},
        "/api/v1/passkeys/options": {"post"},
        "/api/v1/room/channels": {"get"},
        "/api/v1/room/messages": {"get"},
        "/api/v1/room/events": {"get"},
        "/api/v1/room/say": {"post"},
        "/api/v1/room/form": {"post"},
        "/api/v1/room/press": {"post"},
    }
    asked = described["paths"]["/api/v1/runs"]["post"]
    assert set(asked["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {
        "command", "arguments", "text", "dry_run", "start_at", "reason", "idempotency_key",
    }  # fmt: skip
    assert asked["security"]
    assert "bearer" in repr(described["components"]["securitySchemes"]).lower()
