"""The life of the embedded servers: restarts, crashes, killed hubs, second hubs, awkward folders."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from store.embedded.homes import _wheel_folder
from tests.store.embedded.conftest import eventually, processes_in
from tests.store.embedded.test_postgres import ask

HUB = """
import sys, time
from pathlib import Path
from store.embedded import EmbeddedPostgres, EmbeddedRedis
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
EmbeddedRedis(Path(sys.argv[1])).start()
print("ready", flush=True)
time.sleep(600)
"""

Start = Callable[..., EmbeddedPostgres]


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Starts a Postgres in the test's folder, or in another; all are stopped after the test."""
    started: list[EmbeddedPostgres] = []

    def begin(folder: Path = data_dir, *, last_resort: Path = data_dir, durable: bool = False) -> EmbeddedPostgres:
        started.append(EmbeddedPostgres(folder, durable=durable, last_resort=last_resort))
        started[-1].start()
        return started[-1]

    yield begin
    for server in reversed(started):
        server.stop()
    assert processes_in(data_dir) == []


def test_data_and_passwords_survive_a_restart(start: Start, made: Path) -> None:
    first = start()
    ask(first.urls.owner, "CREATE TABLE kept AS SELECT 'still here' AS note")
    urls = first.urls
    assert ask(urls.worker, "SHOW fsync") == [("off",)]
    first.stop()
    first.stop()
    assert processes_in(made) == []
    second = start(durable=True)
    assert ask(second.urls.owner, "SELECT note FROM kept") == [("still here",)]
    assert ask(second.urls.worker, "SHOW fsync") == [("on",)]
    assert second.urls == urls


def test_a_killed_hub_leaves_no_process_and_no_damage(start: Start, made: Path) -> None:
    hub = subprocess.Popen([sys.executable, "-c", HUB, str(made)], stdout=subprocess.PIPE, text=True)
    with hub:
        assert hub.stdout is not None
        assert hub.stdout.readline() == "ready\n"
        assert len(processes_in(made)) > 2
        hub.kill()
    assert eventually(lambda: processes_in(made) == [])
    assert ask(start().urls.worker, "SELECT 1") == [(1,)]


def test_a_hub_that_comes_back_at_once_waits_for_the_old_postgres(start: Start, made: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HUB, str(made)], stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout is not None
        hub.stdout.readline()
        hub.send_signal(signal.SIGKILL)
    server = start()
    ask(server.urls.owner, "CREATE TABLE fresh (note text)")
    assert server._server.mine


def test_a_crashed_postgres_starts_again_even_if_its_process_id_is_somebody_elses(start: Start, made: Path) -> None:
    server = start()
    ask(server.urls.owner, "CREATE TABLE kept AS SELECT 1 AS one")
    server._server.kill()
    assert processes_in(made) == []
    marker = made / "postgres" / "data" / "postmaster.pid"
    lines = marker.read_text().splitlines()
    marker.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    assert ask(server.urls.owner, "SELECT one FROM kept") == [(1,)]


def test_a_taken_port_is_left_to_its_owner(start: Start, made: Path) -> None:
    first = start()
    port = first._kept()["port"]
    first.stop()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        second = start()
        assert second._kept()["port"] != port
        assert ask(second.urls.worker, "SELECT 1") == [(1,)]


def test_a_second_hub_joins_and_does_not_stop_what_is_not_its_own(start: Start, made: Path) -> None:
    first = start()
    second = start()
    assert second.urls == first.urls
    second.stop()
    assert ask(first.urls.worker, "SELECT 1") == [(1,)]


def test_a_deep_folder_gets_a_short_socket_that_goes_away_again(start: Start, data_dir: Path) -> None:
    deep = data_dir / ("deep" * 30)
    server = start(deep)
    place = Path(server._kept()["socket"])
    assert not place.is_relative_to(deep)
    assert place.stat().st_mode & 0o777 == 0o700
    assert ask(server.urls.worker, "SELECT 1") == [(1,)]
    server.stop()
    assert not place.exists()


def test_an_interrupted_first_start_is_begun_again(start: Start, data_dir: Path) -> None:
    half = data_dir / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(start().urls.worker, "SELECT 1") == [(1,)]


def test_lost_passwords_are_one_clear_sentence(start: Start, made: Path) -> None:
    start().stop()
    (made / "postgres" / "settings.json").unlink()
    with pytest.raises(EmbeddedError, match=r"settings\.json is missing but .* is not: restore it"):
        start()


def test_urls_before_the_first_start_are_one_clear_sentence(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match="countersign up starts one"):
        EmbeddedPostgres(data_dir).urls  # noqa: B018 reading it is the test
    with pytest.raises(EmbeddedError, match="countersign up starts one"):
        EmbeddedRedis(data_dir).url  # noqa: B018 reading it is the test


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that its server's account cannot reach")
class TestAsRoot:
    def test_a_closed_folder_stays_closed_and_the_data_goes_elsewhere(
        self, start: Start, data_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        closed = data_dir / "closed"
        closed.mkdir(mode=0o700)
        elsewhere = data_dir / "elsewhere"
        elsewhere.mkdir(mode=0o711)
        server = start(closed / "hub", last_resort=elsewhere)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert len(list(elsewhere.glob("countersign-*/data/PG_VERSION"))) == 1
        assert f"who cannot reach {closed / 'hub' / 'postgres'}: its data is in {elsewhere}" in caplog.text
        ask(server.urls.owner, "CREATE TABLE kept AS SELECT 1 AS one")
        server.stop()
        assert ask(start(closed / "hub", last_resort=elsewhere).urls.owner, "SELECT one FROM kept") == [(1,)]

    def test_lost_data_is_not_silently_replaced(self, start: Start, data_dir: Path) -> None:
        (data_dir / "closed").mkdir(mode=0o700)
        start(data_dir / "closed" / "hub").stop()
        shutil.rmtree(next(data_dir.glob("countersign-*")))
        with pytest.raises(EmbeddedError, match="which is gone: restore it"):
            start(data_dir / "closed" / "hub")

    def test_programs_out_of_reach_are_copied(self, start: Start, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        wheel = _wheel_folder()
        closed = data_dir / "closed"
        closed.mkdir(mode=0o700)
        for part in (wheel.name, f"{wheel.name}.libs"):
            shutil.copytree(wheel.with_name(part), closed / part, ignore=shutil.ignore_patterns("pginstall", "include"), symlinks=True)
        monkeypatch.setattr("store.embedded.homes._wheel_folder", lambda: closed / wheel.name)
        server = start(data_dir / "hub")
        assert ask(server.urls.worker, "SELECT 1") == [(1,)]
        assert closed.stat().st_mode & 0o777 == 0o700
