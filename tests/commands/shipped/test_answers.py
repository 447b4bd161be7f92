"""help, whoami, runs, run, audit and policy explain answer at once, each only with what its reader may see."""

from kit.bots import Member
from tests.commands.shipped.words import said

People = tuple[Member, Member, Member, Member]


def needs(permission: str) -> str:
    return f"This needs the permission {permission}; it belongs to the role role-lin or role-max."


async def test_help_shows_what_one_may_run(people: People) -> None:
    ada, _, max_, eve = people
    assert "/cart <how>" in await said(ada, "help")
    assert "grant" not in await said(ada, "help")
    assert "/grant <person> <role>" in await said(max_, "help")
    everybodys = await said(eve, "help")
    assert "/whoami" in everybodys
    assert "/cart" not in everybodys
    told = await said(ada, "help /cart")
    assert "Fill a cart." in told
    assert "permission  cart:fill" in told
    assert "risk        medium" in told
    assert await said(ada, "cart --help") == told
    assert await said(eve, "help cart") == "You have no command 'cart'. Did you mean cancel?"
    assert await said(ada, "help crt") == "You have no command 'crt'. Did you mean cart?"


async def test_whoami_says_whom_it_takes_one_for(people: People) -> None:
    ada, _, _, eve = people
    told = await said(ada, "whoami")
    assert told.startswith("You are ada.")
    assert "cart:fill" in told
    assert "those of the profile" in await said(eve, "whoami")


async def test_runs_and_a_run_are_told(people: People) -> None:
    ada, _, max_, _ = people
    run = await ada.say("cart how='all well'")
    listed = await said(ada, "runs mine=yes command=cart")
    assert "cart how=all well" in listed.splitlines()[1]
    number = listed.splitlines()[1].split()[0]
    assert "no runs of nope" in await said(ada, "runs nope")
    answer = await max_.ask(f"run {number}")
    assert answer.reply.card is not None
    assert answer.reply.card.title == f'{number} cart how="all well"'
    assert str(run.id) in answer.reply.card.footer
    for unknown in ("999999999", "nonsense", "#", "00000000-0000-0000-0000-000000000000"):
        assert await said(ada, f"run '{unknown}'") == "There is no such run."


async def test_the_audit_is_for_those_who_may_read_it(people: People) -> None:
    ada, lin, _, eve = people
    run = await ada.say("cart how='all well'")
    told = await said(lin, f"audit {run.id}")
    assert [line.split()[2] for line in told.splitlines()[1:]] == run.trail
    assert "events, oldest first (UTC)." in await said(lin, "audit")
    for person in (ada, eve):
        assert await said(person, f"audit {run.id}") == needs("countersign:audit")


async def test_explain_says_who_may_and_why(people: People) -> None:
    _, _, max_, _ = people
    told = await said(max_, "policy explain ada cart 'all well'")
    assert "may run      yes: cart:fill through a role" in told
    assert "approval     none (risk medium)" in told
    refused = await said(max_, "policy explain eve cart x")
    assert "may run      no: This needs the permission cart:fill; it belongs to the role role-ada." in refused
    granted = await said(max_, "policy explain max grant ada role-lin")
    assert "approval     1 of: lin" in granted
    assert "the author of grant" in granted
    assert "it answers at once" in await said(max_, "policy explain eve whoami")
    assert await said(max_, "policy explain nobody whoami") == "There is no person named nobody."
    assert await said(max_, "policy explain ada nope") == "There is no command 'nope'."


async def test_deciding_and_cancelling_can_be_typed(people: People) -> None:
    _, lin, max_, eve = people
    run = await max_.say("grant ada role-lin")
    assert (await said(eve, f"approve {run.id}")).startswith(needs("countersign:admin"))
    assert "someone else must approve" in await said(max_, f"approve {run.id}")
    assert "will not happen" in await said(lin, f"deny {run.id} she does not need it")
    await lin.bot.refresh()
    assert (run.status, run.outcome) == ("denied", "Denied by lin: she does not need it")
    run = await max_.say("grant ada role-lin")
    assert "is cancelled; nothing was done" in await said(max_, f"cancel {run.id}")
    assert await said(max_, f"cancel {run.id}") != ""
