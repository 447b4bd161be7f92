"""However a script, its children, its worker or the guard between them end, nothing is left running."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from countersign import StepFailed
from integrations.processes import guards
from integrations.processes.guards import GRACE_SECONDS
from tests.integrations.processes.folders import MINIMAL, Folder, Worker, alive

# Daemons do this: leave the session, change the parent, close nothing.
DAEMON = "setsid sh -c 'sleep 300 & echo daemon $!; echo leader $$; wait' &\n"
STUBBORN = "trap '' TERM; echo stubborn $$; while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def nobody_left(worker: Worker) -> Iterator[None]:
    """Whatever pid a script told must be gone when its test ends."""
    yield
    assert not [pid for pid in pids(worker.lines) if alive(pid)]


def pids(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if len(line.split()) == 2 and line.split()[1].isdigit()]


async def test_what_a_script_leaves_in_the_background_ends_with_it(folder: Folder, worker: Worker) -> None:
    folder.script("sleep 300 & echo left $!\n" + DAEMON + "sleep 0.3; echo done")
    folder.runbook()
    await worker.carry_out((await folder.plan()).steps[0])
    assert len(pids(worker.lines)) == 3


async def test_a_daemon_does_not_survive_a_cancelled_task(folder: Folder, worker: Worker) -> None:
    folder.script(DAEMON + "echo script $$; sleep 300")
    folder.runbook()
    started = asyncio.Event()

    async def heard(_: str) -> None:
        if len(pids(worker.lines)) == 3:
            started.set()

    worker.heard = heard
    task = asyncio.create_task(worker.carry_out((await folder.plan()).steps[0]))
    async with asyncio.timeout(60):
        await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [pid for pid in pids(worker.lines) if alive(pid)]


async def test_who_ignores_the_request_is_killed_after_five_seconds(folder: Folder, worker: Worker) -> None:
    folder.script(STUBBORN)
    folder.runbook(MINIMAL, "timeout: 1s")
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="took longer than 1s"):
        await worker.carry_out((await folder.plan()).steps[0])
    assert GRACE_SECONDS + 1 <= time.monotonic() - began < GRACE_SECONDS + 60


async def test_a_stopped_script_is_ended_too(folder: Folder, worker: Worker) -> None:
    folder.script("echo stopped $$; kill -STOP $$")
    folder.runbook(MINIMAL, "timeout: 1s")
    with pytest.raises(TimeoutError, match="took longer than 1s"):
        await worker.carry_out((await folder.plan()).steps[0])


async def test_a_script_that_closes_its_output_and_goes_on_is_waited_for(folder: Folder, worker: Worker) -> None:
    folder.script("echo early; exec >&- 2>&-; sleep 0.3; exit 7")
    folder.runbook()
    with pytest.raises(StepFailed, match="exit code 7"):
        await worker.carry_out((await folder.plan()).steps[0])


@pytest.mark.parametrize(("script", "code"), [("kill -KILL $$", 137), ("kill -SEGV $$", 139), ("exit 255", 255), ("exit 0", 0)])
async def test_a_signal_is_told_as_shells_tell_it(folder: Folder, worker: Worker, script: str, code: int) -> None:
    folder.script(script)
    folder.runbook()
    step = (await folder.plan()).steps[0]
    if not code:
        await worker.carry_out(step)
        return
    with pytest.raises(StepFailed, match=f"ended with exit code {code}$"):
        await worker.carry_out(step)


async def test_a_script_that_kills_its_guard_has_failed(folder: Folder, worker: Worker) -> None:
    folder.script("kill -KILL $PPID; exec >&- 2>&-; exit 0")
    folder.runbook()
    with pytest.raises(StepFailed, match="ended with exit code -9"):
        await worker.carry_out((await folder.plan()).steps[0])


def test_a_killed_worker_leaves_nothing(tmp_path: Path) -> None:
    """The worst end of a worker: SIGKILL in the middle of a step."""
    folder = Folder(tmp_path)
    folder.script(DAEMON + "mkdir -p a/b; ln -s a link; echo $PWD; echo script $$; sleep 300")
    folder.runbook()
    program = textwrap.dedent(
        f"""
        import asyncio, pathlib, sys
        from tests.integrations.processes.folders import Folder, Worker

        async def told(line):
            print(line, flush=True)

        async def main():
            plan = await Folder(pathlib.Path({str(tmp_path)!r})).plan()
            await Worker(heard=told).carry_out(plan.steps[0])

        asyncio.run(main())
        """
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as worker:
        assert worker.stdout
        told = [worker.stdout.readline() for _ in range(4)]
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
    assert len(pids(told)) == 3
    deadline = time.monotonic() + 60
    (home,) = (Path(line.strip()) for line in told if line.startswith("/"))
    while [pid for pid in pids(told) if alive(pid)] or home.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_guard_says_when_a_program_is_missing(tmp_path: Path) -> None:
    leash, hold = os.pipe()
    with os.fdopen(hold):
        ended = subprocess.run(
            [sys.executable, "-I", "-S", guards.__file__, str(leash), "0", "./nothing"],
            pass_fds=(leash,),
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        os.close(leash)
    assert (ended.returncode, ended.stderr) == (guards.NOT_STARTED, b"./nothing cannot be started: No such file or directory\n")


async def test_many_scripts_at_once_do_not_disturb_each_other(folder: Folder) -> None:
    folder.script('echo "$$ $(cat lib)"; exit 0')
    (folder.path / "lib").write_text("same")
    folder.runbook(more="files: [lib]")
    step = (await folder.plan()).steps[0]
    workers = [Worker() for _ in range(12)]
    await asyncio.gather(*(one.carry_out(step) for one in workers))
    assert [one.lines[0].split()[1] for one in workers] == ["same"] * 12
    assert len({one.lines[0] for one in workers}) == 12
