import dataclasses
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import pytest

from countersign import Asker, Context, Integration, PlanningContext, StepFailed
from countersign.artifacts import MOST_BYTES, Artifact
from countersign.contexts import I

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ADA = Asker("ada", frozenset({"developers"}))


class Fleet(Integration): ...


class Env(Enum):
    prod = "production"


class Opener:
    """Gives a client that knows whether a planner or a step asked for it."""

    def __call__(self, kind: type[I], /, *, planning: bool) -> I:
        client = kind(kind.Settings())
        client.planning = planning
        return client


class Journal:
    def __init__(self) -> None:
        self.lines: list[object] = []

    async def progress(self, done: float, total: float, note: str) -> None:
        self.lines.append((done, total, note))

    async def log(self, line: str) -> None:
        self.lines.append(line)

    async def artifact(self, artifact: Artifact) -> None:
        self.lines.append(artifact)


async def never() -> bool:
    return False


def planning_context(seed: int = 7) -> PlanningContext:
    return PlanningContext(asker=ADA, now=NOW, seed=seed, opener=Opener())


def step_context(journal: Journal) -> Context:
    return Context(asker=ADA, now=NOW, key="run-1/0", seed=7, opener=Opener(), journal=journal, cancelled=never)


def test_a_planner_gets_clients_that_refuse_to_act_and_a_step_gets_ones_that_do() -> None:
    assert planning_context().use(Fleet).planning is True
    assert step_context(Journal()).use(Fleet).planning is False


def test_random_goes_on_within_a_plan_and_starts_again_with_the_next() -> None:
    context = planning_context()
    drawn = [context.random.random() for _ in range(20)]
    assert len(set(drawn)) == 20
    again = planning_context()
    assert [again.random.random() for _ in range(20)] == drawn
    assert planning_context(8).random.random() != drawn[0]
    assert step_context(Journal()).random.random() == drawn[0]


def test_a_watched_fact_is_kept_as_json() -> None:
    context = planning_context()
    context.watch("env", Env.prod)
    context.watch("hosts", {"b", "a"})
    assert context.watched == {"env": "prod", "hosts": ["a", "b"]}
    assert planning_context().watched == {}


async def test_a_file_that_a_step_leaves_is_bytes_with_a_name_and_a_type(tmp_path: Path) -> None:
    journal = Journal()
    context = step_context(journal)
    (tmp_path / "f").write_bytes(b"\xff\0")
    await context.artifact("report.csv", "a,b")
    await context.artifact("dump.bin", tmp_path / "f", content_type="application/x-dump")
    assert journal.lines == [Artifact("report.csv", b"a,b", "text/csv"), Artifact("dump.bin", b"\xff\0", "application/x-dump")]
    for name in ("../x", ".hidden", "", "a/b", "a\n", 'a"', "x" * 101, "naïve", "a.", "CON\0"):
        with pytest.raises(StepFailed, match="cannot be named"):
            await context.artifact(name, b"")
    for kind in ("text", "text/html\r\nx: y", 'text/html; charset="a"', "a/b/c"):
        with pytest.raises(StepFailed, match="no content type"):
            await context.artifact("a", b"", content_type=kind)
    with pytest.raises(StepFailed, match="cannot be read: No such file"):
        await context.artifact("a", tmp_path / "absent")
    with pytest.raises(StepFailed, match="more than 32 MiB"):
        await context.artifact("a", bytes(MOST_BYTES + 1))


async def test_a_step_reports_to_its_journal() -> None:
    journal = Journal()
    context = step_context(journal)
    await context.progress(1, 3, "pods")
    await context.progress(2, 3)
    await context.log("done")
    assert journal.lines == [(1, 3, "pods"), (2, 3, ""), "done"]
    assert await context.cancelled() is False


@pytest.mark.parametrize("field", ["now", "asker", "seed"])
def test_time_asker_and_seed_are_frozen(field: str) -> None:
    for context in (planning_context(), step_context(Journal())):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(context, field, None)
