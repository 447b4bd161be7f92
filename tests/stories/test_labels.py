"""A command for one data centre: its runs wait for a worker there, say so, cost nothing meanwhile, and go on when one comes."""

from uuid import UUID, uuid4

from bot.hubs import open_hub
from commands.stories import tell
from countersign.invocations import Door, Invocation, Place
from store.databases import reading
from store.people import find_person
from store.runs import find_run
from tests.hubs import World, disposing, until

SOURCE = '''
"""A rack."""

from countersign import Context, command, action


@action("rack restart", permission="rack:restart", risk="low", runs_on="dc2")
async def restart(ctx: Context, host: str) -> str:
    """Restart a host."""
    return f"{host} is back"


@action("ping", permission="rack:restart", risk="low")
async def ping(ctx: Context) -> str:
    """Say something."""
    return "pong"
'''
POLICY = """
profile: strict
people: {ada: {groups: [staff]}}
roles: {keeper: ["rack:restart"]}
groups: {staff: [keeper]}
"""


async def test_a_run_waits_for_a_worker_with_its_label(world: World) -> None:
    world.policy = POLICY
    await world.prepare()
    folder = world.folder / "commands"
    folder.mkdir()
    (folder / "racks.py").write_text(SOURCE)
    world.extra |= {"COUNTERSIGN_COMMANDS": str(folder)}
    async with open_hub(world.settings()) as hub, disposing(world.engine()) as engine:

        async def ask(line: str) -> UUID:
            async with reading(engine) as session:
                ada = await find_person(session, "ada")
            assert ada is not None
            answer = await hub.submit(ada, Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=line))
            assert answer.run_id is not None, answer.reply.text
            return answer.run_id

        async def status(run: UUID) -> str:
            async with reading(engine) as session:
                found = await find_run(session, run)
            assert found is not None
            return found.status

        async def card(run: UUID) -> str:
            async with reading(engine) as session:
                found = await find_run(session, run)
                assert found is not None
                return (await tell(session, found)).text

        async def ended(run: UUID) -> bool:
            return await status(run) == "succeeded"

        with world.workers():
            run = await ask("rack restart h7")
            assert "no worker with the label dc2 is running" in await card(run)
            other = await ask("ping")
            await until(lambda: ended(other), what="a run without a label")
            assert await status(run) == "submitted"
        world.extra |= {"COUNTERSIGN_LABELS": "dc2, gpu"}
        with world.workers():
            other = await ask("ping")
            await until(lambda: ended(run), what="the run with the label")
            await until(lambda: ended(other), what="a run without one")
        assert "no worker" not in await card(run)
