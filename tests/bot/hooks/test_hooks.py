"""Another system delivers: proved, kept and answered; each delivery starts what it means, once; everything else leaves a row."""

import asyncio
import gzip
import json
import time
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

from store.audits import search
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from tests.bot.hooks.senders import SECRET, Post, post_of
from tests.hubs import until


def fresh(**more: object) -> dict[str, object]:
    return {"how": "gone", "n": str(uuid4())} | more


async def test_a_release_starts_a_run_as_the_service_account(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name, only="event == 'release' && payload.action == 'published'")
    told = await post.github(name, fresh(action="published"))
    assert told.status_code == 202, told.text
    [run] = await post.runs(name)
    assert run.succeeded
    asked = (await post.bot.trail(run))[0]
    assert asked.actor == "svc-cart"
    assert asked.detail["door"] == "trigger"
    assert asked.detail["origins"]["how"] == "payload"
    assert asked.detail["source"] == f"trigger {name}"
    assert f"{name}, release" in asked.detail["reason"]
    assert (await post.github(name, fresh(action="edited"))).json()["detail"] == "The filter leaves it out."
    assert (await post.github(name, fresh(action="published"), event="push")).status_code == 202
    assert [(row.state, row.reason) for row in await post.rows(name)] == [("filtered", "filtered")] * 2 + [("done", "")]
    assert len(await post.runs(name)) == 1


async def test_what_is_delivered_again_has_no_second_effect(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    body = json.dumps(fresh()).encode()
    first = await post.github(name, body, delivery="d-1")
    again = [await post.github(name, body, delivery="d-1"), await post.github(name, body, delivery="d-2")]
    renamed = await post.github(name, fresh(), delivery="d-1")
    assert first.status_code == 202
    assert [one.status_code for one in (*again, renamed)] == [409, 409, 409]
    together = json.dumps(fresh()).encode()
    answers = await asyncio.gather(*(post.github(name, together, delivery="d-9") for _ in range(20)))
    assert sorted(one.status_code for one in answers) == [202] + [409] * 19
    assert len(await post.runs(name)) == 2
    reasons = [row.reason for row in await post.rows(name) if row.state == "rejected"]
    assert sorted(set(reasons)) == ["repeated", "replayed"]
    assert len(reasons) == 22


async def test_whoever_proves_nothing_is_told_nothing(post: Post) -> None:
    """The same answer whether the id or the proof is wrong; another trigger's secret proves nothing here."""
    name, other = f"t-{uuid4().hex[:12]}", f"t-{uuid4().hex[:12]}"
    await post.add(name)
    await post.add(other, secret="another secret of 30 characters")
    wrong = [
        await post.github(name, fresh(), secret="another secret of 30 characters"),
        await post.send(name, b"{}"),
        await post.send(name, b"{}", {"x-hub-signature-256": "sha256="}),
        await post.send(uuid4(), b"{}"),
        await post.client.post("/hooks/none", content=b"{}", headers={"content-type": "application/json"}),
    ]
    assert {one.status_code for one in wrong} == {401}
    assert len({one.content for one in wrong}) == 1
    assert (await post.github(other, fresh(), secret="another secret of 30 characters")).status_code == 202

    async def counted() -> bool:
        return [(row.state, row.reason, row.count, row.body) for row in await post.rows(name)] == [("rejected", "webhook_denied", 3, None)]

    await until(counted, what="the row that shows it")
    assert await post.runs(name) == []


async def test_wrong_ids_and_wrong_proofs_take_equally_long(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    body = b'{"a":"' + b"x" * 200_000 + b'"}'
    spent: dict[bool, list[float]] = {True: [], False: []}
    for n in range(60):
        known = n % 2 == 0
        began = time.perf_counter()
        told = await post.send(name if known else uuid4(), body, {"x-hub-signature-256": "sha256=" + "0" * 64})
        spent[known].append(time.perf_counter() - began)
        assert told.status_code == 401
    best = [sorted(spent[one])[5] for one in (True, False)]
    assert max(best) < 1.5 * min(best), best


UNREADABLE: list[tuple[bytes, dict[str, str], int]] = [
    (b"{", {}, 400),
    (b'{"how":"gone","how":"x"}', {}, 400),
    (b'{"how":NaN}', {}, 400),
    (b"[]", {}, 400),
    (b"\xef\xbb\xbf{}", {}, 400),
    (b'{"a":' * 40 + b"1" + b"}" * 40, {}, 400),
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}, 400),
    (b"{}", {"content-type": "text/plain"}, 415),
    (b"{}", {"content-type": "application/json; charset=latin-1"}, 415),
    (b"how=gone", {"content-type": "application/x-www-form-urlencoded"}, 415),
    (gzip.compress(b"{}" + b" " * 10_000_000), {"content-encoding": "gzip"}, 415),
    (b" " * (256 * 1024 + 1), {}, 413),
    (b'{"other":1}', {}, 422),
    (b'{"how":{"a":1}}', {}, 422),
    (b'{"how":null}', {}, 422),
]


