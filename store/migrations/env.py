"""Alembic's entry: one connection as the owner, one lock so that two hosts never migrate at once."""

from alembic import context
from sqlalchemy import create_engine, text

from store.tables import metadata

LOCK = 4_707_031


def run() -> None:
    engine = create_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True, include_object=_ours)
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()
    engine.dispose()


def _ours(_thing: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    """Everything but the clock's one row, which is no model: only tests, as the owner, ever write it."""
    return (kind, name) != ("table", "clock")


run()
