import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from countersign import CountersignError, Integration, acts, reads
from countersign.errors import ActsWhilePlanning


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
