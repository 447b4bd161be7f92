"""The whole of `countersign up --demo`: people deploy and countersign in terminal rooms, Ctrl-C leaves nothing, nothing is forgotten."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kit.servers import data_folder
from tests.bot.cli.lines import Ended, countersign, forked
from tests.bot.cli.up.hubs import Hub, demo_hub, environment_of, links_in, words_of


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One hub for the chapters below, which follow each other."""
    with data_folder() as folder, demo_hub(folder) as made:
        made.start()
        yield made


def chat(hub: Hub, *lines: str, person: str, channel: str = "ops") -> str:
    """What a person sees who types these lines into a terminal room."""
    ended = call(hub, "chat", "--as", person, "--channel", channel, text="".join(f"{line}\n" for line in lines))
    assert ended.code == 0, ended.err
    return ended.out


def call(hub: Hub, *words: str, text: str = "") -> Ended:
    return forked(*words, home=hub.folder, text=text, settings=hub.settings)


def button(said: str, label: str) -> str:
    """The number that presses the last button with this label."""
    return str(re.findall(rf"\[(\d+)\] {label}", said)[-1])


def patience() -> float:
    """How much longer things may take because others use this machine, too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_it_says_one_link_and_ten_calm_lines(hub: Hub) -> None:
    (link,) = links_in(hub.said)
    assert link.startswith(f"http://127.0.0.1:{hub.port}/enter/cs_link_")
    assert 6 <= len([line for line in hub.said.splitlines() if line.strip()]) - 1 <= 10
    assert httpx.get(f"http://127.0.0.1:{hub.port}/ready").json()["status"] == "ready"


def test_staging_moves_at_once(hub: Hub) -> None:
    said = chat(hub, "/deploy api v2", "/go deploys", person="ada")
    assert "#1 deploy: accepted; its plan follows." in said
    assert "succeeded" in said
    assert (hub.folder / "data" / "demo" / "site" / "staging" / "api" / "current").resolve().name == "v2"


def test_prod_takes_two_others(hub: Hub) -> None:
    said = chat(hub, "/deploy api v3 env=prod", "/approve 2", "/as eve", "/deploy api v2 env=prod", person="ada")
    assert "someone else must approve your request" in said
    assert "— #ops, as eve —" in said
    assert "This needs the permission deploy:run" in said
    seen = chat(hub, person="lin", channel="deploys")
    said = chat(hub, button(seen, "Approve"), "/as kim", button(seen, "Approve"), person="lin", channel="deploys")
    assert "Approved; 1 more person has to approve." in said
    assert "Approved; it starts now." in said
    assert "2 of 2: lin, kim" in said
    assert (hub.folder / "data" / "demo" / "site" / "prod" / "api" / "current").resolve().name == "v3"


def test_a_form_asks_for_what_is_missing(hub: Hub) -> None:
    said = chat(hub, "/deploy api", "api", "v1", "staging", "/run 4", person="ada")
    assert "version: is required" in said
    assert "#4 deploy: accepted; its plan follows." in said
    assert "succeeded" in said


def test_scripts_get_json_and_exit_codes(hub: Hub) -> None:
    dry = call(hub, "run", "deploy web v2", "--dry-run", "--json", "--as", "ada")
    plan = json.loads(dry.out)
    assert (dry.code, plan["status"], plan["summary"]) == (0, "answered", "web in staging: v1 → v2")
    refused = call(hub, "run", "deploy web v2", "--as", "eve")
    assert (refused.code, "This needs the permission deploy:run" in refused.err) == (1, True)
    wrong = call(hub, "run", "deploy web", "--as", "ada")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    waiting = json.loads(call(hub, "run", "deploy web v2 env=prod", "--json", "--as", "ada").out)
    assert waiting["status"] == "awaiting_approval"
    other = call(hub, "approve", str(waiting["number"]), "--digest", "0" * 64, "--as", "lin")
    assert other.code == 1
    denied = call(hub, "deny", f"#{waiting['number']}", "--reason", "Not on a Monday.", "--as", "lin")
    assert denied.code == 0, denied.err
    late = call(hub, "cancel", str(waiting["number"]), "--as", "ada")
    assert late.code == 1
    kinds = [json.loads(line)["kind"] for line in call(hub, "audit", "export", "--run", waiting["id"], "--as", "max").out.splitlines()]
    assert kinds[-1] == "run:submitted"
    assert "run:denied" in kinds


def test_a_request_is_changed_and_talked_about(hub: Hub) -> None:
    number = str(json.loads(call(hub, "run", "deploy web v2 env=prod", "--json", "--as", "ada").out)["number"])
    wrong = call(hub, "edit", number, "version", "--as", "ada")
    assert (wrong.code, "write name=value" in wrong.err) == (2, True)
    assert "Changed version: v2 → v3." in call(hub, "edit", number, "version=v3", "--as", "ada").out
    assert call(hub, "ask", number, "is it due?", "--as", "lin").out.startswith("ada is asked")
    assert "It stands under run" in call(hub, "comment", number, "I wonder, too", "--as", "kim").out
    seen = chat(hub, person="ada", channel="@")
    assert "lin asks" in seen
    assert "lin has your answer" in chat(hub, button(seen, "Answer"), "since yesterday", person="ada", channel="@")
    while status_of(hub, number) != "awaiting_approval":
        time.sleep(0.1)
    said = chat(hub, f"/edit {number}", "web", "v2", "prod", person="ada", channel="deploys")
    assert "Changed version: v3 → v2" in said
    seen = chat(hub, person="kim", channel="deploys")
    for line in ("ada changes version: v2 → v3", "lin asks: is it due?", "kim says: I wonder, too", "ada answers lin: since yesterday"):
        assert f"↳ {line}" in seen
    assert "in the hands of kim" in call(hub, "handover", number, "kim", "--as", "ada").out
    assert "is withdrawn" in call(hub, "withdraw", number, "--reason", "not today", "--as", "ada").out
    assert call(hub, "takeback", number, "--as", "lin").code == 1


def status_of(hub: Hub, number: str) -> str:
    found = json.loads(call(hub, "runs", "--json", "--as", "ada").out)["items"]
    return str(next(one["status"] for one in found if str(one["number"]) == number))


def test_a_policy_is_explained_and_applied_by_two(hub: Hub) -> None:
    said = call(hub, "policy", "explain", "ada", "deploy api v1 env=prod", "--as", "lin").out
    assert "2 of: kim, lin, max" in said
    policy = hub.folder / "policy.yaml"
    policy.write_text((Path(__file__).parents[4] / "bot" / "cli" / "up" / "demo.yaml").read_text() + "# a remark\n")
    asked = json.loads(call(hub, "policy", "apply", str(policy), "--json", "--as", "max").out)
    assert asked["status"] == "awaiting_approval"
    approved = call(hub, "approve", str(asked["number"]), "--as", "lin")
    assert "it starts now" in approved.out, approved.err


def test_a_login_is_kept(hub: Hub) -> None:
    token = call(hub, "token", "issue", "kim").out
    kept = call(hub, "login", text=token)
    assert kept.out.startswith(f"You are kim at http://127.0.0.1:{hub.port}"), kept.err
    assert "#1 " in call(hub, "runs").out


def test_the_doctor_and_the_verifier_are_content(hub: Hub) -> None:
    ended = call(hub, "doctor", "--json")
    assert ended.code == 0, ended.out
    assert json.loads(call(hub, "audit", "verify", "--json").out)["problems"] == []


def test_no_process_knows_more_than_it_needs(hub: Hub) -> None:
    told = {words: environment_of(pid) for pid, words in hub.descendants().items() if "-m uvicorn" in words or "-m automations" in words}
    assert len(told) >= 2
    for words, one in told.items():
        assert "countersign_owner" not in str(one)
        assert ("countersign_web" in str(one)) == ("uvicorn" in words)
        assert ("COUNTERSIGN_REDIS_URL" in one) == ("automations" in words)


def test_a_second_hub_on_the_same_port_says_so(hub: Hub) -> None:
    ended = countersign("up", "--demo", home=hub.folder, settings=hub.settings)
    assert (ended.code, ended.err) == (1, f"countersign up: Port {hub.port} of 127.0.0.1 is taken; choose another with --port.\n")


def test_ctrl_c_leaves_nothing_and_the_next_start_forgets_nothing(hub: Hub) -> None:
    processes = hub.descendants()
    assert len(processes) > 6
    began = time.monotonic()
    hub.interrupt()
    assert hub.ended() == (0, "")
    assert time.monotonic() - began < 10 * patience()
    assert {pid: words for pid, words in processes.items() if words and words_of(pid) == words} == {}
    hub.start()
    assert hub.ready_after < 10 * patience()
    assert "Your earlier runs are still there" in hub.said
    assert "#1     succeeded" in call(hub, "runs", "--as", "eve").out


def test_a_process_that_dies_stops_everything(hub: Hub) -> None:
    processes = hub.descendants()
    (web,) = (pid for pid, words in processes.items() if "-m uvicorn" in words)
    os.kill(web, signal.SIGKILL)
    code, err = hub.ended()
    assert code == 1
    assert err.startswith("countersign up: The web server was ended by SIGKILL: ")
    assert err.endswith("everything else was stopped.\n")
    assert {pid: words for pid, words in processes.items() if words and words_of(pid) == words} == {}
