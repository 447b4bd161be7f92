"""What is asked is changed before it is carried out: planned anew, earlier votes void, everybody told, and never what was not approved."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from bot.presses import Press
from countersign.invocations import Door
from kit.bots import Bot
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from tests.stories.ships import book, cast, fields, form, open_crew, row, told


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_crew(bot_database, tmp_path) as bot:
        yield bot


async def test_an_edit_is_planned_and_approved_anew_and_everybody_is_told(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, max_, _ = cast(crew)
    run = await ada.say("ship tea where=prod")
    old = run.digest
    await lin.approve(run, expect="1 more person has to approve")
    await kim.edit(run, what="coffee", where="prod", expect="earlier votes are void")
    assert run.status == "awaiting_approval"
    assert run.digest != old
    assert run.summary == "coffee goes to prod"
    assert run.changed == ["what: tea → coffee", "ship(what=tea, where=prod) → ship(what=coffee, where=prod)", "now: coffee goes to prod"]
    assert [one for one in run.trail if one in ("edit:made", "run:submitted")] == ["run:submitted", "run:submitted", "edit:made"]
    card = await crew.card(run)
    assert "changed by kim: what: tea → coffee" in card.code
    assert (await fields(crew, run))["Asked by"] == "ada (changed by kim)"
    assert (await fields(crew, run))["Approvals"] == "0 of 2"
    assert "kim changed what: tea → coffee. Your vote does not count any more" in (await told(crew, "lin", run))[-1].text
    assert "kim changed what: tea → coffee. Its new plan follows" in (await told(crew, "ada", run))[-1].text
    assert await told(crew, "kim", run) == []
    await kim.approve(run, expect="You changed this request last")
    await lin.approve(run, digest=old, expect="The plan has changed since this card was shown")
    await lin.approve(run, expect="1 more person has to approve")
    await max_.approve(run, expect="it starts now")
    assert run.succeeded
    assert book(tmp_path) == ["coffee to prod"]
    for place, lines in (await crew.beneath(run)).items():
        assert lines == [
            "lin approves",
            "kim changes what: tea → coffee",
            "lin approves",
            "max approves",
        ], place


async def test_what_is_typed_changes_only_what_it_names(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea where=prod")
    number = (await row(crew, run)).number
    await ada.do(f"edit {number} --where mars urgent=yes", expect="Changed where: prod → mars; urgent: no → yes")
    assert (await row(crew, run)).arguments == {"what": "tea", "where": "mars", "urgent": True}
    assert (await row(crew, run)).origins == {"what": "typed", "where": "typed", "urgent": "typed"}
    await ada.do(f"edit {number} where=", expect="where: mars → staging")
    assert (await row(crew, run)).origins["where"] == "default"
    assert (await crew.card(run)).title == f"#{number} ship what=tea where=staging (default) urgent=yes"
    await ada.do(f'edit {number} "what=green tea"', expect="what: tea → green tea")
    await lin.approve(run)
    await kim.approve(run)
    assert book(tmp_path) == ["green tea to staging"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("where=staging", "nothing was changed"),
        ("how=fast", "'how=fast' changes nothing: write name=value for arguments of ship (what, where, urgent)."),
        ("coffee", "'coffee' changes nothing"),
        ("urgent=perhaps", "urgent: "),
        ("what=", "what: is required"),
        ("what=a what=b", "what is given twice"),
        ("--where", "--where needs a value"),
    ],
)
async def test_what_does_not_fit_changes_nothing(crew: Bot, typed: str, sentence: str) -> None:
    ada, *_ = cast(crew)
    run = await ada.say("ship tea")
    await ada.do(f"edit {run.id} {typed}", expect=sentence)
    assert (await row(crew, run)).edited_by is None
    assert run.trail.count("run:submitted") == 1


async def test_who_may_change_it_and_when(crew: Bot) -> None:
    ada, lin, kim, _, eve = cast(crew)
    run = await ada.say("ship tea")
    await eve.do(f"edit {run.id} what=coffee", expect="Only ada and those who may approve it can change run")
    await eve.send("edit", run.id, what="coffee", expect="Only ada")
    assert run.trail.count("edit:refused") == 2
    await eve.do(f"edit {uuid4()} what=coffee", expect="There is no such run.")
    await lin.approve(run)
    await kim.approve(run)
    assert run.succeeded
    await ada.do(f"edit {run.id} what=coffee", expect="has ended already: succeeded")
    denied = await ada.say("ship tea")
    await lin.deny(denied, reason="no")
    await ada.edit(denied, what="coffee", expect="has ended already: denied")


async def test_the_asker_must_be_allowed_what_others_make_of_it(crew: Bot) -> None:
    crew.policy(rules=[{"name": "mars", "command": "ship", "when": {"where": "mars"}, "people": ["ada"], "deny": "Not you, not Mars."}])
    ada, lin, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.do(f"edit {run.id} where=mars", expect="ada asked for this and may not ask for that: Not you, not Mars.")
    assert run.status == "awaiting_approval"
    assert "edit:refused" in run.trail


async def test_an_editor_votes_where_the_rule_lets_them_and_the_card_says_so(crew: Bot, tmp_path: Path) -> None:
    crew.policy(rules=[{"name": "parcels", "command": "parcel", "approve": {"by": "ship:approve", "editor_may": True}}])
    ada, lin, *_ = cast(crew)
    run = await ada.say("parcel tea")
    await lin.edit(run, what="coffee", where="prod")
    await lin.approve(run, expect="it starts now")
    assert run.succeeded
    assert (await fields(crew, run))["Approvals"] == "1 of 1: lin (changed it)"


async def test_a_secret_is_changed_only_by_form_and_stays_when_it_is_left_empty(crew: Bot, tmp_path: Path) -> None:
    ada, lin, *_ = cast(crew)
    run = await ada.submit("rotate", name="api", value="s3cret-one")
    shown = await form(crew, ada, "edit", run.id)
    assert [(one.name, one.kind, one.required, one.initial) for one in shown.inputs] == [
        ("name", "text", True, "api"),
        ("value", "secret", False, ""),
    ]
    await ada.do(f"edit {run.id} value=s3cret-two", expect="a secret is never typed into chat")
    await ada.edit(run, name="web", expect="name: api → web")
    old = run.digest
    await ada.edit(run, name="web", value="s3cret-two", expect="value: •••••• → ••••••")
    assert run.digest != old
    await lin.approve(run)
    assert book(tmp_path) == ["web is s3cret-two"]
    async with reading(crew.services.engine) as session:
        everything = ""
        for table in ("runs", "audit_events", "messages", "conversations", "inbox"):
            everything += " ".join(await session.scalars(text(f"SELECT t::text FROM {table} t")))  # noqa: S608  names of tables
    assert "s3cret" not in everything


async def test_a_form_that_was_opened_before_another_edit_changes_nothing(crew: Bot) -> None:
    ada, lin, *_ = cast(crew)
    run = await ada.say("ship tea where=prod")
    shown = await form(crew, ada, "edit", run.id)
    await lin.edit(run, what="coffee", where="prod")
    await ada.edit(run, what="tea", where="mars", digest=shown.carried["digest"], expect="The plan has changed since this was shown")
    assert run.summary == "coffee goes to prod"


async def test_a_form_that_does_not_fit_comes_again_and_says_where(crew: Bot) -> None:
    ada, *_ = cast(crew)
    run = await ada.say("ship tea")
    press = Press(str(uuid4()), "edit", str(run.id), Door.browser, digest=run.digest, answers={"what": "coffee", "urgent": "perhaps"})
    reply = await crew.hub.press(await crew.person("ada"), press)
    assert reply.form is not None
    assert list(reply.form.problems) == ["urgent"]
    assert [one.initial for one in reply.form.inputs][:1] == ["coffee"]


async def test_an_edit_that_cannot_be_planned_ends_there_and_says_why(crew: Bot) -> None:
    ada, *_ = cast(crew)
    run = await ada.say("ship tea")
    await ada.do(f"edit {run.id} what=nothing")
    assert run.status == "failed"
    assert run.outcome == "There is nothing to ship."


async def test_an_approved_run_is_changed_before_a_worker_begins_it(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, max_, _ = cast(crew)
    run = await ada.say("ship tea")
    async with crew.held():
        await lin.approve(run)
        await kim.approve(run, expect="it starts now")
        assert run.status == "queued"
        await ada.do(f"edit {run.id} what=coffee", expect="earlier votes are void")
    await crew.refresh()
    assert run.status == "awaiting_approval"
    assert book(tmp_path) == []
    await lin.approve(run)
    await max_.approve(run)
    assert book(tmp_path) == ["coffee to staging"]


async def test_an_old_approval_put_back_by_hand_carries_nothing(crew: Bot, tmp_path: Path) -> None:
    """What somebody who took the web process over could write: the run queued again, its old request approved again."""
    ada, lin, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.approve(run)
    await ada.do(f"edit {run.id} what=coffee")
    async with transaction(crew.hub.engine) as session:
        await session.execute(text("UPDATE approval_requests SET state = 'approved' WHERE run_id = :id"), {"id": run.id})
        await session.execute(text("UPDATE runs SET status = 'queued', due_at = countersign_now() WHERE id = :id"), {"id": run.id})
    await crew.refresh()
    assert run.status == "awaiting_approval"
    assert book(tmp_path) == []
