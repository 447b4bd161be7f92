"""What the planner shows, refuses and watches, and what each step does to the folders and the server."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from countersign import Asker, Context, Plan, PlanningContext, PlanRefused, Reply, StepFailed
from countersign.artifacts import Artifact
from countersign.plans import plan_digest
from countersign_deploys import Env, check_health, deploy, deploys, release
from countersign_deploys.commands import known_services, known_versions
from countersign_deploys.sites import Site
from integrations.catalogs import Catalog

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ADA = Asker("ada")


class Notes:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, float, str]] = []
        self.lines: list[str] = []

    async def progress(self, done: float, total: float, note: str) -> None:
        self.pieces.append((done, total, note))

    async def log(self, line: str) -> None:
        self.lines.append(line)

    async def artifact(self, artifact: Artifact) -> None:
        """This plugin leaves no files."""


@pytest.fixture
def planning(catalog: Catalog) -> Callable[[], PlanningContext]:
    return lambda: PlanningContext(asker=ADA, now=NOW, seed=1, opener=catalog)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def executing(catalog: Catalog, notes: Notes) -> Context:
    async def never() -> bool:
        return False

    return Context(asker=ADA, now=NOW, key="run:0", seed=1, opener=catalog, journal=notes, cancelled=never)


async def planned(ctx: PlanningContext, service: str, version: str, env: Env = Env.staging) -> dict[str, Any]:
    plan = await deploy.function(ctx, service, version, env)
    assert isinstance(plan, Plan)
    return plan.as_json() | {"watched": plan.as_json()["watched"] | ctx.watched}


async def test_the_plan_shows_the_change_and_how_it_is_taken_back(planning: Callable[[], PlanningContext]) -> None:
    plan = await planned(planning(), "api", "v2", Env.prod)
    assert plan["summary"] == "api in prod: v1 → v2"
    first, second = plan["steps"]
    assert first["arguments"] == {"service": "api", "env": "prod", "version": "v2"}
    assert first["undo"]["arguments"]["version"] == "v1"
    assert first["idempotent"]
    assert first["undo"]["idempotent"]
    assert second["name"].endswith(".check_health")
    assert second["undo"] is None
    assert plan["watched"]["current api"] == "v1"


async def test_planning_moves_nothing_and_is_the_same_twice(planning: Callable[[], PlanningContext], site: Site) -> None:
    assert await planned(planning(), "api", "v2") == await planned(planning(), "api", "v2")
    assert site.current("api", Env.staging) == "v1"


@pytest.mark.parametrize("changed", ["another version runs", "the release was built again"])
async def test_a_changed_world_makes_another_digest(planning: Callable[[], PlanningContext], site: Site, changed: str) -> None:
    arguments = {"service": "api", "version": "v2", "env": "prod"}
    before = await planned(planning(), "api", "v2", Env.prod)
    if changed == "another version runs":
        site.point("api", Env.prod, "v3")
    else:
        (site.root / "releases" / "api" / "v2" / "index.html").write_text("another page")
    after = await planned(planning(), "api", "v2", Env.prod)
    digests = {plan_digest(one, command="deploy", code_version="1", arguments=arguments) for one in (before, after)}
    assert len(digests) == 2


async def test_a_first_deploy_says_that_there_is_no_way_back(planning: Callable[[], PlanningContext], site: Site) -> None:
    (site.root / "prod" / "web" / "current").unlink()
    plan = await planned(planning(), "web", "v1", Env.prod)
    assert plan["summary"] == "web in prod: nothing → v1"
    assert plan["steps"][0]["undo"] is None
    assert plan["warning"] == "web never ran in prod, so there is nothing to go back to."


@pytest.mark.parametrize(
    ("service", "version", "sentence"),
    [
        ("shop", "v1", "There is no service named 'shop'. There are: api, web."),
        ("api", "v9", "There is no release of api named 'v9'. There are: broken, v1, v2, v3."),
        ("api", "../v1", "There is no release of api named '../v1'. There are: broken, v1, v2, v3."),
        ("api", "v1", "api in staging runs v1 already."),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    planning: Callable[[], PlanningContext], service: str, version: str, sentence: str
) -> None:
    with pytest.raises(PlanRefused) as refused:
        await planned(planning(), service, version)
    assert str(refused.value) == sentence


async def test_of_many_releases_the_newest_are_named(planning: Callable[[], PlanningContext], site: Site) -> None:
    for number in range(4, 40):
        (site.root / "releases" / "api" / f"v{number}").mkdir()
    with pytest.raises(PlanRefused) as refused:
        await planned(planning(), "api", "v99")
    assert str(refused.value).endswith("There are: …, v30, v31, v32, v33, v34, v35, v36, v37, v38, v39.")


async def test_two_others_approve_in_prod_and_nobody_in_staging() -> None:
    assert deploy.approval is not None
    assert (deploy.approval.by, deploy.approval.count) == ("deploy:approve", 2)
    assert deploy.approval.applies_to({"env": "prod"})
    assert not deploy.approval.applies_to({"env": "staging"})
    assert not deploy.may_loosen
    assert deploy.slash


async def test_releasing_moves_the_link_and_reports_in_pieces(executing: Context, site: Site, notes: Notes) -> None:
    await done(release.function(executing, "api", Env.staging, "v2"))
    assert site.current("api", Env.staging) == "v2"
    assert [(at, total) for at, total, _ in notes.pieces] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert notes.pieces[1][2] == "moving from v1"
    assert site.fingerprint("api", "v2") in notes.lines[0]


async def test_releasing_twice_is_releasing_once(executing: Context, site: Site) -> None:
    for _ in range(2):
        await done(release.function(executing, "api", Env.staging, "v2"))
    assert site.current("api", Env.staging) == "v2"


async def test_health_is_asked_several_times(executing: Context, site: Site, notes: Notes) -> None:
    await done(check_health.function(executing, "api", Env.staging, "v1"))
    assert [(at, total) for at, total, _ in notes.pieces] == [(1, 3), (2, 3), (3, 3)]
    asked = (site.root / "logs" / "access.log").read_text()
    assert asked.count("'GET /staging/api/ HTTP/1.1' 200") == 3


async def test_one_bad_answer_is_enough(executing: Context, site: Site, notes: Notes) -> None:
    site.point("api", Env.staging, "broken")
    with pytest.raises(StepFailed, match="has no index"):
        await done(check_health.function(executing, "api", Env.staging, "broken"))
    assert notes.pieces == []


async def test_what_runs_where_is_a_table(planning: Callable[[], PlanningContext], site: Site) -> None:
    site.point("web", Env.staging, "v3")
    (site.root / "prod" / "web" / "current").unlink()
    reply = await deploys.function(planning())
    assert isinstance(reply, Reply)
    assert reply.code.splitlines() == [
        "service  staging  prod     releases",
        "api      v1       v1       broken v1 v2 v3",
        "web      v3       nothing  broken v1 v2 v3",
    ]


def test_autocomplete_reads_the_site_of_the_worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERSIGN_FLEET__ROOT", raising=False)
    assert (known_services(), known_versions()) == ([], [])
    monkeypatch.setenv("COUNTERSIGN_FLEET__ROOT", str(site.root))
    assert (known_services(), known_versions()) == (["api", "web"], ["broken", "v1", "v2", "v3"])


async def done(step: Awaitable[Any]) -> None:
    await step
