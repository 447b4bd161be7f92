"""The verifier: an untouched record passes, and whoever changes a row with the owner's password is found, by name."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import pytest

from kit.servers import Servers
from store import verify_audit
from store.audits import AuditEvent, record
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.sealing import load_or_create_key
from tests.store.records import Record, opened, plain

BLOCKS, EVENTS = 4, 8
FORGED = UUID("00000000-0000-7000-8000-00000000f00d")


@pytest.fixture
async def log(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Record]:
    """Four sealed and anchored blocks of eight events."""
    async with opened(database, tmp_path) as made:
        await made.fill(blocks=BLOCKS, events=EVENTS)
        yield made


@pytest.fixture(scope="module")
def prey(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The same, once for all attacks, which bring it back as it was."""

    async def made() -> Record:
        async with opened(servers.fresh_database(), tmp_path_factory.mktemp("record")) as record:
            await record.fill(blocks=BLOCKS, events=EVENTS)
            return record

    record = asyncio.run(made())
    record.keep()
    return record


@dataclass(frozen=True)
class Target:
    """The event to attack, the one after it in its block, and values for the statements."""

    block: int
    position: int
    id: UUID
    other: UUID
    beside: int
    text: str

    @property
    def values(self) -> dict[str, Any]:
        forged = self.text.replace(str(self.id), str(FORGED))
        leaf = hashlib.sha256(b"\0" + forged.encode()).digest()
        own = {"forged": FORGED, "forged_text": forged, "forged_leaf": leaf, "zeros": bytes(32)}
        return {"block": self.block, "position": self.position, "id": self.id, "other": self.other, "beside": self.beside} | own

    @property
    def place(self) -> str:
        return f"audit event {self.id} in block {self.block}, position {self.position}"


@dataclass(frozen=True)
class Attack:
    """Statements of somebody who has the owner's password, and the sentence that must come of it."""

    statements: tuple[LiteralString, ...]
    found: Callable[[Target], str]


INSERT_FORGED: LiteralString = "INSERT INTO audit_events (id, canonical, leaf) VALUES (%(forged)s, %(forged_text)s, %(forged_leaf)s)"
SWAP_TEXTS: LiteralString = """
UPDATE audit_events e SET canonical = o.canonical FROM audit_events o
WHERE (e.id, o.id) IN ((%(id)s::uuid, %(other)s::uuid), (%(other)s, %(id)s))"""

