"""Sealing: every committed event gets into exactly one block, in one chain, whoever seals and whenever it commits."""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from store import verify_audit
from store.audits import AuditEvent, record
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.sealing import KeyFileError, Signer, find_blocks, load_or_create_key, merkle_root, seal
from tests.store.records import Record, opened, plain


@pytest.fixture
async def log(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Record]:
    async with opened(database, tmp_path) as made:
        yield made


async def test_a_block_chains_to_the_one_before_and_is_signed(log: Record) -> None:
    await log.fill(blocks=3, events=5)
    signer = load_or_create_key(log.key)
    async with reading(log.engine) as session:
        blocks = await find_blocks(session, after=0)
        assert [block.n for block in await find_blocks(session, after=1, limit=1)] == [2]
    assert [(block.n, block.count) for block in blocks] == [(1, 5), (2, 5), (3, 5)]
    assert blocks[0].prev == bytes(32)
    for block, following in pairwise(blocks):
        assert following.prev == block.digest == hashlib.sha256(block.header).digest()
        assert block.last_us <= following.first_us
    for block in blocks:
        signer.key.public_key().verify(block.signature, block.header)
        assert block.key_id == signer.key_id
        assert block.first_us <= block.last_us <= block.sealed_us


async def test_a_block_holds_at_most_a_thousand_events_and_nothing_makes_no_block(log: Record) -> None:
    await log.tell(2_300)
    assert [block.count for block in await log.seal()] == [1_000, 1_000, 300]
    assert await log.seal() == []
    assert log.query("SELECT count(*) FROM audit_unsealed") == [(0,)]


async def test_an_event_whose_transaction_commits_late_is_sealed_late(log: Record) -> None:
    async with transaction(log.engine) as slow:
        await record(slow, [AuditEvent("run:submitted", "ada")])
        await log.tell(2)
        (early,) = await log.seal()
        assert early.count == 2
    (late,) = await log.seal()
    assert late.count == 1
    assert late.last_us < early.first_us
    report = log.verify()
    assert (report.rows, report.unsealed, report.problems) == (3, 0, [])


async def test_two_sealers_at_once_make_one_chain(log: Record) -> None:
    signer = load_or_create_key(log.key)

    async def sealer() -> int:
        sealed = 0
        while True:
            async with transaction(log.engine) as session:
                block = await seal(session, signer)
            if block is None:
                return sealed
            sealed += 1

    await log.tell(2_500)
    sealed = await asyncio.gather(sealer(), sealer())
    await log.anchor()
    report = log.verify()
    assert (sum(sealed), report.blocks, report.rows, report.unsealed, report.problems) == (3, 3, 2_500, 0, [])


async def test_a_sealer_that_dies_before_its_commit_leaves_everything_to_the_next(log: Record) -> None:
    await log.tell(4)
    signer = load_or_create_key(log.key)

    async def dies() -> None:
        async with transaction(log.engine) as session:
            assert await seal(session, signer) is not None
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        await dies()
    (block,) = await log.seal()
    assert (block.n, block.count) == (1, 4)
    assert log.verify().problems == []


async def test_what_a_taken_over_web_puts_into_the_queue_seals_nothing(log: Record) -> None:
    await log.fill(blocks=1, events=3)
    await log.tell(2)
    with psycopg.connect(plain(log.urls.web)) as web:
        web.execute("INSERT INTO audit_unsealed SELECT i, i, gen_random_uuid() FROM generate_series(1, 1500) AS i")
        web.execute("INSERT INTO audit_unsealed SELECT 0, 0, id FROM audit_events")
    (block,) = await log.seal()
    assert (block.n, block.count) == (2, 2)
    assert log.query("SELECT count(*) FROM audit_unsealed") == [(0,)]
    assert log.verify().problems == []


def test_the_tree_is_that_of_rfc_6962() -> None:
    # The well-known test vectors of Certificate Transparency's reference tree.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [hashlib.sha256(b"\0" + bytes.fromhex(one)).digest() for one in inputs]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for count, root in roots.items():
        assert merkle_root(leaves[:count]).hex() == root


@pytest.mark.parametrize("count", [*range(1, 70), 255, 256, 257, 999, 1_000])
def test_writer_and_verifier_agree_on_trees_of_every_shape(count: int) -> None:
    leaves = [hashlib.sha256(str(i).encode()).digest() for i in range(count)]
    assert merkle_root(leaves) == verify_audit._root(b"".join(leaves))


def test_the_key_is_made_once_for_this_account_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.pem"
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: load_or_create_key(path).key_id, range(8)))
    assert ids == {load_or_create_key(path).key_id}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.with_suffix(".pub").read_bytes() == load_or_create_key(path).public_pem
    assert sorted(file.name for file in path.parent.iterdir()) == ["audit.pem", "audit.pub"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.pem"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"audit\.pem can be read by other accounts"):
        load_or_create_key(path)


def test_a_file_that_is_not_the_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.pem"
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, sentence in ((b"hello", "cannot be used as the audit's signing key"), (other, "is not an Ed25519 private key")):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match=sentence):
            load_or_create_key(path)


def test_a_public_key_of_another_pair_is_noticed(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "audit.pem", tmp_path / "other.pem"
    load_or_create_key(ours)
    other: Signer = load_or_create_key(theirs)
    ours.with_suffix(".pub").write_bytes(other.public_pem)
    with pytest.raises(KeyFileError, match="does not hold the public key that belongs to"):
        load_or_create_key(ours)
