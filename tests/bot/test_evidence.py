"""A run's evidence holds offline, and whatever is done to it is named."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.runs import BIRTHS, MOVES
from store.databases import reading
from store.policies import find_policy
from store.sealing import Signer
from store.verify_evidence import MOVES as KNOWN
from store.verify_evidence import NotEvidence, verify
from tests.bot.console.test_audits import sealing
from tests.bot.console.test_pages import ask_for_grant
from tests.bot.plans import ask_and_plan
from tests.bot.webs import Web
from tests.hubs import World

File = dict[str, Any]


async def evidence_of(web: Web, world: World) -> File:
    """Max asks, Lin approves, a worker plans; all of it sealed. As the API gives it."""
    run, digest = await ask_and_plan(web, world, reason="OPS-12 – für Ada")
    async with await web.caller("lin") as lin:
        assert (await lin.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "approve", "digest": digest})).status_code == 200
    async with sealing(world):
        pass
    async with await web.caller("max") as max_:
        return dict((await max_.get("/api/v1/audit/evidence/1")).json())


def problems(file: File, **more: bytes) -> str:
    return "; ".join(verify(json.dumps(file).encode(), **more).problems)


async def test_it_holds_and_every_change_to_it_is_named(web: Web, world: World, tmp_path: Path) -> None:
    good = await evidence_of(web, world)
    report = verify(json.dumps(good).encode())
    assert report.problems == [], report
    assert (report.run, report.events) == ("1", len(good["events"]))
    assert len(report.notes) == 3, "the key and the anchors are the file's own"
    keys, anchors = (world.folder / "keys" / "audit.pub").read_bytes(), (world.folder / "anchors" / "audit.jsonl").read_bytes()
    assert len(verify(json.dumps(good).encode(), keys=keys, anchors=anchors).notes) == 1
    for change, said in CHANGES.items():
        bad = copy.deepcopy(good)
        TAMPERINGS[change](bad)
        assert said in problems(bad), (change, problems(bad))
    assert CHANGES.keys() == TAMPERINGS.keys()
    other = Signer(Ed25519PrivateKey.generate()).public_pem
    assert "is not among those that you gave" in problems(good, keys=other)
    assert "is not among the anchors" in problems(good, anchors=b'{"n": 99999}\n')
    assert "is not the block that was anchored" in problems(good, anchors=anchors.replace(b'"root": "', b'"root": "0'))
    check_as_a_program(good, tmp_path / "evidence.json")


def check_as_a_program(good: File, path: Path) -> None:
    path.write_text(json.dumps(good))
    command = [sys.executable, "-I", "store/verify_evidence.py", str(path)]
    checked = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert json.loads(checked.stdout)["ok"]
    path.write_text(json.dumps(good).replace("OPS-12", "OPS-13"))
    wrong = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert wrong.returncode == 1
    assert "its payload was changed after it was recorded" in wrong.stdout


def _event(file: File, kind: str) -> File:
    return next(one for one in file["events"] if f'"{kind}"' in one["text"])


def _without(kind: str) -> Callable[[File], None]:
    def change(file: File) -> None:
        file["events"].remove(_event(file, kind))

    return change


def _in_event(kind: str, old: str, new: str) -> Callable[[File], None]:
    def change(file: File) -> None:
        one = _event(file, kind)
        assert old in one["text"], one
        one["text"] = one["text"].replace(old, new)

    return change


def _in_block(name: str, value: object) -> Callable[[File], None]:
    return lambda file: file["blocks"][0].__setitem__(name, value)


def _in_run(name: str, value: object) -> Callable[[File], None]:
    return lambda file: file["run"].__setitem__(name, value)


def _swap(file: File) -> None:
    first, second = file["events"][:2]
    first["text"], second["text"] = second["text"], first["text"]


def _forge(file: File) -> None:
    """An event made up, with the proof of another."""
    one = copy.deepcopy(file["events"][-1])
    one["text"] = one["text"].replace(one["id"], "0" * 8 + one["id"][8:])
    one["id"] = "0" * 8 + one["id"][8:]
    file["events"].append(one)


def _resign(file: File) -> None:
    """The whole signed again by somebody else, who puts their own key into the file: the story then no longer fits the anchors."""
    file["blocks"][0]["count"] += 1


TAMPERINGS: dict[str, Callable[[File], None]] = {
    "actor": _in_event("decision:approve", '"actor":"p_', '"actor":"p_0'),
    "name": lambda file: _event(file, "decision:approve").__setitem__("payload", '{"actor":"kim","detail":{}}'),
    "erased by nobody": lambda file: file["events"][0].__setitem__("payload", None),
    "time": _in_event("run:submitted", '"at_us":', '"at_us":1'),
    "swapped": _swap,
    "twice": lambda file: file["events"].append(file["events"][-1]),
    "made up": _forge,
    "not sealed": lambda file: file["events"][0].__setitem__("block", None),
    "moved": lambda file: file["events"][0].__setitem__("position", file["events"][0]["position"] + 1),
    "path": lambda file: file["events"][0]["path"].pop(),
    "left out": _without("run:planning"),
    "birth left out": _without("run:submitted"),
    "end left out": _without("run:queued"),
    "order": lambda file: file["events"].reverse(),
    "root": _in_block("root", "00" * 32),
    "signature": _in_block("signature", "00" * 64),
    "count": _resign,
    "key": _in_block("key_id", "0" * 16),
    "block gone": lambda file: file["blocks"].clear(),
    "block twice": lambda file: file["blocks"].append(file["blocks"][0]),
    "anchor": lambda file: file.__setitem__("anchors", file["anchors"].replace('"root": "', '"root": "0')),
    "policy": lambda file: file["policies"][0].__setitem__("text", "profile: strict"),
    "policy gone": lambda file: file["policies"].clear(),
    "arguments": _in_run("arguments", {"person": "eve", "role": "admin"}),
    "command": _in_run("command", "revoke"),
    "status": _in_run("status", "succeeded"),
    "plan": lambda file: file["run"]["plan"]["steps"].append({"name": "more"}),
    "digest": _in_run("digest", "ab" * 32),
    "another run": _in_run("id", "00000000-0000-7000-8000-000000000000"),
}
CHANGES = {
    "actor": "was changed after it was sealed",
    "name": "its payload was changed after it was recorded",
    "erased by nobody": "its payload is gone, and nothing erased it",
    "time": "was changed after it was sealed",
    "swapped": "its text is of another event",
    "twice": "is there twice",
    "made up": "was changed after it was sealed",
    "not sealed": "is not sealed",
    "moved": "was changed after it was sealed",
    "path": "was changed after it was sealed",
    "left out": "an event before it is missing",
    "birth left out": "a run cannot begin as",
    "end left out": "its events end with awaiting_approval",
    "order": "is out of order",
    "root": "its header or its signature was changed",
    "signature": "its header or its signature was changed",
    "count": "its header or its signature was changed",
    "key": "is not in the file",
    "block gone": "is not in the file, or not proven",
    "block twice": "is there twice",
    "anchor": "is not the block that was anchored",
    "policy": "its text was changed",
    "policy gone": "its text is not in the file",
    "arguments": "arguments are not those that were recorded",
    "command": "command is not the one that was recorded",
    "status": "the run is said to be succeeded",
    "plan": "the plan is not the one with this digest",
    "digest": "the plan's digest is not the one that was recorded",
    "another run": "is about another run",
}


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"{}", b'{"format": "countersign evidence 1"}', b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_what_is_no_evidence_is_said_to_be_none(bad: bytes) -> None:
    with pytest.raises(NotEvidence):
        verify(bad)


def test_the_checker_knows_the_moves_that_runs_make() -> None:
    """It shares no code with the hub, so its own table is compared here."""
    assert {status.value: {to.value for to in onward} for status, onward in MOVES.items() if onward} == {
        status: set(onward) for status, onward in KNOWN.items() if status
    }
    assert KNOWN[""] == {one.value for one in BIRTHS}


async def test_only_an_auditor_gets_it(web: Web, world: World) -> None:
    await ask_for_grant(web, world)
    async with await web.caller("lin") as lin:
        assert (await lin.get("/api/v1/audit/evidence/1")).status_code == 403
    async with await web.caller("max") as max_:
        assert (await max_.get("/api/v1/audit/evidence/99")).status_code == 404
        fresh = (await max_.get("/api/v1/audit/evidence/1")).json()
    assert "is not sealed: no block holds it" in problems(fresh)
    async with reading(web.hub.engine) as session:
        policy = await find_policy(session)
    assert policy
    assert policy.digest in {one["digest"] for one in fresh["policies"]}
