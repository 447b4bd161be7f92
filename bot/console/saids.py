"""What was answered to a form that was sent without a script: the page comes back with it, once for each key."""

from starlette.requests import Request

from bot.hubs import Hub
from countersign.replies import Reply
from store.databases import ReadSession
from store.inbox import find_answer

from .frames import Here
from .pages import Said


async def said_of(request: Request, here: Here) -> Said | None:
    """The answer that the address names, if it was given to whoever reads the page."""
    hub: Hub = request.app.state.hub
    key = request.query_params.get("said", "")[:100]

    async def read(session: ReadSession) -> Said | None:
        answer = await find_answer(session, f"room:{here.visitor.person.name}:{key}")
        reply = Reply.stored(answer) if answer else None
        return Said(reply, form=reply.form) if reply else None

    return await hub.read(read) if key else None