async def test_what_cannot_be_read_starts_nothing_and_leaves_a_row(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    for body, headers, status in UNREADABLE:
        told = await post.github(name, body, more=headers)
        assert told.status_code == status, (body[:40], told.text)
        assert told.json()["status"] == status

    async def shown() -> bool:
        return sum(row.count for row in await post.rows(name) if row.state == "rejected") == len(UNREADABLE)

    await until(shown, what="the rows that show it")
    assert await post.runs(name) == []
    assert (await post.client.get(f"/hooks/{post.triggers[name]}")).status_code == 405


async def test_a_secret_is_changed_without_a_gap(post: Post) -> None:
    name, new = f"t-{uuid4().hex[:12]}", "a new secret of thirty letters"
    await post.add(name)
    run = await post.ada.submit("trigger rotate", name=name, secret=new, overlap="1h")
    assert run.succeeded, run.outcome

    async def known() -> bool:
        return (await post.github(name, fresh(), secret=new)).status_code == 202

    await until(known, what="the web process knows the new secret")
    assert (await post.github(name, fresh())).status_code == 202
    await post.bot.later("2h")
    assert (await post.github(name, fresh(), secret=new)).status_code == 202


async def test_a_removed_trigger_is_like_none(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    run = await post.ada.say(f"trigger remove {name}")
    assert run.succeeded

    async def refused() -> bool:
        return (await post.github(name, fresh())).status_code == 401

    await until(refused, what="the web process has heard of it")


async def test_a_bearer_sender_may_send_the_same_again_later(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name, sender="bearer")
    shown = {"authorization": f"Bearer {SECRET}"}
    body = json.dumps(fresh()).encode()
    assert [(await post.send(name, body, shown)).status_code for _ in range(2)] == [202, 409]
    assert (await post.send(name, body, shown | {"x-delivery-id": "a"})).status_code == 202
    assert (await post.send(name, body, shown | {"x-delivery-id": "a"})).status_code == 409
    await post.bot.later("15m")
    assert (await post.send(name, body, shown)).status_code == 202
    assert len(await post.runs(name)) == 3


async def test_a_certificate_counts_through_the_named_proxy(bot_database: DatabaseUrls, tmp_path: Path) -> None:
    name = f"t-{uuid4().hex[:12]}"
    certificate = {"client-cert": ":aGVsbG8=:"}
    fingerprint = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # sha256sum of "hello"
    for proxies, status in (("10.1.0.0/16", 202), ("10.2.0.0/16", 401)):
        folder = tmp_path / proxies[:4]
        folder.mkdir()
        async with post_of(bot_database, folder, trusted_proxies=proxies) as post:
            await post.add(name + proxies[3], sender="certificate", secret=fingerprint)
            assert (await post.send(name + proxies[3], json.dumps(fresh()).encode(), certificate)).status_code == status


async def test_what_cannot_work_is_refused_when_it_is_written(post: Post) -> None:
    for how, said in (
        ({"mapping": "how=payload.a; how=1"}, "At character 20: how is given twice."),
        ({"mapping": "how=payload.("}, "how, from character 5 on: at character 9:"),
        ({"mapping": "who=payload.a; how=payload.b"}, "cart has no argument 'who'"),
        ({"mapping": ""}, "cart needs how"),
        ({"only": "payload.n + 1"}, "is a whole number, not a condition"),
        ({"run": "runs"}, "there is no command 'runs' that a trigger could run"),
        ({"account": "lin"}, "there is no service account named lin"),
        ({"secret": "short"}, "should be 16 to 200 characters"),
        ({"name": "Über uns"}, "should be lower-case letters"),
    ):
        given = {"name": "never", "sender": "github", "account": "svc-cart", "run": "cart", "secret": SECRET, "mapping": "how=payload.how"}
        run = await post.ada.submit("trigger add", **(given | how))
        assert not run.succeeded
        assert said in run.outcome, run.outcome


async def test_replay_says_what_another_mapping_would_have_done(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    for payload in (fresh(), fresh(other="gone"), {"nothing": str(uuid4())}):
        await post.github(name, payload)
    before = len(await post.runs(name))
    told = (await post.ada.ask(f"trigger replay {name}")).reply
    assert told.text == "Of the last 3: 2 would start a run, 1 would not fit."
    told = (await post.ada.ask(f"trigger replay {name} mapping='how=payload.other'")).reply
    assert told.text == "Of the last 3: 1 would start a run, 2 would not fit."
    assert [one["was"] for one in told.data["deliveries"]] == ["done", "done", "rejected (unmapped)"]
    told = (await post.ada.ask(f'trigger replay {name} only="has(payload.other)"')).reply
    assert told.text == "Of the last 3: 1 would start a run, 2 would be left out."
    told = (await post.ada.ask(f"trigger replay {name} mapping='how=payload.('")).reply
    assert "at character 9" in told.text
    assert len(await post.runs(name)) == before
    rejected = (await post.ada.ask(f"trigger deliveries {name} state=rejected")).reply
    assert "how: there is no how." in rejected.code
    assert "needs the permission countersign:triggers" in (await post.lin.ask(f"trigger replay {name}")).reply.text


async def test_nothing_secret_is_shown_or_stored(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    shown = (await post.ada.ask(f"trigger show {name}")).reply
    assert str(post.triggers[name]) in shown.code
    assert SECRET not in shown.model_dump_json()
    async with reading(post.bot.services.engine) as session:
        assert SECRET not in repr([one.detail for one in await search(session, limit=50)])


async def test_the_audit_counts_what_was_refused(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    hooks = post.client._transport.app  # type: ignore[attr-defined]
    await post.github(name, {"nothing": 1})
    await hooks._refusals.flush()
    async with reading(post.bot.services.engine) as session:
        found = [one for one in await search(session, limit=50) if one.kind == "request:refused" and one.detail.get("door") == "trigger"]
    assert "unmapped" in {one.detail["reason"] for one in found}


async def test_a_delivery_that_breaks_its_worker_is_parked_and_holds_up_no_other(post: Post) -> None:
    name = f"t-{uuid4().hex[:12]}"
    await post.add(name)
    for _ in range(3):
        await post.github(name, fresh())
    async with transaction(post.bot.owner) as session:
        spoiled = (
            "UPDATE deliveries SET body = '{' WHERE id = (SELECT id FROM deliveries WHERE trigger_id = :id ORDER BY received_at LIMIT 1)"
        )
        await session.execute(text(spoiled), {"id": post.triggers[name]})
    await post.bot.settle()
    assert [row.state for row in await post.rows(name)] == ["done", "done", "waiting"]
    for _ in range(3):
        await post.bot.later("31s")
    assert [(row.state, row.reason) for row in await post.rows(name)][-1] == ("failed", "parked")
    assert len(await post.runs(name)) == 2
