"""link code: the first half of linking a chat account by oneself."""

from commands.controls import ControlContext
from commands.linking import LIFETIME, begin_link
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.invocations import Door
from countersign.replies import Reply

_SIGNED_IN = (Door.browser, Door.terminal, Door.api)


@control("link code", quiet=True, once=True)
async def link_code(ctx: ControlContext) -> Reply:
    """Get a code that links your chat account to you: type it there as /countersign link CODE."""
    if ctx.invocation.door not in _SIGNED_IN:
        raise CountersignError("Ask for the code where you are signed in (the browser room or the command line), and type it here.")
    code = await begin_link(ctx.session, ctx.person)
    return Reply(text=f"Within {LIFETIME} type this in the chat, from the account that is yours:", code=f"/countersign link {code}")
