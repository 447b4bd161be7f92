"""Ada deploys, Lin and Kim approve, Eve may not: on the real engine, with real folders and a real server."""

from pathlib import Path

import pytest

from countersign_deploys.server import Server
from countersign_deploys.sites import Env, Site
from kit.bots import Bot, Member

RUNBOOKS = Path(__file__).parents[1] / "runbooks"


@pytest.fixture
def fleet(site: Site, server: Server, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, named by the environment as a worker's is; asked for before `bot`, which reads it."""
    monkeypatch.setenv("COUNTERSIGN_FLEET__ROOT", str(site.root))
    monkeypatch.setenv("COUNTERSIGN_FLEET__URL", server.url)
    monkeypatch.setenv("COUNTERSIGN_FLEET__CHECKS", "2")
    monkeypatch.setenv("COUNTERSIGN_FLEET__PAUSE", "0.01s")
    monkeypatch.setenv("COUNTERSIGN_RUNBOOKS", str(site.root / "runbooks"))
    return site


@pytest.fixture
def cast(fleet: Site, bot: Bot) -> tuple[Member, Member, Member]:
    ada, lin, kim = bot.cast("ada", "lin", "kim", may=["deploy:run", "deploy:read", "deploy:approve", "countersign:approve"])
    return ada, lin, kim


async def test_staging_deploys_at_once_and_moves_the_link(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    run = await ada.say("/deploy api v2")
    assert run.succeeded, run.outcome
    assert run.summary == "api in staging: v1 → v2"
    assert fleet.current("api", Env.staging) == "v2"
    assert fleet.current("api", Env.prod) == "v1"


async def test_prod_needs_two_others(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, kim = cast
    run = await ada.say("/deploy api v2 env=prod")
    assert run.status == "awaiting_approval"
    await ada.approve(run, expect="someone else must approve your request")
    await lin.approve(run)
    assert run.status == "awaiting_approval"
    assert fleet.current("api", Env.prod) == "v1"
    await kim.approve(run)
    assert run.succeeded, run.outcome
    assert run.trail[-1] == "run:succeeded"
    assert fleet.current("api", Env.prod) == "v2"


async def test_a_rollout_moves_every_service_that_has_the_release(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, kim = cast
    run = await ada.say("/rollout v3 env=prod")
    assert run.summary == "api, web in prod → v3"
    await lin.approve(run)
    await kim.approve(run)
    assert run.succeeded, run.outcome
    assert {fleet.current(service, Env.prod) for service in ("api", "web")} == {"v3"}
    again = await ada.say("/rollout v3 env=prod")
    assert (again.status, again.outcome) == ("failed", "Every service that has a release v3 runs it in prod already.")


async def test_one_sick_service_takes_the_whole_rollout_back(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    await ada.say("/deploy api v2")
    run = await ada.say("/rollout broken")
    assert run.status == "rolled_back"
    assert "has no index.html" in run.outcome
    assert (fleet.current("api", Env.staging), fleet.current("web", Env.staging)) == ("v2", "v1")


async def test_a_denied_deploy_moves_nothing(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, kim = cast
    run = await ada.say("/deploy web v3 env=prod")
    await lin.approve(run)
    await kim.deny(run, reason="Not on a Friday")
    assert run.status == "denied"
    assert fleet.current("web", Env.prod) == "v1"


async def test_eve_may_not_deploy(fleet: Site, bot: Bot) -> None:
    (eve,) = bot.cast("eve")
    run = await eve.say("/deploy api v2")
    assert run.status == "refused"
    assert "deploy:run" in run.outcome
    assert fleet.current("api", Env.staging) == "v1"


async def test_a_broken_release_is_taken_back_by_itself(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    run = await ada.say("/deploy web broken")
    assert run.status == "rolled_back"
    assert "has no index.html" in run.outcome
    assert fleet.current("web", Env.staging) == "v1"
    (_, second) = [line for line in run.log if "fingerprint" in line]
    assert "web v1" in second


async def test_a_world_that_changed_after_the_approval_asks_again(fleet: Site, bot: Bot, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, kim = cast
    run = await ada.say("/deploy api v2 env=prod")
    await lin.approve(run)
    fleet.point("api", Env.prod, "v3")
    before = run.digest
    await kim.approve(run)
    assert "run:stale" in run.trail
    assert run.status == "awaiting_approval"
    assert run.digest != before
    assert run.summary == "api in prod: v3 → v2"
    assert fleet.current("api", Env.prod) == "v3"
    await lin.approve(run)
    await kim.approve(run)
    assert run.succeeded, run.outcome
    assert fleet.current("api", Env.prod) == "v2"


async def test_a_dry_run_only_shows_the_plan(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    run = await ada.say("/deploy api v2 env=prod", dry_run=True)
    assert run.status == "answered"
    assert fleet.current("api", Env.prod) == "v1"


async def test_an_unknown_release_names_the_known_ones(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    run = await ada.say("/deploy api v9")
    assert run.status == "failed"
    assert "There are: broken, v1, v2, v3." in run.outcome


async def test_deploys_answers_with_what_runs_where(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    run = await ada.say("/deploys")
    assert run.answer is not None
    assert run.answer.code.splitlines()[1] == "api      v1       v1    broken v1 v2 v3"


async def test_a_cleared_cache_is_gone(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, _, _ = cast
    kept = fleet.root / "cache" / "api"
    kept.mkdir(parents=True)
    for name in ("v1.html.gz", "v2.html.gz", "notes.txt"):
        (kept / name).write_text("x")
    run = await ada.say("/clear-cache api")
    assert run.succeeded, run.outcome
    assert [one.name for one in kept.iterdir()] == ["notes.txt"]
    assert any("2 copies removed" in line for line in run.log)
    again = await ada.say("/clear-cache web")
    assert again.succeeded, again.outcome


async def test_maintenance_is_previewed_approved_and_seen_by_visitors(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, _ = cast
    run = await ada.say("""/maintenance web on env=prod note="Ada's upgrade <soon>" """)
    assert run.status == "awaiting_approval"
    assert fleet.closed("web", Env.prod) is None
    await lin.approve(run)
    assert run.succeeded, run.outcome
    assert fleet.closed("web", Env.prod) == "Ada's upgrade <soon>"
    again = await ada.say("/maintenance web on env=prod")
    assert again.status == "failed"
    assert "Maintenance of web in prod is on already." in again.outcome
    run = await ada.say("/maintenance web off env=prod")
    await lin.approve(run)
    assert run.succeeded, run.outcome
    assert fleet.closed("web", Env.prod) is None


async def test_the_undo_of_a_runbook_is_rehearsed_too(fleet: Site, cast: tuple[Member, Member, Member], bot: Bot) -> None:
    ada, lin, _ = cast
    bot.cast("ada", may=["countersign:rehearse", "countersign:use"])
    run = await ada.say("/rehearse maintenance")
    for number in (2, 3):  # the run on the safe target and its undo: both are of high risk
        assert "has to end" in (await bot.card(run)).text
        await lin.do(f"approve {number}", expect="approved")
    assert run.succeeded, run.outcome
    assert fleet.closed("web", Env.staging) is None
    asked = await ada.say("/maintenance web on env=prod")
    assert [one.value for one in (await bot.card(asked)).fields if one.label == "Undo"] == ["verified today"]
    await lin.deny(asked)


async def test_maintenance_that_somebody_else_began_makes_the_run_stale(fleet: Site, cast: tuple[Member, Member, Member]) -> None:
    ada, lin, _ = cast
    run = await ada.say("/maintenance web off env=prod")
    assert run.status == "failed"
    (fleet.root / "prod" / "web" / "maintenance").write_text("first note\n")
    run = await ada.say("/maintenance web off env=prod")
    (fleet.root / "prod" / "web" / "maintenance").write_text("second note\n")
    await lin.approve(run)
    assert run.status == "awaiting_approval"
    assert fleet.closed("web", Env.prod) == "second note"


async def test_the_undo_is_rehearsed_in_staging_and_a_request_for_prod_says_so(
    fleet: Site, cast: tuple[Member, Member, Member], bot: Bot
) -> None:
    ada, _, _ = cast
    bot.cast("ada", may=["countersign:rehearse", "countersign:use"])
    run = await ada.say("/rehearse deploy")
    assert run.succeeded, run.outcome
    assert fleet.current("web", Env.staging) == "v1"
    asked = await ada.say("/deploy web v2 env=prod")
    assert [one.value for one in (await bot.card(asked)).fields if one.label == "Undo"] == ["verified today"]
