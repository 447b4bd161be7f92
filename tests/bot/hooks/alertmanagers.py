"""A real Alertmanager, where Debian's package is installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.hubs import until

PROGRAMS = ("prometheus-alertmanager", "alertmanager")
CONFIG = """
route: {{receiver: hub, group_by: [alertname, service], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: hub
    webhook_configs:
      - {{url: "{url}", send_resolved: true, http_config: {{authorization: {{credentials: "{secret}"}}}}}}
"""


def program() -> str:
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        if os.environ.get("COUNTERSIGN_REQUIRE_PROGRAMS") == "1":
            pytest.fail("no Alertmanager: install Debian's prometheus-alertmanager")
        pytest.skip("no Alertmanager here: install Debian's prometheus-alertmanager")
    return found


@asynccontextmanager
async def alertmanager(folder: Path, *, url: str, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    """One that delivers to `url`; its API, once it answers."""
    (folder / "alertmanager.yml").write_text(CONFIG.format(url=url, secret=secret))
    port = free_port()
    options = {
        "--config.file": folder / "alertmanager.yml",
        "--storage.path": folder / "alertmanager",
        "--web.listen-address": f"127.0.0.1:{port}",
        "--cluster.listen-address": "",
    }
    process = _started(folder / "alertmanager.log", [program(), *(f"{name}={value}" for name, value in options.items())])
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, what=f"Alertmanager answers: {folder / 'alertmanager.log'}")
            yield client
    finally:
        process.kill()
        process.wait()


def _started(log: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
