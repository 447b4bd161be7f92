"""What waits is looked at together while that is worth it, and nobody takes an old look, or one that failed, for a new one."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import SimpleNamespace
from uuid import UUID

import pytest

from automations import lookouts
from automations.lookouts import Lookout, Sight
from automations.services import open_services
from store.journals import Bearing, Phase, StepKey
from store.people import Person
from tests.hubs import World, until


class Coast:
    """Ships by their names; one that is `gone` has changed."""

    def __init__(self) -> None:
        self.looks: list[list[str]] = []
        self.gone: set[str] = set()
        self.fog, self.worth = False, True
        self.lookout = Lookout(self.look, worth=lambda: self.worth)

    async def look(self, ships: Sequence[str]) -> list[bool]:
        self.looks.append([*ships])
        if self.fog:
            raise OSError
        return [one not in self.gone for one in ships]

    def watching(self, ship: str) -> AbstractContextManager[Sight[str]]:
        return self.lookout.watching(ship)

    async def look_again(self) -> None:
        """Until a look that began just now has ended."""
        before = len(self.looks)

        async def looked() -> bool:
            return len(self.looks) > before + 1

        await until(looked, what="somebody has looked")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a look is recent."""
    monkeypatch.setattr(lookouts, "RECENT_SECONDS", 60.0)


async def test_all_are_looked_at_together_and_each_hears_of_its_own() -> None:
    coast = Coast()
    with coast.watching("Ada") as ada, coast.watching("Lin") as lin, coast.watching("Kim") as kim:
        assert not ada.recent
        coast.gone = {"Lin"}
        await coast.look_again()
        assert (ada.recent, lin.recent, kim.recent) == (True, False, True)
        coast.gone = {"Kim"}
        await coast.look_again()
        assert (ada.recent, lin.recent, kim.recent) == (True, True, False)
    assert coast.looks[-1] == ["Ada", "Lin", "Kim"]
    await coast.lookout.close()


async def test_who_is_not_watched_any_more_is_not_looked_at() -> None:
    coast = Coast()
    with ExitStack() as watched:
        watched.enter_context(coast.watching("Ada"))
        with coast.watching("Lin"):
            await coast.look_again()
        await coast.look_again()
        assert coast.looks[-1] == ["Ada"]
    with coast.watching("Kim") as kim:
        await coast.look_again()
        assert coast.looks[-1] == ["Kim"]
        assert kim.recent
    await coast.lookout.close()


async def test_nobody_looks_while_it_is_not_worth_it() -> None:
    coast = Coast()
    coast.worth = False
    with coast.watching("Ada") as ada:
        await asyncio.sleep(3 * lookouts.EVERY_SECONDS)
        assert coast.looks == []
        assert not ada.recent
    await coast.lookout.close()


async def test_after_trouble_one_looks_again_and_nothing_new_is_known_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    coast = Coast()
    with coast.watching("Ada") as ada:
        coast.fog = True
        await coast.look_again()
        known = [ada.recent]
        assert "could not be looked at: OSError" in caplog.text
        coast.fog = False
        await coast.look_again()
        known.append(ada.recent)
        assert known == [False, True]
    await coast.lookout.close()


async def test_a_look_is_as_old_as_the_moment_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while it is under way may not have been seen."""
    now = [100.0]
    monkeypatch.setattr(lookouts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(lookouts, "RECENT_SECONDS", 0.03)
    answered, ended = asyncio.Event(), asyncio.Event()

    async def once(ships: Sequence[str]) -> list[bool]:
        await answered.wait()
        if ended.is_set():
            await asyncio.Event().wait()
        ended.set()
        return [True for _ in ships]

    lookout = Lookout(once, worth=lambda: True)
    with lookout.watching("Ada") as ada:
        await asyncio.sleep(0)
        now[0] += 0.02
        answered.set()
        await ended.wait()
        await asyncio.sleep(0)
        known = [ada.recent]
        now[0] += 0.02
        known.append(ada.recent)
        assert known == [True, False]
    await lookout.close()


async def test_a_worker_that_ends_leaves_no_lookout_behind(world: World) -> None:
    services, before = open_services(world.settings(role="worker"), name="looking", pool=1), asyncio.all_tasks()
    key = StepKey(UUID(int=1), 1, 0, Phase.do, 1)
    with services.lookout.watching((key, Bearing(None, None, "", "", Person("ada", True, frozenset(), frozenset()), 0.0))):
        await asyncio.sleep(0)
        await services.close()
        assert asyncio.all_tasks() == before