ATTACKS = {
    "edit the text": Attack(
        ("UPDATE audit_events SET canonical = replace(canonical, 'submitted', 'cancelled') WHERE id = %(id)s",),
        lambda t: f"{t.place}: its text was changed after it was sealed",
    ),
    "edit the text and its leaf": Attack(
        (
            "UPDATE audit_events SET canonical = replace(canonical, 'submitted', 'cancelled') WHERE id = %(id)s",
            "UPDATE audit_events SET leaf = sha256('\\x00'::bytea || convert_to(canonical, 'UTF8')) WHERE id = %(id)s",
        ),
        lambda t: f"{t.place}: its text was changed after it was sealed",
    ),
    "edit the text and both leaves": Attack(
        (
            "UPDATE audit_events SET canonical = replace(canonical, 'submitted', 'cancelled') WHERE id = %(id)s",
            "UPDATE audit_events SET leaf = sha256('\\x00'::bytea || convert_to(canonical, 'UTF8')) WHERE id = %(id)s",
            "UPDATE audit_leaves l SET leaf = e.leaf FROM audit_events e WHERE e.id = %(id)s AND l.event_id = e.id",
        ),
        lambda t: f"block {t.block}: its {EVENTS} events do not add up to the root that was signed for {EVENTS}",
    ),
    "edit the leaf": Attack(
        ("UPDATE audit_events SET leaf = %(zeros)s WHERE id = %(id)s",),
        lambda t: f"{t.place}: its leaf column was changed after it was sealed",
    ),
    "edit the sealed leaf": Attack(
        ("UPDATE audit_leaves SET leaf = %(zeros)s WHERE event_id = %(id)s",),
        lambda t: f"{t.place}: its sealed leaf was changed",
    ),
    "cut the sealed leaf short": Attack(
        ("UPDATE audit_leaves SET leaf = '\\x00' WHERE event_id = %(id)s",),
        lambda t: f"{t.place}: its sealed leaf was changed",
    ),
    "change the id": Attack(
        (
            "UPDATE audit_events SET id = %(forged)s WHERE id = %(id)s",
            "UPDATE audit_leaves SET event_id = %(forged)s WHERE event_id = %(id)s",
        ),
        lambda t: f"audit event {FORGED} in block {t.block}, position {t.position}: its id was changed after it was sealed",
    ),
    "delete the event": Attack(
        ("DELETE FROM audit_events WHERE id = %(id)s",),
        lambda t: f"block {t.block} position {t.position}: event {t.id} is missing",
    ),
    "delete the leaf": Attack(
        ("DELETE FROM audit_leaves WHERE event_id = %(id)s",),
        lambda t: f"audit event {t.id} in block {t.block}, position {t.position}: its leaf was deleted",
    ),
    "delete the event and the leaf": Attack(
        ("DELETE FROM audit_leaves WHERE event_id = %(id)s", "DELETE FROM audit_events WHERE id = %(id)s"),
        lambda t: f"block {t.block} position {t.position}: the event and its leaf are missing",
    ),
    "swap two texts": Attack((SWAP_TEXTS,), lambda t: f"{t.place}: its text was changed after it was sealed"),
    "swap two positions": Attack(
        (
            "UPDATE audit_leaves SET position = -1 WHERE event_id = %(id)s",
            "UPDATE audit_leaves SET position = %(position)s WHERE event_id = %(other)s",
            "UPDATE audit_leaves SET position = %(beside)s WHERE event_id = %(id)s",
        ),
        lambda t: (
            f"audit event {t.id} in block {t.block}, position {t.beside}: it was moved there from position {t.position} after it was sealed"
        ),
    ),
    "swap what two leaves point at": Attack(
        (
            "UPDATE audit_leaves SET event_id = %(forged)s WHERE event_id = %(id)s",
            "UPDATE audit_leaves SET event_id = %(id)s WHERE event_id = %(other)s",
            "UPDATE audit_leaves SET event_id = %(other)s WHERE event_id = %(forged)s",
        ),
        lambda t: f"audit event {t.id} in block {t.block}, position {t.beside}: it was put in the place of another event",
    ),
    "insert without sealing": Attack(
        (INSERT_FORGED,),
        lambda t: f"audit event {FORGED} is not sealed: it was inserted behind the sealer's back, or its leaf was deleted",
    ),
    "insert into a sealed block": Attack(
        (
            INSERT_FORGED,
            "UPDATE audit_leaves SET position = position + 1000 WHERE block = %(block)s AND position >= %(position)s",
            "UPDATE audit_leaves SET position = position - 999 WHERE block = %(block)s AND position >= 1000",
            "INSERT INTO audit_leaves VALUES (%(forged)s, %(block)s, %(position)s, %(forged_leaf)s)",
        ),
        lambda t: f"audit event {FORGED} in block {t.block}, position {t.position}: it was inserted after the block was sealed",
    ),
    "insert under a block of its own": Attack(
        (INSERT_FORGED, "INSERT INTO audit_leaves VALUES (%(forged)s, 99, 0, %(forged_leaf)s)"),
        lambda t: "block 99 is missing although leaves name it",
    ),
    "cut the tail": Attack(
        (
            "DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_leaves WHERE block >= %(block)s)",
            "DELETE FROM audit_leaves WHERE block >= %(block)s",
            "DELETE FROM audit_blocks WHERE n >= %(block)s",
        ),
        lambda t: (
            f"block {BLOCKS} is in the anchor file but not in the database"
            if t.block == BLOCKS
            else f"blocks {t.block} to {BLOCKS} are in the anchor file but not in the database"
        ),
    ),
    "edit the header": Attack(
        ("UPDATE audit_blocks SET last_us = last_us + 1 WHERE n = %(block)s",),
        lambda t: f"block {t.block}: its header was changed after it was signed",
    ),
    "edit the root": Attack(
        ("UPDATE audit_blocks SET root = %(zeros)s WHERE n = %(block)s",),
        lambda t: f"block {t.block}: its header was changed after it was signed",
    ),
    "replace the signature": Attack(
        ("UPDATE audit_blocks SET signature = %(zeros)s || %(zeros)s WHERE n = %(block)s",),
        lambda t: f"block {t.block}: its signature was replaced",
    ),
}


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize(("block", "position"), [(1, 0), (2, 3), (BLOCKS, EVENTS - 1)])
def test_max_changes_the_record_with_the_owners_password_and_is_found(prey: Record, kind: str, block: int, position: int) -> None:
    target = target_of(prey, block, position)
    prey.tamper(*ATTACKS[kind].statements, values=target.values)
    problems = prey.verify().problems
    prey.restore()
    assert ATTACKS[kind].found(target) in problems
    assert prey.verify().problems == []


