"""Anchors: each block is on a second disk and on standard output, once, also after a crash between commit and anchor."""

import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.anchors import AnchorError, FileAnchor, OutputAnchor, anchor_missing, line_of
from store.databases import reading
from store.embedded import DatabaseUrls
from store.sealing import Block
from tests.store.records import Record, opened

BLOCK = Block(1, bytes(32), b"\1" * 32, 2, 1_000_000, 2_000_000, 3_000_001, "abc", b"\2" * 64)


@pytest.fixture
async def log(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Record]:
    async with opened(database, tmp_path) as made:
        yield made


def test_a_line_says_what_the_block_is() -> None:
    assert json.loads(line_of(BLOCK)) == {
        "n": 1,
        "count": 2,
        "root": "01" * 32,
        "prev": "00" * 32,
        "digest": BLOCK.digest.hex(),
        "signature": "02" * 64,
        "at": "1970-01-01T00:00:03.000001+00:00",
    }


def test_a_block_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "disk" / "audit.jsonl"
    for _ in range(2):
        anchor = FileAnchor(path)
        anchor.anchor(BLOCK)
        anchor.anchor(BLOCK)
        assert anchor.last == 1
        anchor.close()
    assert path.read_text() == line_of(BLOCK)


async def test_blocks_that_a_crash_or_another_host_left_out_are_made_up_for(log: Record) -> None:
    await log.fill(blocks=5, events=2)
    whole = log.anchors.read_text().splitlines(keepends=True)
    log.anchors.write_text("".join([whole[0], whole[3], whole[4][:30]]))
    anchor = FileAnchor(log.anchors)
    assert anchor.last == 1
    async with reading(log.engine) as session:
        await anchor_missing(session, anchor)
        await anchor_missing(session, anchor)
    assert anchor.last == 5
    anchor.close()
    lines = log.anchors.read_text().splitlines(keepends=True)
    assert lines == [whole[0], whole[3], whole[4][:30] + "\n", whole[1], whole[2], whole[4]]


async def test_a_hole_in_the_database_does_not_stop_anchoring(log: Record) -> None:
    await log.fill(blocks=3, events=2)
    log.anchors.unlink()
    log.tamper("DELETE FROM audit_blocks WHERE n = 2")
    await log.fill(blocks=1, events=2)
    assert [json.loads(line)["n"] for line in log.anchors.read_text().splitlines()] == [1, 3, 4]


def test_the_same_line_goes_to_standard_output() -> None:
    output = io.StringIO()
    OutputAnchor(output).anchor(BLOCK)
    assert output.getvalue() == line_of(BLOCK)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnchorError, match=r"The anchor file .*audit\.jsonl cannot be used"):
        FileAnchor(tmp_path / "file" / "audit.jsonl")
    anchor = FileAnchor(tmp_path / "audit.jsonl")
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, anchor._file)
    with pytest.raises(AnchorError, match="Block 1 could not be written to the anchor file"):
        anchor.anchor(BLOCK)
    assert anchor.last == 0
    os.close(full)
    anchor.close()

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(AnchorError, match="Block 1 could not be written to standard output"):
        OutputAnchor(Closed()).anchor(BLOCK)
