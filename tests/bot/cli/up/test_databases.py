"""What `up` puts into an empty database, and what it refuses to touch."""

import json
from pathlib import Path

import pytest

from bot.cli.endings import Failed, WrongCall
from bot.cli.up.databases import Servers, furnish
from store.databases import open_engine, reading
from store.embedded import DatabaseUrls
from store.settings import Settings
from store.tokens import find_token
from tests.hubs import disposing

SOMEBODY = "profile: strict\npeople:\n  zoe: {email: zoe@example.test}\n"


@pytest.fixture
def servers(database: DatabaseUrls) -> Servers:
    return Servers(database.owner, database.worker, database.web, database.listen, "redis://unused")


@pytest.fixture
def demo(tmp_path: Path) -> Settings:
    return Settings.read(data_dir=tmp_path, demo=True)


async def test_a_demo_has_a_cast_with_tokens_and_a_link(demo: Settings, servers: Servers, tmp_path: Path) -> None:
    link = await furnish(demo, servers)
    path = tmp_path / "demo" / "tokens.json"
    tokens = json.loads(path.read_text())
    assert sorted(tokens) == ["ada", "eve", "kim", "lin", "max"]
    assert path.stat().st_mode & 0o777 == 0o600
    async with disposing(open_engine(servers.web, name="test", pool=1, door=False)) as engine, reading(engine) as session:
        found = await find_token(session, tokens["lin"], kind="api")
        entered = await find_token(session, link.removeprefix("/enter/"), kind="link")
    assert found is not None
    assert found.person == "lin"
    assert entered is not None
    assert (entered.person, entered.scopes) == (None, frozenset({"demo"}))


async def test_a_second_start_keeps_live_tokens_and_makes_a_new_link(demo: Settings, servers: Servers, tmp_path: Path) -> None:
    first = await furnish(demo, servers)
    path = tmp_path / "demo" / "tokens.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps(before | {"kim": "cs_api_ended"}))
    assert await furnish(demo, servers) != first
    after = json.loads(path.read_text())
    assert after["kim"] not in ("cs_api_ended", before["kim"])
    assert {**after, "kim": ""} == {**before, "kim": ""}


async def test_a_real_database_is_never_made_a_demo(servers: Servers, demo: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(SOMEBODY)
    await furnish(Settings.read(data_dir=tmp_path, policy=policy), servers)
    with pytest.raises(Failed, match="was not made by --demo"):
        await furnish(demo, servers)
    assert not (tmp_path / "demo").exists()


async def test_a_demo_is_never_run_for_real(servers: Servers, demo: Settings, tmp_path: Path) -> None:
    await furnish(demo, servers)
    with pytest.raises(Failed, match="was made by --demo, whose people are made up"):
        await furnish(Settings.read(data_dir=tmp_path), servers)


async def test_the_only_person_gets_a_link_of_their_own(servers: Servers, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(SOMEBODY)
    link = await furnish(Settings.read(data_dir=tmp_path, policy=policy), servers)
    async with disposing(open_engine(servers.web, name="test", pool=1, door=False)) as engine, reading(engine) as session:
        entered = await find_token(session, link.removeprefix("/enter/"), kind="link")
    assert entered is not None
    assert entered.person == "zoe"


async def test_nobody_known_means_no_link(servers: Servers, tmp_path: Path) -> None:
    assert await furnish(Settings.read(data_dir=tmp_path), servers) == ""


async def test_the_default_gives_way_to_the_first_policy_that_names_somebody(servers: Servers, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(SOMEBODY)
    for wanted, link in ((None, False), (policy, True), (None, True)):
        assert bool(await furnish(Settings.read(data_dir=tmp_path, policy=wanted), servers)) is link


async def test_a_policy_that_cannot_be_read_stops_the_start(servers: Servers, tmp_path: Path) -> None:
    wrong = tmp_path / "policy.yaml"
    with pytest.raises(WrongCall, match=r"policy\.yaml cannot be read"):
        await furnish(Settings.read(data_dir=tmp_path, policy=wrong), servers)
    wrong.write_text("rolez: 1\n")
    with pytest.raises(Failed, match="rolez is not a key that is known here"):
        await furnish(Settings.read(data_dir=tmp_path, policy=wrong), servers)


async def test_a_demo_in_a_foreign_database_needs_its_owner(servers: Servers, demo: Settings) -> None:
    with pytest.raises(Failed, match="needs COUNTERSIGN_MIGRATE_DATABASE_URL"):
        await furnish(demo, Servers("", servers.worker, servers.web, servers.listen, ""))