async def test_an_untouched_record_is_proven_and_counted(log: Record) -> None:
    assert log.verify() == verify_audit.Report(rows=BLOCKS * EVENTS, blocks=BLOCKS, unsealed=0, problems=[])


async def test_an_empty_record_is_whole(database: DatabaseUrls, tmp_path: Path) -> None:
    async with opened(database, tmp_path) as log:
        await log.seal()
        assert log.verify() == verify_audit.Report()


async def test_what_was_just_recorded_waits_for_the_sealer_without_blame(log: Record) -> None:
    await log.tell(3)
    report = log.verify()
    assert (report.rows, report.unsealed, report.problems) == (BLOCKS * EVENTS + 3, 3, [])


async def test_an_event_that_waits_longer_than_a_sealer_takes_is_named(log: Record) -> None:
    log.tamper("UPDATE clock SET shift = '-1 minute'")
    await log.tell(1)
    ((waiting,),) = log.query("SELECT event_id FROM audit_unsealed")
    assert log.verify().problems == [f"audit event {waiting} is not sealed: it is older than 10 s, so no sealer is at work"]


async def test_changing_an_event_before_the_sealer_comes_is_found(log: Record) -> None:
    await log.tell(1)
    ((waiting,),) = log.query("SELECT event_id FROM audit_unsealed")
    log.tamper("UPDATE audit_events SET canonical = replace(canonical, 'submitted', 'cancelled') WHERE id = %(id)s", values={"id": waiting})
    assert log.verify().problems == [f"audit event {waiting}, not sealed yet: its text was changed after it was recorded"]
    await log.seal()
    assert log.verify().problems == [f"audit event {waiting} in block {BLOCKS + 1}, position 0: its text was changed after it was sealed"]


async def test_a_column_that_no_longer_follows_the_text_is_not_believed(log: Record) -> None:
    log.tamper("ALTER TABLE audit_events ALTER COLUMN actor DROP EXPRESSION", "UPDATE audit_events SET actor = 'eve'")
    (problem,) = log.verify().problems
    assert problem.startswith("the column actor of audit_events is no longer derived from the text")


@pytest.mark.parametrize(
    "trick",
    [
        "ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY; CREATE POLICY most ON audit_events USING (true)",
        "CREATE TABLE more_events () INHERITS (audit_events)",
        "ALTER TABLE audit_events DROP CONSTRAINT pk_audit_events",
    ],
)
async def test_a_table_that_could_hide_or_add_rows_is_not_believed(log: Record, trick: LiteralString) -> None:
    log.tamper(trick)
    assert any(problem.startswith("the table audit_events is not what it was") for problem in log.verify().problems)


async def test_sealing_all_over_again_with_the_real_key_differs_from_the_anchors(log: Record) -> None:
    log.tamper(
        "TRUNCATE audit_leaves, audit_blocks",
        "DELETE FROM audit_events WHERE seq = 5",
        "INSERT INTO audit_unsealed SELECT at_us, seq, id FROM audit_events",
    )
    await log.seal()
    problems = log.verify().problems
    assert "block 1: it is not the block that was anchored" in problems
    assert f"blocks 2 to {BLOCKS} are in the anchor file but not in the database" in problems


async def test_sealing_all_over_again_with_another_key_is_no_proof(log: Record, tmp_path: Path) -> None:
    log.key.rename(tmp_path / "real.pem")
    log.key.with_suffix(".pub").rename(tmp_path / "real.pub")
    log.anchors.unlink()
    log.tamper("TRUNCATE audit_leaves, audit_blocks", "INSERT INTO audit_unsealed SELECT at_us, seq, id FROM audit_events")
    await log.seal()
    report = verify_audit.verify(log.urls.worker, anchor_path=log.anchors, public_key_path=tmp_path / "real.pub")
    (problem,) = report.problems
    assert problem.startswith("block 1: its ")
    assert problem.endswith("is not in the public key file)")


async def test_a_new_key_is_trusted_beside_the_old_one(log: Record) -> None:
    old = log.key.with_suffix(".pub").read_bytes()
    log.key.unlink()
    log.key.with_suffix(".pub").unlink()
    await log.fill(blocks=1, events=2)
    log.key.with_suffix(".pub").write_bytes(old + log.key.with_suffix(".pub").read_bytes())
    assert log.verify().problems == []


