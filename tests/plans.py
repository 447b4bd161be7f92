"""What Postgres does for each statement that a piece of work makes: its plan as it is made for our connections, and what it reads."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg._queries import PostgresQuery  # what our own connections prepare, types included
from psycopg.adapt import Transformer
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from store.databases import WORKER_OPTIONS, plain_url

# The tables that grow with every run.
BIG = frozenset({"runs", "approval_requests", "decisions", "messages", "audit_events", "audit_unsealed", "inbox", "steps", "log_chunks"})
_NAMES = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Cost:
    """What one execution of a statement read: pages, rows looked at, of which tables, and through which of them from end to end."""

    statement: str
    blocks: int
    rows: float
    tables: frozenset[str]
    whole: frozenset[str]


@contextmanager
def heard(*engines: AsyncEngine) -> Iterator[dict[str, Mapping[str, Any]]]:
    """The statements that these engines make meanwhile, each with its last parameters."""
    found: dict[str, Mapping[str, Any]] = {}
    with _listening(engines, found.__setitem__):
        yield found


@contextmanager
def counted(*engines: AsyncEngine) -> Iterator[Counter[str]]:
    """How often these engines make which statement meanwhile."""
    found: Counter[str] = Counter()
    with _listening(engines, lambda statement, _: found.update([statement])):
        yield found


@contextmanager
def _listening(engines: Sequence[AsyncEngine], told: Callable[[str, Mapping[str, Any]], None]) -> Iterator[None]:
    def hear(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        told(statement, dict(parameters or {}))

    for engine in engines:
        event.listen(engine.sync_engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        for engine in engines:
            event.remove(engine.sync_engine, "before_cursor_execute", hear)


def costs_of(url: str, statements: Mapping[str, Mapping[str, Any]]) -> list[Cost]:
    """Each statement carried out once more by its plan for any parameters, which is what our connections use, and taken back."""
    with psycopg.connect(plain_url(url), options=WORKER_OPTIONS, prepare_threshold=0) as connection:
        return [_cost(connection, statement, parameters) for statement, parameters in statements.items()]


def _cost(connection: psycopg.Connection[Any], statement: str, parameters: Mapping[str, Any]) -> Cost:
    query = PostgresQuery(Transformer(connection))
    query.convert(statement, parameters)
    connection.execute("DEALLOCATE ALL", prepare=False)
    connection.pgconn.prepare(b"heard", query.query, query.types)
    values = sql.SQL(", ").join(sql.Literal(parameters[one]) for one in dict.fromkeys(_NAMES.findall(statement)))
    call = sql.SQL("EXECUTE heard ({})").format(values) if query.params else sql.SQL("EXECUTE heard")
    try:
        plan = _explained(connection, call, "ANALYZE, BUFFERS, FORMAT JSON")
    except psycopg.errors.UniqueViolation:  # it added a row with an id of its own, and reads nothing
        plan = _explained(connection, call, "FORMAT JSON")
    nodes = list(_nodes(plan))
    return Cost(
        statement=" ".join(statement.split()),
        blocks=plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0),
        rows=sum(_rows(one) for one in nodes),
        tables=frozenset(one["Relation Name"] for one in nodes if "Relation Name" in one),
        whole=frozenset(one["Relation Name"] for one in nodes if one["Node Type"] == "Seq Scan"),
    )


def _explained(connection: psycopg.Connection[Any], call: sql.Composable, how: LiteralString) -> Mapping[str, Any]:
    with connection.transaction(force_rollback=True):
        row = connection.execute(sql.SQL(how).join([sql.SQL("EXPLAIN ("), sql.SQL(") ")]) + call, prepare=False).fetchone()
    assert row is not None
    plan: Mapping[str, Any] = row[0][0]["Plan"]
    return plan


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)


def _rows(node: Mapping[str, Any]) -> float:
    """Rows of a table that were looked at, those left out by a filter included."""
    if "Relation Name" not in node or "Actual Rows" not in node or "Scan" not in node["Node Type"]:
        return 0
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(node["Actual Loops"] * (node["Actual Rows"] + left_out))
