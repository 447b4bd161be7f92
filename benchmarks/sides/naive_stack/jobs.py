"""What the worker does: `dramatiq benchmarks.sides.naive_stack.jobs`."""

import logging
from uuid import UUID

import dramatiq
import httpx
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from benchmarks.sides.naive_stack.models import AuditEvent, Run
from benchmarks.sides.naive_stack.settings import DATABASE_URL, REDIS_URL

broker = RedisBroker(url=REDIS_URL)  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)
Session = sessionmaker(create_engine(DATABASE_URL, pool_size=8, max_overflow=0))
# One client for all threads keeps its connections alive; one line of log for each post would cost more than the post tells.
http = httpx.Client()
logging.getLogger("httpx").setLevel(logging.WARNING)


@dramatiq.actor
def perform(run_id: str) -> None:
    """Do the run, record that it was done, and tell the person."""
    with Session.begin() as session:
        run = session.get_one(Run, UUID(run_id))
        result = f"done: {run.text}"
        response_url = run.response_url
        run.status = "succeeded"
        session.add(AuditEvent(run=run, kind="run:succeeded", actor="worker"))
    http.post(response_url, json={"text": result, "response_type": "ephemeral"}).raise_for_status()
