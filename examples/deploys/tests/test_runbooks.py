"""The runbooks load as they are committed, and their scripts do what the YAML says, on a real folder."""

import subprocess
from pathlib import Path

import pytest

from countersign import Risk
from countersign_deploys.demos import prepare
from countersign_deploys.sites import Env, Site
from integrations.processes import load_runbooks

FOLDER = Path(__file__).parents[1] / "runbooks"


def test_both_load_as_committed() -> None:
    clear, maintenance = load_runbooks(FOLDER)
    assert (clear.name, clear.risk, clear.approval) == ("clear-cache", Risk.medium, None)
    assert (maintenance.name, maintenance.risk) == ("maintenance", Risk.high)
    assert maintenance.usage == "/maintenance <service> <state> [env=staging] [note=We are back in a few minutes.]"


def test_the_demo_lays_them_out_for_its_own_folder_and_keeps_what_was_edited(site: Site) -> None:
    commands = load_runbooks(site.root / "runbooks")
    assert [one.name for one in commands] == ["clear-cache", "maintenance"]
    edited = site.root / "runbooks" / "clear-cache.yaml"
    assert f'SITE: "{site.root}"' in edited.read_text()
    edited.write_text("edited")
    prepare(site)
    assert edited.read_text() == "edited"


def test_the_demo_changes_nothing_that_is_there(site: Site) -> None:
    site.point("api", Env.prod, "v2")
    page = site.root / "releases" / "api" / "v3" / "index.html"
    page.write_text("edited")
    prepare(site)
    assert (site.current("api", Env.prod), page.read_text()) == ("v2", "edited")


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_release_that_was_not_finished_is_built_again(site: Site, *, unfinished: bool) -> None:
    folder = site.root / "releases" / "api" / "v3"
    if unfinished:
        folder.rename(folder.with_name(".v3"))
        (folder.with_name(".v3") / "index.html").unlink()
    prepare(site)
    assert (folder / "index.html").is_file()
    assert not folder.with_name(".v3").exists()


def test_closing_and_its_undo(site: Site) -> None:
    assert "now closed" in maintain(site, "on", "prod", "web", "-n it's $HOME `id`")
    assert site.closed("web", Env.prod) == "-n it's $HOME `id`"
    assert "now open" in maintain(site, "undo-on", "prod", "web")
    assert site.closed("web", Env.prod) is None


def test_opening_and_its_undo_keep_the_note(site: Site) -> None:
    maintain(site, "on", "prod", "web", "back at noon")
    maintain(site, "off", "prod", "web", "")
    assert site.closed("web", Env.prod) is None
    maintain(site, "undo-off", "prod", "web")
    assert site.closed("web", Env.prod) == "back at noon"


@pytest.mark.parametrize("words", [("on",), ("off",), ("undo-on",), ("undo-off",)])
def test_each_may_be_repeated(site: Site, words: tuple[str, ...]) -> None:
    maintain(site, "on", "prod", "web", "a note")
    first = maintain(site, *words, "prod", "web", "a note"), site.closed("web", Env.prod)
    assert (maintain(site, *words, "prod", "web", "a note"), site.closed("web", Env.prod)) == first


def test_the_preview_changes_nothing_and_refuses_what_is_so_already(site: Site) -> None:
    assert maintain(site, "preview", "on", "prod", "web", "a note") == "web in prod: open -> closed\nVisitors read: a note\n"
    assert site.closed("web", Env.prod) is None
    with pytest.raises(subprocess.CalledProcessError) as refused:
        maintain(site, "preview", "off", "prod", "web", "")
    assert refused.value.stderr == "Maintenance of web in prod is off already.\n"


def test_a_service_that_does_not_run_there_is_refused(site: Site) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        maintain(site, "on", "prod", "shop", "a note")
    assert refused.value.stderr == "shop does not run in prod.\n"


def maintain(site: Site, *words: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "SITE": str(site.root)}
    return subprocess.run(
        [str(FOLDER / "maintenance.sh"), *words], env=environment, check=True, capture_output=True, text=True, timeout=10
    ).stdout