async def test_an_anchor_file_that_was_torn_by_a_crash_is_still_good(log: Record) -> None:
    whole = log.anchors.read_bytes()
    log.anchors.write_bytes(whole[:-40])
    assert log.verify().problems == []
    await log.anchor()
    assert log.anchors.read_bytes() == whole[:-40] + b"\n" + whole.splitlines(keepends=True)[-1]
    assert log.verify().problems == []


async def test_an_anchor_file_that_was_changed_is_not(log: Record) -> None:
    lines = log.anchors.read_bytes().splitlines(keepends=True)
    log.anchors.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:], lines[2].replace(b'"count": 8', b'"count": 9')]))
    problems = log.verify().problems
    assert "line 2 of the anchor file is damaged" in problems
    assert f"line {BLOCKS + 1} of the anchor file holds another block 3 than an earlier line" in problems


async def test_a_block_that_stays_out_of_the_anchor_file_is_named(log: Record) -> None:
    lines = log.anchors.read_bytes().splitlines(keepends=True)
    log.anchors.write_bytes(b"".join(lines[:2]))
    assert log.verify().problems == []
    log.tamper("UPDATE clock SET shift = '-2 minutes'")
    await log.tell(1)
    await log.seal()
    log.anchors.write_bytes(b"".join(lines))
    assert log.verify().problems == [f"1 blocks, the first is block {BLOCKS + 1}, are not in the anchor file"]


async def test_the_rest_of_many_problems_is_counted(log: Record) -> None:
    await log.tell(300)
    await log.seal()
    log.tamper("UPDATE audit_events SET leaf = ''")
    problems = log.verify().problems
    assert len(problems) == verify_audit.MOST_NAMED + 1
    assert problems[-1].startswith("and ")


async def test_events_recorded_side_by_side_are_paired_with_their_leaves(database: DatabaseUrls, tmp_path: Path) -> None:
    async with opened(database, tmp_path) as log:

        async def talk(person: str) -> None:
            for i in range(40):
                async with transaction(log.engine) as session:
                    await record(session, [AuditEvent("noted", person, None, {"i": i})])

        talking = [asyncio.create_task(talk(person)) for person in ("ada", "lin", "kim")]
        while not all(task.done() for task in talking):
            await log.seal()
            await asyncio.sleep(0)
        await asyncio.gather(*talking)
        await log.seal()
        report = log.verify()
        assert (report.rows, report.unsealed, report.problems) == (120, 0, [])


async def test_the_program_needs_nothing_of_the_checkout(log: Record) -> None:
    done, said = run_alone(log, "--json")
    assert done == 0
    assert said == {"rows": BLOCKS * EVENTS, "blocks": BLOCKS, "unsealed": 0, "erased": [], "problems": [], "ok": True}
    log.tamper("DELETE FROM audit_blocks WHERE n = 2")
    done, said = run_alone(log, "--json")
    assert done == 1
    assert "block 2 is in the anchor file but not in the database" in said["problems"]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--database",
        "postgresql://nobody@127.0.0.1:1/none",
        "--anchors",
        str(tmp_path / "a"),
        "--public-key",
        str(tmp_path / "k"),
    ]
    assert verify_audit.main(arguments) == 1
    assert capsys.readouterr().out.startswith(f"The public key file {tmp_path / 'k'} cannot be read")
    (tmp_path / "k").write_text("not a key")
    assert verify_audit.main(arguments) == 1
    assert "holds no Ed25519 public key in PEM" in capsys.readouterr().out
    load_or_create_key(tmp_path / "audit.pem")
    arguments[-1] = str(tmp_path / "audit.pub")
    assert verify_audit.main(arguments) == 1
    assert capsys.readouterr().out.startswith(f"The anchor file {tmp_path / 'a'} cannot be read")
    (tmp_path / "a").touch()
    assert verify_audit.main(arguments) == 1
    assert capsys.readouterr().out.startswith("The audit could not be read from the database: ")


def run_alone(log: Record, *options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-I", verify_audit.__file__, "--database", plain(log.urls.worker), "--anchors", str(log.anchors)]
    command += ["--public-key", str(log.key.with_suffix(".pub")), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def target_of(log: Record, block: int, position: int) -> Target:
    beside = position + 1 if position + 1 < EVENTS else position - 1
    rows = dict(log.query("SELECT position, event_id FROM audit_leaves WHERE block = %s", block))
    ((text,),) = log.query("SELECT canonical FROM audit_events WHERE id = %s", rows[position])
    return Target(block, position, rows[position], rows[beside], beside, text)
