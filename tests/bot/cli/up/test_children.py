"""The processes of a hub: watched, stopped with everything they started, and never left behind."""

import asyncio
import signal
import sys
import time
from pathlib import Path

from bot.cli.up.children import Child, Part
from bot.cli.up.environments import plain_environment
from tests.hubs import until

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(inner.pid, flush=True)
time.sleep(600)
"""


def part(script: str, *, name: str = "web server") -> Part:
    return Part(name, [sys.executable, "-c", script], plain_environment(), stop_seconds=0.5)


async def test_one_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = await Child.started(part("print('busy'); print('Error: no room'); print('bye'); raise SystemExit(3)"), folder=tmp_path)
    assert await child.ended() == f"The web server ended with exit code 3: Error: no room (log: {tmp_path / 'web-server.log'})"


async def test_one_that_was_killed_is_told_too(tmp_path: Path) -> None:
    child = await Child.started(part("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", name="worker pool"), folder=tmp_path)
    assert (await child.ended()).startswith("The worker pool was ended by SIGKILL")


async def test_one_that_does_not_stop_is_killed_with_all_it_started(tmp_path: Path) -> None:
    child = await Child.started(part(STUBBORN), folder=tmp_path)
    log = tmp_path / "web-server.log"

    async def said() -> str:
        return log.read_text().strip()

    inner = int(await until(said))
    began = time.monotonic()
    await child.stop()
    assert time.monotonic() - began < 60

    async def gone() -> bool:
        return not is_alive(inner)

    assert not child.is_running
    await until(gone, what="the inner process ends")


async def test_none_outlives_the_hub(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom bot.cli.up.children import Child, Part\n"
        "async def main():\n"
        "    part = Part('web server', [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'], {}, 1)\n"
        "    await Child.started(part, folder=Path(sys.argv[1]))\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    hub = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path))
    log = tmp_path / "web-server.log"

    async def said() -> str:
        return log.read_text().strip() if log.exists() else ""

    child = int(await until(said))
    hub.send_signal(signal.SIGKILL)
    await hub.wait()

    async def gone() -> bool:
        return not is_alive(child)

    await until(gone, what="the child ends with its hub")


def is_alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
