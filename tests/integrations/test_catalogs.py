"""Integrations are opened once, from the environment, and a wrong variable is named with a right one."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from countersign import Duration, Integration, StepFailed, acts, reads
from countersign.contexts import Opener
from countersign.errors import ActsWhilePlanning
from integrations.catalogs import Catalog, IntegrationSettingWrong, settings_of
from integrations.http import Http


class Fleet(Integration):
    class Settings(BaseModel):
        token: SecretStr
        regions: list[str] = ["eu"]
        size: int = Field(10, ge=1)
        wait: Duration = Duration(seconds=5)
        limits: dict[str, int] = {}
        strict: bool = False

    closed = 0
    trouble: Exception | None = None

    @reads
    async def count(self) -> int:
        return int(self.settings.size)

    @acts(repeat="once")
    async def grow(self) -> None:
        self.settings.regions.append("more")

    async def health(self) -> None:
        if self.trouble:
            raise self.trouble

    async def close(self) -> None:
        self.closed += 1


RIGHT = {"COUNTERSIGN_FLEET__TOKEN": "canary-token"}


async def test_one_instance_for_planning_and_one_for_executing() -> None:
    catalog = Catalog(RIGHT)
    opener: Opener = catalog
    planning, executing = opener(Fleet, planning=True), opener(Fleet, planning=False)
    assert planning is catalog(Fleet, planning=True)
    assert executing is catalog(Fleet, planning=False)
    assert (planning.planning, executing.planning) == (True, False)
    assert await planning.count() == 10
    with pytest.raises(ActsWhilePlanning):
        await planning.grow()
    await executing.grow()
    await catalog.close()
    assert (planning.closed, executing.closed) == (1, 1)
    assert catalog(Fleet, planning=True) is not planning


def test_settings_come_from_the_environment() -> None:
    settings: Any = settings_of(
        Fleet,
        RIGHT
        | {
            "COUNTERSIGN_FLEET__REGIONS": "eu, us ,",
            "COUNTERSIGN_FLEET__SIZE": " 3 ",
            "COUNTERSIGN_FLEET__WAIT": "2m",
            "COUNTERSIGN_FLEET__LIMITS": '{"eu": 4}',
            "COUNTERSIGN_FLEET__STRICT": "yes",
            "COUNTERSIGN_FLEETS__OTHER": "not ours",
        },
    )
    assert (settings.regions, settings.size, str(settings.wait), settings.limits, settings.strict) == (
        ["eu", "us"],
        3,
        "2m",
        {"eu": 4},
        True,
    )
    listed: Any = settings_of(Fleet, RIGHT | {"COUNTERSIGN_FLEET__REGIONS": '["a,b"]', "COUNTERSIGN_FLEET__SIZE": ""})
    assert (listed.regions, listed.size) == (["a,b"], 10)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("COUNTERSIGN_FLEET__TOKEN", "", "COUNTERSIGN_FLEET__TOKEN is required, for instance COUNTERSIGN_FLEET__TOKEN=…"),
        ("COUNTERSIGN_FLEET__SIZE", "0", "SIZE should be greater than or equal to 1, for instance COUNTERSIGN_FLEET__SIZE=10"),
        ("COUNTERSIGN_FLEET__SIZE", "many", "SIZE should be a valid integer, .* for instance COUNTERSIGN_FLEET__SIZE=10"),
        ("COUNTERSIGN_FLEET__WAIT", "5", "WAIT should be a duration such as 90s, .* for instance COUNTERSIGN_FLEET__WAIT=5s"),
        ("COUNTERSIGN_FLEET__REGIONS", "[eu", "REGIONS should be a valid list, for instance COUNTERSIGN_FLEET__REGIONS=eu"),
        ("COUNTERSIGN_FLEET__LIMITS", "4", "LIMITS should be a valid dictionary"),
        ("COUNTERSIGN_FLEET__SISE", "1", "COUNTERSIGN_FLEET__SISE is not a setting of fleet; there are: COUNTERSIGN_FLEET__TOKEN, "),
    ],
)
def test_a_wrong_variable_is_named_with_a_right_one(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(IntegrationSettingWrong, match=sentence) as wrong:
        Catalog(RIGHT | {variable: value})(Fleet, planning=False)
    assert "canary-token" not in str(wrong.value)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "ALLOW",
            "https://api.example.test",
            "ALLOW 'https://api.example.test' should be a host or host:port, .*=api.example.test,grafana",
        ),
        ("PRIVATE", "api.example.test:80=10.0.0.5", "PRIVATE api.example.test:80 may use a private address but is not allowed itself"),
        ("TIMEOUT", "soon", "TIMEOUT should be a duration .*, for instance COUNTERSIGN_HTTP__TIMEOUT=30s"),
        ("MAX_BYTES", "0", "MAX_BYTES should be greater .*, for instance COUNTERSIGN_HTTP__MAX_BYTES=1048576"),
    ],
)
def test_the_settings_of_http_explain_themselves(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(IntegrationSettingWrong, match=f"^COUNTERSIGN_HTTP__{sentence}"):
        settings_of(Http, {f"COUNTERSIGN_HTTP__{variable}": value})


async def test_health_tells_of_each_one_and_survives_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Integration):
        async def health(self) -> None:
            await asyncio.Event().wait()

    class Broken(Integration):
        async def health(self) -> None:
            raise ValueError("password=canary")

    monkeypatch.setattr("integrations.catalogs.HEALTH_SECONDS", 0.05)
    catalog = Catalog(RIGHT)
    assert await catalog.health() == {}
    catalog(Fleet, planning=True)
    assert await catalog.health() == {"fleet": ""}
    catalog(Fleet, planning=False).trouble = StepFailed("the fleet answers nobody")
    catalog(Slow, planning=True)
    catalog(Broken, planning=True)
    assert await catalog.health() == {
        "fleet": "the fleet answers nobody",
        "slow": "slow did not answer within 0.05 s",
        "broken": "broken failed with ValueError",
    }


async def test_one_that_does_not_close_does_not_keep_the_others_open() -> None:
    class Stuck(Integration):
        async def close(self) -> None:
            raise OSError("still busy")

    catalog = Catalog(RIGHT)
    catalog(Stuck, planning=False)
    fleet = catalog(Fleet, planning=False)
    with pytest.raises(BaseExceptionGroup, match="did not close"):
        await catalog.close()
    assert fleet.closed == 1


class Paced(Integration):
    rate_limit = "5/second"


@pytest.mark.parametrize(("said", "rate"), [("30/minute", "30 a minute"), ("none", "None"), ("", "5 a second")])
def test_an_operator_says_how_often_an_integration_may_be_called(said: str, rate: str) -> None:
    catalog = Catalog({"COUNTERSIGN_PACED__RATE_LIMIT": said})
    assert str(catalog(Paced, planning=True).rate_in_force) == str(catalog(Paced, planning=False).rate_in_force) == rate


def test_a_wrong_rate_is_named_with_a_right_one() -> None:
    with pytest.raises(IntegrationSettingWrong, match=r"COUNTERSIGN_PACED__RATE_LIMIT should be .* 30/minute"):
        Catalog({"COUNTERSIGN_PACED__RATE_LIMIT": "often"})(Paced, planning=False)
