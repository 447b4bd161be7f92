"""The authorization matrix: every cell of the tables is tried on the real application, and what became of it is read from the record."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from commands.authorizing import Allowed, Request
from commands.policies import bind, compile_policy
from countersign.invocations import Door, Place
from kit.servers import Servers
from store.databases import transaction
from store.people import Account, deactivate
from tests.hubs import World
from tests.matrix.deciding import HIDDEN, Recorder, Try, Verdicts, is_noise, personas
from tests.matrix.doors import ACCOUNTS, DOOR_OF, TYPED, Doors, ways_in
from tests.matrix.requests import REQUESTS, STATES
from tests.matrix.sendings import SENT
from tests.matrix.surfaces import SCOPES
from tests.matrix.tables import PERSONAS, Row, read_table
from tests.matrix.towns import NAMES, POLICY, PRIVATE, STAFF, Run, Town, open_town
from tests.matrix.ways import LISTED, WAYS, Way
from tests.waitings import waiting_here

# A whole town tries every door: two minutes beside others.
pytestmark = pytest.mark.timeout(600)
_NAMED = {"private": "open vault", "staff": "oil hinge"}
_MARKS = {"private": PRIVATE, "staff": STAFF}
# Answered with 200 whatever is said; refused inside, which `runs.md` and `slack.md` are about.
_REFUSED_INSIDE = ("POST /api/v1/room/press",)
_QUIET_AGAIN = "UPDATE switches SET off_at = countersign_now(), off_by = 'max' WHERE off_at IS NULL"


@dataclass
class Matrix:
    """The town, the doors into it and its record."""

    town: Town
    doors: Doors
    record: Recorder


@pytest.fixture(scope="module")
async def matrix(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """One town for all rows; each leaves it as it was."""
    world = World(servers.fresh_database(), "", tmp_path_factory.mktemp("matrix"), policy=POLICY)
    await world.prepare()
    async with open_town(world) as town:
        doors = Doors(town)
        recorder = Recorder(town)
        await recorder.gained()
        with waiting_here():  # it is about who may, not about who comes first
            yield Matrix(town, doors, recorder)
        await doors.close()


async def test_who_may_ask_for_each_command(matrix: Matrix) -> None:
    problems: list[str] = []
    for row in read_table("commands.md"):
        problems += await _commands_of(matrix, row)
    assert not problems, "\n".join(problems)


async def test_under_the_strict_profile_nobody_may_what_no_role_gives(matrix: Matrix) -> None:
    """Eve has no role. What she may ask for under `strict` is in a column of its own."""
    rows = read_table("commands.md")
    rulebook = await matrix.town.web.hub.rulebook()
    policy = bind(compile_policy(POLICY.replace("profile: team", "profile: strict")), rulebook.registry.commands)
    eve = await matrix.town.web.hub.person(Account("slack", "T1", "U0EVE"))
    assert eve is not None
    strict = replace(rulebook, policy=policy)
    for row in rows:
        command = strict.registry.commands[row["command"]]
        offer = strict.offer(eve, command, Request(command.permission, Door.api, Place("api")))
        assert isinstance(offer, Allowed) == (row["strict"] == "yes"), f"{row.place}, {row['command']} under strict: {offer}"


async def test_each_command_takes_a_token_that_is_made_for_it(matrix: Matrix) -> None:
    """By a token of the admin's that may only submit, at both doors that take tokens."""
    async with await matrix.town.web.caller("max", scopes=("submit",)) as program:
        for row in read_table("commands.md"):
            asked = [
                await program.post("/api/v1/runs", json={"text": row["command"], "dry_run": True}),
                await program.post("/api/v1/room/say", json={"text": f"{row['command']} -h"}),
            ]
            lacking = {
                one.json()["detail"].partition("'")[2].partition("'")[0] for one in asked if one.json().get("reason") == "missing_scope"
            }
            assert lacking == ({row["scope"]} if row["scope"] else set()), f"{row.place}, {row['command']}: a token has to have {lacking}"
            await matrix.town.execute(_QUIET_AGAIN)


async def test_who_gets_what_from_each_route(matrix: Matrix) -> None:
    problems: list[str] = []
    for row in read_table("routes.md"):
        problems += await _routes_of(matrix, row)
    assert not problems, "\n".join(problems)


