"""The link to the current release moves in one move, and no name leads out of the site's folder."""

import threading
from pathlib import Path

import pytest

from countersign import StepFailed
from countersign_deploys.sites import Env, Site

NASTY = ["..", ".", "", "a/b", "../../etc", "/etc", "API", "-rf", ".hidden", "api\n", "a" * 65, "api\0"]


def test_versions_stand_in_the_order_people_count(site: Site) -> None:
    for name in ("v10", "v9", "2026.2", "2026.10"):
        (site.root / "releases" / "api" / name).mkdir()
    assert site.versions("api") == ["2026.2", "2026.10", "broken", "v1", "v2", "v3", "v9", "v10"]
    assert site.versions("unknown") == []
    assert site.services() == ["api", "web"]


def test_pointing_moves_one_service_in_one_environment(site: Site) -> None:
    site.point("api", Env.prod, "v2")
    assert site.current("api", Env.prod) == "v2"
    assert (site.current("api", Env.staging), site.current("web", Env.prod)) == ("v1", "v1")
    assert (site.root / "prod" / "api" / "current" / "index.html").is_file()


def test_pointing_again_changes_nothing(site: Site) -> None:
    link = site.root / "prod" / "api" / "current"
    before = link.lstat().st_ino
    site.point("api", Env.prod, "v1")
    assert link.lstat().st_ino == before


def test_pointing_leaves_nothing_else_behind(site: Site) -> None:
    site.point("api", Env.prod, "v2")
    assert [one.name for one in (site.root / "prod" / "api").iterdir()] == ["current"]


def test_whoever_looks_sees_a_whole_release_at_every_moment(site: Site) -> None:
    stop, seen = threading.Event(), set[str]()

    def look() -> None:
        while not stop.is_set():
            seen.add((site.root / "prod" / "web" / "current" / "index.html").read_text())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for turn in range(500):
            site.point("web", Env.prod, f"v{turn % 3 + 1}")
    finally:
        stop.set()
        looking.join()
    assert seen
    assert all("This is web." in page for page in seen)


def test_a_service_that_never_ran_there_has_no_version(site: Site) -> None:
    (site.root / "releases" / "docs" / "v1").mkdir(parents=True)
    assert site.current("docs", Env.prod) is None
    site.point("docs", Env.prod, "v1")
    assert site.current("docs", Env.prod) == "v1"


def test_an_unknown_release_is_refused_and_nothing_moves(site: Site) -> None:
    with pytest.raises(StepFailed, match="no release v9 of api"):
        site.point("api", Env.prod, "v9")
    assert site.current("api", Env.prod) == "v1"


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_is_never_a_path(site: Site, name: str) -> None:
    assert site.versions(name) == []
    with pytest.raises(StepFailed):
        site.point(name, Env.prod, "v1")
    with pytest.raises(StepFailed):
        site.point("api", Env.prod, name)
    with pytest.raises(StepFailed):
        site.current(name, Env.prod)


def test_a_link_that_leads_elsewhere_is_not_believed(site: Site, tmp_path: Path) -> None:
    link = site.root / "prod" / "api" / "current"
    link.unlink()
    link.symlink_to(tmp_path)
    with pytest.raises(StepFailed, match="no release of api"):
        site.current("api", Env.prod)


def test_a_folder_in_the_place_of_the_link_is_said_to_be_wrong(site: Site) -> None:
    link = site.root / "prod" / "api" / "current"
    link.unlink()
    link.mkdir()
    with pytest.raises(StepFailed, match="should be a link"):
        site.current("api", Env.prod)


def test_a_release_built_again_has_another_fingerprint(site: Site) -> None:
    before = site.fingerprint("api", "v2")
    assert before == site.fingerprint("api", "v2") != site.fingerprint("web", "v2")
    (site.root / "releases" / "api" / "v2" / "index.html").write_text("changed")
    assert site.fingerprint("api", "v2") != before
