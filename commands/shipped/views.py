"""view save, remove and list: filters of runs, the inbox and the record, kept under a name for oneself or a group."""

from urllib.parse import urlencode

from commands.controls import ControlContext
from commands.views import LONGEST_NAME, ViewPage, filters_of
from countersign.commands import control
from countersign.errors import BadArgument, CountersignError
from countersign.replies import Reply
from store.views import MOST, ViewRow, find_views, remove_view, save_view


@control("view save", quiet=True)
async def view_save(ctx: ControlContext, page: ViewPage, name: str, query: str, share: str = "", first: bool = False) -> Reply:
    """Keep the filters of a page under a NAME: QUERY is what stands in its address behind the question mark.

    SHARE is a group of yours whose people see it too. With --first it is what you see when you open the page without filters.
    """
    label, group = " ".join(name.split()), share.strip().removeprefix("@")
    if not label or len(label) > LONGEST_NAME or "\0" in label:
        raise BadArgument("name", f"should have 1 to {LONGEST_NAME} characters")
    mine = ctx.rulebook.policy.groups_of(ctx.person)
    if group and group not in mine:
        raise BadArgument("share", f"should be a group that you are in: {', '.join(sorted(mine)) or 'you are in none'}")
    filters = filters_of(page, query)
    saved = await save_view(ctx.session, owner=ctx.person.name, page=page, name=label, query=filters, shared_with=group, first=first)
    if not saved:
        raise CountersignError(f"You have {MOST} views already; remove one first: view remove {page} NAME")
    whom = f" for you and {group}" if group else ""
    return Reply(text=f"Saved{whom}: {label} of {page}{', which you see first' if first else ''}.")


@control("view remove", quiet=True)
async def view_remove(ctx: ControlContext, page: ViewPage, name: str) -> Reply:
    """Remove a view of yours."""
    if not await remove_view(ctx.session, owner=ctx.person.name, page=page, name=" ".join(name.split())):
        raise CountersignError(f"You have no view '{name[:LONGEST_NAME]}' of {page}. To see what you have: view list")
    return Reply(text=f"Removed: {name} of {page}.")


@control("view list", quiet=True)
async def view_list(ctx: ControlContext) -> Reply:
    """List your views and those that are shared with your groups."""
    found = await find_views(ctx.session, ctx.person.name, sorted(ctx.rulebook.policy.groups_of(ctx.person)))
    if not found:
        return Reply(text="There is no view yet. The pages of runs, the inbox and the record have a link that saves one.")
    lines = [_line(one) for one in found]
    return Reply(text="Views: page, name, whose, for whom, and what they show.", code="\n".join(lines))


def _line(one: ViewRow) -> str:
    whom = f"@{one.shared_with}" if one.shared_with else "you alone"
    return f"{one.page:<7}{one.name:<42}{one.owner:<14}{whom:<16}{urlencode(one.query)[:120]}"
