import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import create_model

from countersign import CountersignError, Integration, acts, reads
from countersign.errors import ActsWhilePlanning, Stopped
from countersign.integrations import taking_turns


class Fleet(Integration):
    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.calls: list[str] = []

    @reads
    async def version(self, service: str) -> str:
        return f"{service}:v1"

    @acts(repeat="idempotent")
    async def restart(self, service: str) -> str:
        """Restarts it."""
        self.calls.append(service)
        return service

    @acts(repeat="once")
    async def release(self, service: str) -> AsyncIterator[tuple[int, int]]:
        self.calls.append(service)
        for done in range(2):
            yield done, 2

    def _private(self) -> None: ...


class Named(Fleet):
    name = "fleet-two"


def planning() -> Fleet:
    fleet = Fleet(Fleet.Settings())
    fleet.planning = True
    return fleet


async def test_a_step_may_read_and_act() -> None:
    fleet = Fleet(Fleet.Settings())
    assert await fleet.version("api") == "api:v1"
    assert await fleet.restart("api") == "api"
    assert [done async for done, _ in fleet.release("web")] == [0, 1]
    assert fleet.calls == ["api", "web"]


async def test_a_planner_may_only_read() -> None:
    fleet = planning()
    assert await fleet.version("api") == "api:v1"
    with pytest.raises(ActsWhilePlanning, match=r"^fleet\.restart changes the world and cannot be called while planning$"):
        await fleet.restart("api")
    with pytest.raises(CountersignError, match=r"fleet\.release"):
        fleet.release("api")
    assert fleet.calls == []


def test_what_a_method_may_do_is_written_on_it() -> None:
    assert {name: getattr(Fleet, name).repeat for name in ("version", "restart", "release")} == {
        "version": "reads",
        "restart": "idempotent",
        "release": "once",
    }
    assert Fleet.restart.__doc__ == "Restarts it."


def test_an_integration_is_named_after_its_class_unless_it_says_otherwise() -> None:
    assert (Fleet.name, Named.name) == ("fleet", "fleet-two")


async def test_health_and_close_do_nothing_by_default() -> None:
    fleet = Fleet(Fleet.Settings())
    await fleet.health()
    await fleet.close()


async def undeclared(self: Any) -> None: ...


class Mixin:
    async def wipe(self) -> None: ...


@pytest.mark.parametrize(
    "members",
    [
        {"wipe": undeclared},
        {"wipe": staticmethod(undeclared)},
        {"wipe": classmethod(undeclared)},
        {"wipe": functools.partial(undeclared)},
        {"wipe": functools.lru_cache(undeclared)},
    ],
    ids=["method", "static", "class", "partial", "cached"],
)
def test_a_method_that_does_not_say_what_it_does_is_refused_at_import(members: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"wipe: say whether it @reads or @acts"):
        type("Broken", (Integration,), members)


def test_a_method_that_is_inherited_or_overridden_must_say_it_too() -> None:
    with pytest.raises(TypeError, match=r"wipe: say whether"):
        type("Mixed", (Mixin, Integration), {})
    with pytest.raises(TypeError, match=r"restart: say whether"):
        type("Quiet", (Fleet,), {"restart": undeclared})


def test_an_unknown_way_to_repeat_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="repeat should be one of idempotent, queryable, once"):
        acts(repeat="twice")  # type: ignore[arg-type]


async def test_every_asynchronous_call_takes_a_turn_first() -> None:
    fleet, turns = Fleet(Fleet.Settings()), list[str]()

    async def turn(one: Integration) -> None:
        turns.append(f"{one.name} before {len(fleet.calls)}")

    with taking_turns(turn):
        assert await fleet.version("api") == "api:v1"
        await fleet.restart("api")
        assert [done async for done, _ in fleet.release("web")] == [0, 1]
    await fleet.restart("db")
    assert turns == ["fleet before 0", "fleet before 0", "fleet before 1"]
    assert fleet.calls == ["api", "web", "db"]


async def test_what_is_stopped_while_a_call_waits_is_not_called() -> None:
    fleet = Fleet(Fleet.Settings())

    async def turn(one: Integration) -> None:
        one.stopped = "the fleet is stopped"

    with taking_turns(turn), pytest.raises(Stopped, match="the fleet is stopped"):
        await fleet.restart("api")
    assert fleet.calls == []


def test_a_rate_that_cannot_be_read_and_a_setting_of_that_name_are_refused_at_import() -> None:
    with pytest.raises(TypeError, match=r"Hasty.rate_limit='often': should be .* 30/minute"):
        type("Hasty", (Integration,), {"rate_limit": "often"})
    settings = create_model("Settings", rate_limit=(str, ""))
    with pytest.raises(TypeError, match="a setting that every integration has"):
        type("Twice", (Integration,), {"Settings": settings})
