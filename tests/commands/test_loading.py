"""A policy that cannot be loaded leaves the one before it in force, and says so once to every admin."""

import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from commands.loading import Loaded, load_policy, tell_admins
from commands.policies import PolicyError
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.policies import apply_policy
from tests.commands.desks import POLICY, Desk, open_desk
from tests.commands.samples import COMMANDS


@pytest.fixture
async def office(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk with a database of its own: what is done to policies here concerns nobody else."""
    async with open_desk(database, tmp_path) as made:
        yield made


async def loaded(office: Desk, known: Loaded | None = None) -> Loaded:
    async with reading(office.web) as session:
        return await load_policy(session, COMMANDS, known=known)


async def apply(office: Desk, body: str, *, digest: str = "") -> str:
    digest = digest or hashlib.sha256(body.encode()).hexdigest()
    async with transaction(office.worker) as session:
        await apply_policy(session, digest=digest, body=body, by="max")
    return digest


async def test_the_policy_that_was_applied_last_counts(office: Desk) -> None:
    first = await loaded(office)
    assert (first.policy.body, first.problem) == (POLICY, "")
    assert (await loaded(office, first)).policy is first.policy
    digest = await apply(office, f"{POLICY}# {uuid4()}\n")
    assert (await loaded(office, first)).policy.digest == digest


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("profil: team", "policy line 1: profil is not a key that is known here"),
        (
            "rules: [{name: a, risk: low, if: 'true ||', deny: x, undeny: y}]",
            "policy line 1: rules.0.undeny is not a key that is known here",
        ),
        ("[", "policy line 1: not YAML"),
    ],
)
async def test_one_that_cannot_be_loaded_leaves_the_one_before_in_force(
    office: Desk, body: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = await loaded(office)
    digest = await apply(office, body)
    with caplog.at_level(logging.ERROR):
        running = await loaded(office, before)
        again = await loaded(office, running)
        restarted = await loaded(office)
    assert running.policy is before.policy
    assert running.problem.startswith(f"The policy {digest[:12]} that was applied last cannot be loaded: {why}")
    assert running.problem.endswith(f"{before.policy.digest[:12]}, the one before it, stays in force.")
    assert again == running
    assert (restarted.policy.body, restarted.problem) == (POLICY, running.problem)
    assert [one.message for one in caplog.records] == [running.problem] * 2
    await apply(office, POLICY)
    assert (await loaded(office, running)).problem == ""


async def test_a_text_that_nobody_approved_is_not_taken_for_the_one_that_was(office: Desk) -> None:
    before = await loaded(office)
    await office.execute("UPDATE policies SET body = body || '# all for eve' WHERE in_force")
    assert (await loaded(office, before)).policy is before.policy
    with pytest.raises(PolicyError, match="its text is not the one that was applied"):
        await loaded(office)


async def test_every_admin_is_told_once(office: Desk) -> None:
    before = await loaded(office)
    digest = await apply(office, "profil: team")
    found = await loaded(office, before)
    told = []
    for _ in range(2):
        async with transaction(office.worker) as session:
            told.append(await tell_admins(session, found, chat="room"))
    assert told == [True, False]
    async with reading(office.web) as session:
        rows = (await session.execute(text("SELECT person, card->>'text' AS said FROM messages WHERE kind = 'reply'"))).all()
    assert [(one.person, one.said) for one in rows] == [("max", f"{found.problem} Apply it again, or another one.")]
    (event,) = await office.events("policy:not_loaded")
    assert (event.detail["digest"], event.detail["in_force"], event.detail["told"]) == (digest, before.policy.digest, ["max"])
    async with transaction(office.worker) as session:
        assert not await tell_admins(session, before, chat="room")
