"""Runbook folders for tests, and a worker's side of a step that remembers what it was told."""

import sys
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from countersign import Asker, Command, Context, Plan, PlanningContext, Step
from countersign.artifacts import Artifact
from integrations.catalogs import Catalog
from integrations.processes import load_runbooks

MINIMAL = """
command: restart-service
help: Restart one service.
permission: ops:restart
run: [./restart.sh]
"""

# Prints its own command line as one result line.
TELL_ARGV = f"""#!{sys.executable} -IS
import json, sys
print("::result " + json.dumps({{"argv": sys.argv}}))
"""


@dataclass
class Folder:
    """A folder of runbooks."""

    path: Path

    def script(self, text: str, name: str = "restart.sh", *, mode: int = 0o755) -> Path:
        """Writes a shell script, or whatever begins with its own '#!'."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        body = textwrap.dedent(text).lstrip("\n")
        path.write_text(body if body.startswith("#!") else "#!/bin/sh\n" + body)
        path.chmod(mode)
        return path

    def runbook(self, text: str = MINIMAL, more: str = "", *, name: str = "restart.yaml") -> Path:
        path = self.path / name
        path.write_text(textwrap.dedent(text).strip() + "\n" + textwrap.dedent(more).strip() + "\n")
        return path

    def load(self) -> Command:
        """The folder's only command."""
        (one,) = load_runbooks(self.path)
        return one

    async def plan(self, **arguments: Any) -> Plan:
        return await planned(self.load(), **arguments)


@dataclass
class Worker:
    """What a step's Context reports to: lines, progress, and whether Ada pressed Cancel."""

    lines: list[str] = field(default_factory=list)
    steps: list[tuple[float, float, str]] = field(default_factory=list)
    asked: bool = False
    heard: Callable[[str], Awaitable[None]] | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    async def log(self, line: str) -> None:
        self.lines.append(line)
        if self.heard:
            await self.heard(line)

    async def progress(self, done: float, total: float, note: str) -> None:
        self.steps.append((done, total, note))

    async def artifact(self, artifact: Artifact) -> None:
        self.files[artifact.name] = artifact.content

    async def cancelled(self) -> bool:
        return self.asked

    async def carry_out(self, step: Step) -> Any:
        """Runs a planned step as a worker does: from its written arguments, read back by the step's own schema."""
        context = Context(
            asker=Asker("ada"),
            now=datetime(2026, 11, 23, tzinfo=UTC),
            key="run/0",
            seed=1,
            opener=Catalog({}),
            journal=self,
            cancelled=self.cancelled,
        )
        arguments = step.function.schema.validate(step.function.schema.written(step.arguments))
        return await step.function.function(context, **arguments)


async def planned(one: Command, **arguments: Any) -> Plan:
    """Plans as a worker does: arguments validated by the schema, then the planner."""
    context = PlanningContext(Asker("ada"), datetime(2026, 11, 23, tzinfo=UTC), 1, Catalog({}))
    plan = await one.function(context, **one.schema.validate(arguments))
    assert isinstance(plan, Plan)
    return plan


def alive(pid: int) -> bool:
    """Whether the process exists and is more than an uncollected exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def exists(path: str) -> bool:
    return Path(path).exists()
