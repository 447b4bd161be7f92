"""The integration reads and moves the real folders, and believes the server, not itself, about health."""

from pathlib import Path

import pytest

from countersign import StepFailed
from countersign.errors import ActsWhilePlanning
from countersign_deploys import Env, Fleet
from countersign_deploys.fleets import configured_site
from countersign_deploys.server import Server
from countersign_deploys.sites import Site
from integrations.catalogs import Catalog, IntegrationSettingWrong, settings_of


async def test_it_reads_what_is_there(catalog: Catalog) -> None:
    fleet = catalog(Fleet, planning=True)
    assert await fleet.services() == ["api", "web"]
    assert await fleet.releases("api") == ["broken", "v1", "v2", "v3"]
    assert await fleet.version("api", Env.prod) == "v1"
    await fleet.health()


async def test_it_points_only_while_executing(catalog: Catalog, site: Site) -> None:
    with pytest.raises(ActsWhilePlanning):
        await catalog(Fleet, planning=True).point("api", Env.prod, "v2")
    assert site.current("api", Env.prod) == "v1"
    fleet = catalog(Fleet, planning=False)
    for _ in range(2):
        await fleet.point("api", Env.prod, "v2")
    assert site.current("api", Env.prod) == "v2"
    await fleet.check("api", Env.prod, "v2")


async def test_a_check_compares_with_what_the_server_says(catalog: Catalog, server: Server) -> None:
    with pytest.raises(StepFailed) as failed:
        await catalog(Fleet, planning=True).check("api", Env.prod, "v2")
    assert str(failed.value) == f"{server.url}/prod/api/ serves v1, not v2."


async def test_a_broken_release_fails_the_check_with_the_reason(catalog: Catalog, site: Site) -> None:
    site.point("web", Env.prod, "broken")
    with pytest.raises(StepFailed, match=r"/prod/web/ answers 503: The release broken of web has no index\.html\.$"):
        await catalog(Fleet, planning=True).check("web", Env.prod, "broken")


async def test_a_server_that_is_down_is_named(site: Site) -> None:
    down = Catalog({"COUNTERSIGN_FLEET__ROOT": str(site.root), "COUNTERSIGN_FLEET__URL": "http://127.0.0.1:1"})
    fleet = down(Fleet, planning=True)
    with pytest.raises(StepFailed, match=r"^http://127\.0\.0\.1:1/ does not answer: .*refused"):
        await fleet.health()
    assert (await down.health())["fleet"].startswith("http://127.0.0.1:1/ does not answer")


@pytest.mark.parametrize("url", ["127.0.0.1:8100", "ftp://site.test", "http://user:word@site.test", "http://site.test/path", "http://a b"])
def test_a_wrong_url_is_named_with_a_right_one(url: str, tmp_path: Path) -> None:
    given = {"COUNTERSIGN_FLEET__ROOT": str(tmp_path), "COUNTERSIGN_FLEET__URL": url}
    with pytest.raises(IntegrationSettingWrong, match=r"COUNTERSIGN_FLEET__URL .*for instance COUNTERSIGN_FLEET__URL=http://127"):
        settings_of(Fleet, given)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    given = {"COUNTERSIGN_FLEET__ROOT": str(tmp_path / "none"), "COUNTERSIGN_FLEET__URL": "http://127.0.0.1:8100"}
    with pytest.raises(IntegrationSettingWrong, match=r"COUNTERSIGN_FLEET__ROOT .*for instance COUNTERSIGN_FLEET__ROOT=/srv/site"):
        settings_of(Fleet, given)


def test_without_settings_there_is_nothing_to_offer(site: Site) -> None:
    assert configured_site({}) is None
    found = configured_site({"COUNTERSIGN_FLEET__ROOT": str(site.root)})
    assert found is not None
    assert found.services() == ["api", "web"]