async def test_each_route_of_the_api_takes_a_token_that_is_made_for_it(matrix: Matrix) -> None:
    problems = []
    for row in [one for one in read_table("routes.md") if "/api/v1/" in one["route"] and one["scope"] and one["about"] in ("", "staff")]:
        wanted = set(row["scope"].split(" or "))
        for scope in SCOPES:
            doors = Doors(matrix.town, proof={"authorization": f"Bearer {await _scoped(matrix.town, scope)}"})
            run = await matrix.town.run("staff", STATES.get(row["route"], "waiting"))
            shown = await REQUESTS[row["route"]](doors, "admin", row["about"], run)
            await doors.close()
            if (shown.status == 403 and "missing_scope" in shown.text) == (scope in wanted):
                problems.append(f"{row.place}, {row['route']} with the scope {scope}: {shown.status} {shown.text[:200]}")
    assert not problems, "\n".join(problems)


async def test_who_gets_what_from_slack(matrix: Matrix) -> None:
    problems: list[str] = []
    for row in read_table("slack.md"):
        problems += await _slack_of(matrix, row)
    assert not problems, "\n".join(problems)


async def test_nothing_that_is_got_changes_anything(matrix: Matrix) -> None:
    """Every route there is, by the program with which Slack looks at links and by everybody's own; HEAD and OPTIONS too."""
    problems = []
    paths = {route.removeprefix("GET "): route for route in REQUESTS if route.startswith("GET ")}
    run, link = await matrix.town.shared("private"), await matrix.town.web.token("link", "kim")
    before = await _digests(matrix.town)
    for path, route in paths.items():
        address = path.format(reference=run.id, event_id=run.id, name="none", token=link, endpoint="Users") + (
            "?channel=ops&after=0" if "events" in path else ""
        )
        headers = {"user-agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}
        async with matrix.town.web.client(headers) as unfurler:
            for method in ("GET", "HEAD", "OPTIONS"):
                if "events" not in path or method != "GET":
                    await unfurler.request(method, address)
                else:
                    await matrix.doors.stream("nobody", address)
        if changed := _differing(before, await _digests(matrix.town)):
            problems.append(f"{route} by a link unfurler changed {changed}")
            before = await _digests(matrix.town)
        for persona in ("admin", "staff", "leaver"):
            for browser in (False, True):
                if "events" in path:
                    # The run is not carried out yet, and so has no log to tell.
                    await matrix.doors.stream(persona, address, browser=browser, events=0 if "/log/" in path else 1)
                else:
                    await matrix.doors.client(persona, browser=browser).get(address)
        after = await _digests(matrix.town)
        if changed := _differing(before, after) - {"audit_events", "audit_unsealed"}:
            problems.append(f"{route} by people changed {changed}")
        before = after
    assert not problems, "\n".join(problems)


async def test_reading_leaves_only_these_rows_in_the_record(matrix: Matrix) -> None:
    """What the story above left: the record is read, and a run that may not be seen is tried to be seen."""
    rows = await matrix.town.rows("SELECT DISTINCT kind FROM audit_events WHERE seq > :seq", seq=matrix.record.seq)
    assert {row.kind for row in rows} <= {"audit:read", "request:refused"}
    await matrix.record.gained()


async def test_who_has_left_a_moment_ago_is_out_at_every_door(matrix: Matrix) -> None:
    """Kim has just done something at each door, so everything that is remembered about her is fresh."""
    town = matrix.town
    kim = Doors(
        town, proof={"authorization": f"Bearer {await town.web.token('api', 'kim')}"}, session=await town.web.token("session", "kim")
    )
    ACCOUNTS["kim"] = ("T1", "U0KIM")
    try:
        for way in (*TYPED, "mention"):
            assert "You are kim." in (await kim.type(way, "kim", "whoami")).text
        async with transaction(town.worker) as session:
            assert await deactivate(session, "kim")
        began = time.monotonic()
        for way in (*TYPED, "mention"):
            while "You are kim." in (await kim.type(way, "kim", "whoami")).text:
                assert time.monotonic() - began < 4, f"{way} still takes Kim for somebody"
    finally:
        del ACCOUNTS["kim"]
        await kim.close()
        await matrix.record.gained()


async def test_the_log_says_nothing_of_what_is_private(matrix: Matrix) -> None:
    assert len(matrix.town.heard) > 1_000
    assert not [one for one in matrix.town.heard if PRIVATE in one]


async def test_noise_is_recorded_together(matrix: Matrix) -> None:
    """Everything that nobody known was refused, as one row for each door and reason."""
    counted = matrix.town.noise()
    await matrix.town.web.app.state.refusals.flush()
    await matrix.town.events._refusals.flush()
    rows = await matrix.town.rows(
        "SELECT audit_detail(canonical, payload) AS detail FROM audit_events WHERE actor = 'nobody' AND kind = 'request:refused'"
    )
    assert sum(row.detail["count"] for row in rows) == counted
    assert len(rows) == len({(row.detail["door"], row.detail["reason"]) for row in rows})
    assert {row.detail["door"] for row in rows} == {"api", "browser", "metrics", "scim", "slack", "trigger"}


async def test_who_may_see_a_run_and_do_something_about_it(matrix: Matrix) -> None:
    problems: list[str] = []
    for row in read_table("runs.md"):
        problems += await _runs_of(matrix, row, WAYS[row["way"]])
    assert not problems, "\n".join(problems)


async def _commands_of(matrix: Matrix, row: Row) -> list[str]:
    """One row of commands: everybody types it at every door."""
    verdicts = Verdicts(row.place, row["command"])

    ins = (*TYPED, "mention") if row["command"] == "help" else TYPED

    async def tried(persona: str) -> list[Try]:
        return [Try(persona, way, await matrix.doors.type(way, persona, row["command"])) for way in ways_in(persona, ins)]

    found = await _everybody(tried, personas(row.expected))
    if row["command"].startswith("stop"):
        await matrix.town.execute(_QUIET_AGAIN)
        matrix.town.web.hub.forget()
    refused = [one for one in found if _refuses(row.expected[one.persona], one.way)]
    verdicts.check_record(found, refused, await matrix.record.gained())
    verdicts.check_secrecy(found)
    for persona in personas(row.expected):
        texts = {one.way: one.shown.text for one in refused if one.persona == persona and not is_noise(one)}
        for way, text in texts.items():
            if not text.strip(' "'):
                verdicts.say(f"{persona} was refused by {way} without a word")
    return verdicts.problems


async def _runs_of(matrix: Matrix, row: Row, way: Way) -> list[str]:
    """One row about a run: everybody tries it, those who may on a run of their own."""
    verdicts = Verdicts(row.place, f"{row['way']}, {row['run']} run")
    fresh = await matrix.town.fresh(row["run"]) if way.about_all else None
    await matrix.record.gained()

    async def tried(persona: str) -> list[Try]:
        found = []
        for one in ways_in(persona, way.ins):
            run = fresh or await _run_for(matrix.town, row, way, persona)
            shown = await way.go(matrix.doors, one, persona, run)
            found.append(Try(persona, one, shown))
            if problem := await _wrong(matrix.town, row, way, found[-1], run):
                verdicts.say(f"{persona} by {one}: {problem} ({shown.status}: {shown.text[:300]})")
        return found

    everybody = personas(row.expected)
    found = await _everybody(tried, everybody)
    for persona in PERSONAS:
        if persona not in everybody and ways_in(persona, way.ins):
            verdicts.say(f"{persona} has a way in by {ways_in(persona, way.ins)}, so '-' is no decision")
    refusing = ("no",) if way.about_all else ("no", "hidden")
    refused = [one for one in found if row.expected[one.persona] in refusing]
    verdicts.check_record(found, refused, await matrix.record.gained())
    verdicts.check_secrecy(found)
    return verdicts.problems


async def _routes_of(matrix: Matrix, row: Row) -> list[str]:
    """One row of routes: everybody sends the same request."""
    verdicts = Verdicts(row.place, f"{row['route']} {row['about']}".strip())
    visibility, state = "private" if row["about"] == "private" else "staff", STATES.get(row["route"], "waiting")
    await matrix.town.shared(visibility, state)
    await matrix.record.gained()

    async def tried(persona: str) -> list[Try]:
        changes = row["route"].startswith(("POST /api/v1/runs/", "POST /api/v1/tasks/")) and row.expected[persona].startswith("2")
        run = await (matrix.town.run if changes else matrix.town.shared)(visibility, state)
        shown = await REQUESTS[row["route"]](matrix.doors, persona, row["about"], run)
        if str(shown.status) != row.expected[persona]:
            verdicts.say(f"{persona}: {shown.status}, not {row.expected[persona]}: {shown.text[:300]}")
        return [Try(persona, "browser" if "/api/" not in row["route"] else "api", shown)]

    found = await _everybody(tried, personas(row.expected))
    if "/slack/" not in row["route"] and "unknown" not in str(row["why"]):
        refused = [one for one in found if one.shown.status in (401, 403, 404, 409)]
        record = await matrix.record.gained()
        if row["route"] not in _REFUSED_INSIDE:
            verdicts.check_record(found, refused, record, noise_too=row["about"] == "a dead link" and row["route"].startswith("POST"))
    verdicts.check_secrecy(found)
    return verdicts.problems


async def _slack_of(matrix: Matrix, row: Row) -> list[str]:
    """One row of what Slack sends: everybody's account is behind it once."""
    verdicts = Verdicts(row.place, row["surface"])
    await matrix.town.shared("staff")
    await matrix.record.gained()

    async def tried(persona: str) -> list[Try]:
        shown = await SENT[row["surface"]](matrix.doors, persona, await matrix.town.shared("staff"))
        expected = row.expected[persona]
        if (shown.status == 401) != (persona == "nobody" and expected == "no"):
            verdicts.say(f"{persona}: {shown.status}")
        if expected == "no" and persona != "nobody" and not shown.text.strip():
            verdicts.say(f"{persona} was refused without a word")
        return [Try(persona, "slack", shown)]

    found = await _everybody(tried, personas(row.expected))
    refused = [one for one in found if row.expected[one.persona] == "no"]
    verdicts.check_record(found, refused, await matrix.record.gained())
    verdicts.check_secrecy(found)
    return verdicts.problems


async def _everybody(tried: Callable[[str], Awaitable[list[Try]]], everybody: Sequence[str]) -> list[Try]:
    """All personas side by side."""
    return [one for tries in await asyncio.gather(*map(tried, everybody)) for one in tries]


async def _scoped(town: Town, scope: str) -> str:
    """A token of the admin's for one thing."""
    if ("admin", scope) not in town.tokens:
        town.tokens["admin", scope] = await town.web.token("api", "max", scopes=(scope,), lifetime=3_600)
    return town.tokens["admin", scope]


async def _digests(town: Town) -> dict[str, str]:
    """A digest of every table's rows."""
    tables = await town.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    one = "SELECT '{0}' AS name, coalesce(md5(string_agg(t::text, '' ORDER BY t::text)), '') AS digest FROM \"{0}\" t"
    return {row.name: row.digest for row in await town.rows(" UNION ALL ".join(one.format(row.tablename) for row in tables))}


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in after if before[name] != after[name]}


