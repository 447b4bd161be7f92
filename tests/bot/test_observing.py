"""Dashboard and alert rules name only what a running hub measures; and a hub shows whether it keeps its promises."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from automations.housekeeping.sealing import signer_of
from automations.housekeeping.sweeping import count_all
from bot.workloads import Remembered
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.sealing import seal
from tests.automations.carts import write_cart
from tests.bot.webs import web_of
from tests.hubs import World
from tests.rules.measures import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "countersign.json"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PAGE = ROOT / "docs" / "operators" / "observing.md"


def named_in(expression: str) -> set[str]:
    return set(re.findall(r"countersign_[a-z_]+", expression))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels for target in panel.get("targets", ())]


async def measured(client: httpx.AsyncClient) -> dict[str, str]:
    """The names of all series that a hub has, each with its type."""
    names: dict[str, str] = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{ending}": family.type for ending in endings}
    return names


async def test_what_dashboard_rules_and_page_name_is_measured_by_a_running_hub(world: World) -> None:
    async with web_of(world) as web, web.client() as anybody:
        known = await measured(anybody)
    wanted = {name for one in expressions() for name in named_in(one)}
    assert len(wanted) > 20
    assert not wanted - known.keys()
    told, known = PAGE.read_text(), {name: kind for name, kind in known.items() if not name.endswith("_created")}
    assert not [
        name for name in known if name.startswith("countersign_") and not re.search(rf"{re.sub('_(bucket|sum|count)$', '', name)}\b", told)
    ]
    for one in expressions():
        for name in named_in(one):
            if known[name] == "counter":
                assert re.search(rf"(rate|increase)\({name}|promises_broken", one), f"a counter is shown as it is: {one}"


def test_each_rule_says_what_is_wrong_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_prometheus_takes_the_rules() -> None:
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("COUNTERSIGN_REQUIRE_PROGRAMS") == "1":
            pytest.fail("no promtool: install Debian's prometheus")
        pytest.skip("no promtool here: install Debian's prometheus")
    done = subprocess.run([program, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_what_was_carried_out_is_measured_from_the_record(database: DatabaseUrls, tmp_path: Path) -> None:
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        await Member(bot, "ada").say("/cart gone")
        found = await figures(bot)
    assert found["countersign_start_seconds_count", "cart", "planning"] == 1
    assert found["countersign_runs_total", "cart", "succeeded"] == 1
    assert found["countersign_steps_total", "cart", "done"] >= 1
    assert found[("countersign_sealer_lag_seconds",)] == 0
    assert {name: value for name, value in found.items() if "promises_broken" in name[0] and value} == {}


async def figures(bot: Bot) -> dict[tuple[str, ...], float]:
    """Everything once sealed and counted, by name and labels in order."""
    signer = signer_of(bot.services.settings)
    async with transaction(bot.services.engine) as session:
        while await seal(session, signer):
            pass
    await count_all(bot.services)
    told = (await Remembered(bot.hub).text()).decode()
    samples = [one for family in text_string_to_metric_families(told) for one in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


async def test_watchers_read_in_ready_what_is_late_and_auditors_what_it_is(database: DatabaseUrls, tmp_path: Path) -> None:
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("max", may=["countersign:audit"])
        bot.cast("ada", may=["cart:fill"])
        assert (await Member(bot, "max").ask("promises")).reply.text.startswith("Nothing lost or done twice, nothing late.")
        await Member(bot, "ada").do("promises", expect="needs the permission countersign:audit")
        reply = (await Member(bot, "ada").ask("cart gone")).reply
        async with transaction(bot.owner) as session:
            await session.execute(text("UPDATE runs SET due_at = NULL WHERE status = 'submitted'"))
            await session.execute(text("UPDATE clock SET shift = shift + interval '3 minutes'"))
        told = (await Member(bot, "max").ask("promises")).reply
        assert reply.text.startswith("#1 cart: accepted")
        assert "1 late. Housekeeping looked " in told.text
        assert told.text.endswith("is a worker running?")
        assert "runs that no worker will find: 1, for 1" in (told.code or "")
        assert told.data["kept"] is False


async def test_strangers_are_told_nothing_of_promises(world: World) -> None:
    async with web_of(world) as web, web.client() as here:
        inside = (await here.get("/ready")).json()
        outside = (await here.get("/ready", headers={"x-forwarded-for": "203.0.113.9"})).json()
    assert inside["promises"]["lost"] == {"request": 0, "delivery": 0}
    assert inside["promises"]["doubled"] == {"step": 0, "end": 0}
    assert "promises" not in outside
