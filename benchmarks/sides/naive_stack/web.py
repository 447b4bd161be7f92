"""What Slack talks to: `uvicorn benchmarks.sides.naive_stack.web:api`."""

from fastapi import FastAPI, Request, Response
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.sides.naive_stack.jobs import perform
from benchmarks.sides.naive_stack.models import AuditEvent, Grant, Run
from benchmarks.sides.naive_stack.settings import DATABASE_URL, SIGNING_SECRET, SLACK_API_URL, SLACK_TOKEN

# The default of 5 kept connections and 10 that are closed after each use would spend most of its time connecting.
engine = create_async_engine(DATABASE_URL, pool_size=16, max_overflow=0)
Session = async_sessionmaker(engine, expire_on_commit=False)
bolt = AsyncApp(client=AsyncWebClient(token=SLACK_TOKEN, base_url=SLACK_API_URL), signing_secret=SIGNING_SECRET)
handler = AsyncSlackRequestHandler(bolt)
api = FastAPI()


@api.post("/slack/events")
async def slack_events(request: Request) -> Response:
    """Everything that Slack sends."""
    return await handler.handle(request)


@bolt.command("/work")
async def work(ack: AsyncAck, command: dict[str, str]) -> None:
    """Store what was asked if the person may, and only then ack."""
    async with Session.begin() as session:
        if not await may(session, command["user_id"], "work:run"):
            await ack("You may not run this.")
            return
        run = Run(
            user_id=command["user_id"],
            channel_id=command["channel_id"],
            command=command["command"],
            text=command["text"],
            response_url=command["response_url"],
        )
        run.events.append(AuditEvent(kind="run:submitted", actor=command["user_id"]))
        session.add(run)
    await ack()
    perform.send(str(run.id))


async def may(session: AsyncSession, user_id: str, permission: str) -> bool:
    """Whether this Slack user has this permission."""
    found = await session.scalar(select(Grant).where(Grant.user_id == user_id, Grant.permission == permission))
    return found is not None
