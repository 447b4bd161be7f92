"""The kit itself: what an author's test may rely on."""

from kit.bots import Bot


async def test_a_grant_needs_another_admin(bot: Bot) -> None:
    max_, lin, ada = bot.cast("max", "lin", "ada", may=["countersign:admin"])
    run = await max_.say("grant ada x")
    assert run.status == "failed"
    assert "There is no role 'x'" in run.outcome
    run = await max_.say("grant ada role-max")
    assert not run.outcome, run.outcome
    await max_.approve(run, expect="someone else must approve your request")
    await lin.approve(run)
    assert run.succeeded
    assert run.trail[-1] == "run:succeeded"
    assert ada.name == "ada"
