"""What a taken-over web process tries with its own database role, beyond forging clicks: nothing of it is carried out."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from kit.bots import Bot, RunHandle
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls

COMMANDS = '''
from pathlib import Path

from countersign import Approval, Context, Plan, PlanningContext, command, step


@step(idempotent=True)
async def write(ctx: Context, where: str, words: str) -> None:
    Path(where).write_text(words)


@command("write", permission="write:run", approval=Approval(by="write:approve", count=1))
async def writing(ctx: PlanningContext, where: str, words: str) -> Plan:
    """Write words somewhere."""
    return Plan("write", write(where, words))
'''


@pytest.fixture
async def hub(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "writes.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        yield bot


async def _asked(hub: Bot, folder: Path) -> RunHandle:
    (ada,) = hub.cast("ada", may=["write:run"])
    hub.cast("lin", may=["write:approve"])
    run = await ada.say(f"write {folder / 'written'} hello")
    assert run.status == "awaiting_approval"
    return run


async def _as_web(hub: Bot, sql: str, run: RunHandle) -> None:
    async with transaction(hub.hub.engine) as session:
        await session.execute(text(sql), {"id": run.id})
    await hub.refresh()


async def test_a_run_queued_without_its_approval_is_asked_about_again(hub: Bot, tmp_path: Path) -> None:
    run = await _asked(hub, tmp_path)
    await _as_web(hub, "UPDATE runs SET status = 'queued', due_at = countersign_now() WHERE id = :id", run)
    assert run.status == "awaiting_approval"
    assert not (tmp_path / "written").exists()


async def test_a_run_said_to_be_running_is_not_carried_out(hub: Bot, tmp_path: Path) -> None:
    run = await _asked(hub, tmp_path)
    await _as_web(hub, "UPDATE runs SET status = 'running', due_at = countersign_now() WHERE id = :id", run)
    assert run.status == "interrupted"
    assert not (tmp_path / "written").exists()


async def test_a_plan_changed_after_it_was_signed_is_not_carried_out(hub: Bot, tmp_path: Path) -> None:
    run = await _asked(hub, tmp_path)
    other = """UPDATE runs SET plan = jsonb_set(plan, '{steps,0,arguments,words}', '"evil"') WHERE id = :id"""
    await _as_web(hub, other, run)
    lin = hub.cast("lin")[0]
    await lin.approve(run)
    assert not (tmp_path / "written").exists(), "the stored plan is not what was signed"
    await lin.approve(run)
    assert run.succeeded
    assert (tmp_path / "written").read_text() == "hello"
