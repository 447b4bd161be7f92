"""Any process may seal, only a worker's private key opens, and a mark tells that two secrets are equal and nothing more."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.exceptions import CryptoError

from countersign import Secret
from countersign.canonical import canonical
from store.databases import reading, transaction
from store.runs import create
from store.secrets import Keys, find_secrets, put_back
from tests.store.tables import Tables

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
DATA = st.recursive(
    PLAIN | TEXTS.map(Secret),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.prepared(tmp_path_factory.mktemp("secrets") / "keys")


@given(DATA)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_taken_out_can_be_put_back_by_who_may_open(keys: Keys, data: Any) -> None:
    found: dict[str, bytes] = {}
    stored = keys.sealer().taken_out(data, found)
    canonical(stored)
    opened = {mark: keys.opener().open(sealed) for mark, sealed in found.items()}
    assert put_back(stored, opened) == data


@given(TEXTS, TEXTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equal_secrets_have_equal_marks_and_unequal_seals(keys: Keys, one: str, other: str) -> None:
    sealer = keys.sealer()
    assert (sealer.mark(one) == sealer.mark(other)) == (one == other)
    assert sealer.seal(one) != sealer.seal(one)
    assert len(one) < 8 or one.encode() not in sealer.seal(one)


def test_another_hubs_marks_and_keys_are_others(keys: Keys, tmp_path: Path) -> None:
    other = Keys.prepared(tmp_path / "keys")
    assert other.sealer().mark("s3cret") != keys.sealer().mark("s3cret")
    with pytest.raises(CryptoError):
        other.opener().open(keys.sealer().seal("s3cret"))


def test_a_seal_that_was_changed_does_not_open(keys: Keys) -> None:
    sealed = keys.sealer().seal("s3cret")
    for position in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(CryptoError):
            keys.opener().open(bytes(changed))


def test_keys_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    first = Keys.prepared(tmp_path / "keys")
    sealed = first.sealer().seal("s3cret")
    again = Keys.prepared(tmp_path / "keys")
    assert again.opener().open(sealed) == "s3cret"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    for one in ("seal.private", "mark"):
        assert (tmp_path / "keys" / one).stat().st_mode & 0o777 == 0o600


async def test_a_runs_secrets_are_kept_sealed_and_the_web_cannot_read_them(tables: Tables, keys: Keys) -> None:
    found: dict[str, bytes] = {}
    arguments = keys.sealer().taken_out({"code": Secret("s3cret-value")}, found)
    one = tables.new(arguments=arguments, secrets={mark: base64.b64encode(found[mark]).decode() for mark in found})
    async with transaction(tables.web) as session:
        await create(session, [one])
    async with reading(tables.worker) as session:
        opened = await find_secrets(session, one.id, keys.opener())
    assert put_back((await tables.row(one.id)).arguments, opened) == {"code": Secret("s3cret-value")}
    assert not await tables.may("web", "SELECT sealed FROM secrets")
