"""What a step may hand to a later one without anybody seeing it."""

from pathlib import Path

from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.runs import find_run

COMMANDS = '''
from pathlib import Path

from countersign import Context, Plan, PlanningContext, Secret, command, step


@step(idempotent=True)
async def mint(ctx: Context) -> Secret:
    return Secret.parse("hunter2-canary")


@step(idempotent=True)
async def use(ctx: Context, password: Secret, where: str) -> None:
    Path(where).write_text(password.reveal())


@command("mint", permission="mint:run", risk="low")
async def minting(ctx: PlanningContext, where: str) -> Plan:
    """Make a password and use it."""
    made = mint()
    return Plan("mint", made, use(made.result, where))
'''


async def test_a_secret_made_by_a_step_reaches_a_later_one_and_nobody_else(bot_database: DatabaseUrls, tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "mints.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        (ada,) = bot.cast("ada", may=["mint:run"])
        run = await ada.say(f"mint {tmp_path / 'used'}")
        assert run.succeeded, run.outcome
        assert (tmp_path / "used").read_text() == "hunter2-canary"
        async with reading(bot.services.engine) as session:
            row = await find_run(session, run.id)
        assert row is not None
        assert "hunter2" not in repr((row.plan, row.result, row.outcome)) + (await bot.card(run)).model_dump_json()
