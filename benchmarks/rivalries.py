"""Engines that journal steps, each as its own documentation has it: installed from wheels into a virtual environment of their own."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from benchmarks.errors import BenchmarkError
from benchmarks.machines import libpq_url
from benchmarks.processes import ROOT, Child
from benchmarks.services import Services
from store.embedded.accounts import Account
from store.embedded.servers import free_port

REQUIREMENTS: Final = Path(__file__).with_name("requirements-rivals.txt")
HOME: Final = ROOT / ".venv" / "rivals"
START_SECONDS: Final = 90.0
ANSWER_SECONDS: Final = 120.0


def rivals_python() -> Path:
    """The interpreter that has the rivals; installed at the first call, from the pinned and hashed requirements. Raises BenchmarkError."""
    python, stamp = HOME / "bin" / "python", HOME / "installed"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"installing the other sides into {HOME.relative_to(ROOT)} (a minute or two)", flush=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS)]
    for command in ([sys.executable, "-m", "venv", str(HOME)], install):
        if subprocess.run(command, check=False).returncode:
            raise BenchmarkError(f"The other sides could not be installed into {HOME}.")
    stamp.write_text(REQUIREMENTS.read_text())
    return python


class Rival:
    """A resident process that does the whole work once for each line on its standard input."""

    def __init__(self, services: Services, *, name: str, program: str, steps: int) -> None:
        self.name = name
        self._services, self._program, self._steps = services, program, steps
        self._process: asyncio.subprocess.Process | None = None
        self._children: list[Child] = []
        self.database_url = ""

    async def start(self) -> None:
        """With a database of its own on the shared Postgres; returns when it waits for lines. Raises BenchmarkError."""
        python = await asyncio.to_thread(rivals_python)
        environment = await self._surroundings(python)
        program = Path(__file__).parent / "sides" / "rivals" / self._program
        with (self._services.folder / f"{self._program}.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(python),
                str(program),
                env={**os.environ, **environment, "BENCH_STEPS": str(self._steps)},
                cwd=self._services.folder,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        await self._line(START_SECONDS)

    async def run(self) -> float:
        """Seconds that the work took."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        return float(await self._line(ANSWER_SECONDS))

    async def stop(self) -> None:
        """Ends it and what it needed."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        while self._children:
            self._children.pop().stop()

    async def _line(self, seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            async with asyncio.timeout(seconds):
                line = (await self._process.stdout.readline()).decode().strip()
            if line == "ready" or line.replace(".", "").replace("e-", "").isdigit():
                return line
            if not line:
                break
        log = (self._services.folder / f"{self._program}.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise BenchmarkError(f"{self.name} gave no answer: {log[0] if log else 'it wrote nothing'}")

    async def _surroundings(self, python: Path) -> dict[str, str]:
        if self._program.startswith("prefect"):
            return await self._prefect_server(python)
        name = f"dbos_{uuid4().hex[:6]}"
        self._services.postgres.create_database(name)
        self.database_url = self._services.postgres.urls_for(name).owner
        return {"BENCH_DATABASE_URL": self.database_url}

    async def _prefect_server(self, python: Path) -> dict[str, str]:
        """Prefect keeps its state in a server of its own, with that in Postgres."""
        self.database_url, port = await asyncio.to_thread(self._contrib_postgres), free_port(None)
        common = {"PREFECT_HOME": str(self._services.folder / "prefect"), "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1"}
        own = {
            **common,
            "PREFECT_API_DATABASE_CONNECTION_URL": make_url(self.database_url)
            .set(drivername="postgresql+asyncpg")
            .render_as_string(hide_password=False),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        command = [str(python), "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        server = Child(command, environment=own, log=self._services.folder / "prefect-server.log")
        self._children.append(server)
        await server.listens(port)
        return {**common, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}

    def _contrib_postgres(self) -> str:
        """A Postgres that has the extension pg_trgm, which Prefect wants and the wheel's has not: Debian's. Raises BenchmarkError."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise BenchmarkError("Prefect needs a Postgres with pg_trgm: Debian's package postgresql is not installed.")
        account, port = Account.unprivileged(), free_port(None)
        data = account.own(self._services.folder / "prefect-postgres")
        initdb = [str(found[-1]), "--pgdata", str(data / "data"), "--username", "bench", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        who = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.is_other else {}
        subprocess.run(initdb, check=True, cwd="/", stdout=subprocess.DEVNULL, **who)  # type: ignore[call-overload]
        words = [str(found[-1].with_name("postgres")), "-D", str(data / "data"), "-p", str(port), "-k", ""]
        log = self._services.folder / "prefect-postgres.log"
        self._children.append(Child(words, environment={}, log=log, account=(account.uid, account.gid) if account.is_other else (0, 0)))
        url = f"postgresql+psycopg://bench@127.0.0.1:{port}/postgres"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(libpq_url(url), connect_timeout=2):
                    return url
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise BenchmarkError("The Postgres for Prefect did not answer.") from None
                time.sleep(0.1)