def _refuses(cell: str, way: str) -> bool:
    return cell == "no" or (cell == "signed in" and DOOR_OF[way] == "slack")


async def _run_for(town: Town, row: Row, way: Way, persona: str) -> Run:
    """Whoever may do it needs a run that nobody has touched; those who only look, and those who may not, share one."""
    changes = row.expected[persona] == "yes" and way.done
    return await (town.run if changes else town.shared)(row["run"], way.state)


async def _wrong(town: Town, row: Row, way: Way, one: Try, run: Run) -> str:
    """What contradicts the table; empty when nothing does."""
    expected, text = row.expected[one.persona], one.shown.text
    mark = _NAMED[row["run"]] if way.shows == LISTED else _MARKS[row["run"]] if way.shows == "content" else way.shows
    sees = bool(mark) and mark in text
    told_nothing = any(sentence in text for sentence in HIDDEN)
    done = bool(way.done and await town.rows(way.done, run=run.id, who=NAMES.get(one.persona, "")))
    if expected == "yes":
        if told_nothing or one.shown.status >= 400:
            return "was refused"
        return "" if (sees or not mark) and (done or not way.done) else "was not shown it" if mark else "has not done it"
    if done:
        return "has done it"
    if sees and way.shows:
        return "was shown it"
    if expected == "hidden" and not way.about_all and not told_nothing:
        return "was told that there is something"
    return "was told that it is not there, and not why it is refused" if expected == "no" and told_nothing else ""
