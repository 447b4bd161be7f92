"""passkey add, list and revoke as one types them; and authors test critical commands with people who sign."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from commands.passkeys import NewKey, fingerprint, written_key
from commands.sites import Site
from kit.authenticators import Key
from kit.bots import Bot
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.passkeys import find_passkeys
from tests.commands.shipped.words import said
from tests.stories.vaults import COMMANDS

SITE = Site.of("http://127.0.0.1:8000")


@pytest.fixture
async def vault(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "vault.py").write_text(COMMANDS)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["data:erase"])
        bot.cast("lin", "kim", may=["data:approve"])
        bot.cast("max", "moe", may=["countersign:admin"])
        yield bot


def a_key(site: Site = SITE) -> str:
    return written_key(NewKey(Key(site.rp_id, b"").data, 0), site)


async def test_an_author_tests_a_critical_command_with_people_who_sign(vault: Bot, tmp_path: Path) -> None:
    ada, lin, kim = vault.cast("ada", "lin", "kim")
    run = await ada.say(f"erase {tmp_path / 'burnt'} everything")
    assert "nobody who may approve this has one yet" in run.outcome
    await lin.approve(run, expect="This is signed with a passkey, and you have none yet")
    await lin.sign(run, expect="Approved; 1 more person has to approve.")
    await lin.sign(run, expect="You have already decided")
    await kim.approve(run, expect="you have none yet")
    await kim.sign(run, expect="Approved; it starts now.")
    assert run.succeeded, run.outcome
    again = await ada.say(f"erase {tmp_path / 'burnt'} more")
    await lin.approve(again, expect="This is signed with your passkey, in the browser: http://127.0.0.1:8000/runs/")
    await kim.sign(again, "deny", reason="why?", expect="will not happen")
    assert again.status == "denied"


async def test_explain_says_who_could_not_sign_yet(vault: Bot, tmp_path: Path) -> None:
    ada, lin, max_ = vault.cast("ada", "lin", "max")
    run = await ada.say(f"erase {tmp_path / 'burnt'} everything")
    await lin.sign(run)
    told = await said(max_, f"policy explain ada 'erase {tmp_path / 'burnt'} everything'")
    assert "how          signed with a passkey; none yet: kim" in told
    assert "how          in the browser, within five minutes of logging in" in await said(max_, "policy explain ada 'dim x y'")


async def test_keys_are_listed_for_their_owner_and_for_admins(vault: Bot, tmp_path: Path) -> None:
    ada, lin, kim, max_ = vault.cast("ada", "lin", "kim", "max")
    assert await said(lin, "passkey list") == "You have no passkey yet: enrol one in the browser, under Passkeys, and an admin signs that."
    run = await ada.say(f"erase {tmp_path / 'burnt'} everything")
    for one in (lin, kim):
        await one.sign(run)
    mine, all_of_them = await said(lin, "passkey list"), await said(max_, "passkey list")
    assert ("lin" in mine, "kim" in mine) == (True, False)
    assert ("lin" in all_of_them, "kim" in all_of_them) == (True, True)
    async with reading(vault.services.engine) as session:
        [key] = await find_passkeys(session, ["lin"])
    ended = await max_.say(f"passkey revoke {fingerprint(key.data)}")
    assert ended.succeeded, ended.outcome
    assert "passkey:revoked" in ended.trail
    assert await said(lin, "passkey list") == "You have no passkey yet: enrol one in the browser, under Passkeys, and an admin signs that."


async def test_an_admin_signs_for_somebody_elses_key_and_nobody_for_their_own(vault: Bot) -> None:
    lin, max_, moe = vault.cast("lin", "max", "moe")
    await moe.sign(await max_.submit("passkey add", label="first", key=a_key()))
    run = await lin.submit("passkey add", label="phone", key=a_key())
    assert run.summary == "lin can sign decisions with the passkey 'phone'"
    await lin.sign(run, expect="You asked for this; someone else must approve your request.")
    await max_.approve(run, expect="signed with")
    await max_.sign(run, expect="it starts now")
    assert run.succeeded, run.outcome
    assert "passkey:added" in run.trail
    own = await max_.submit("passkey add", label="second", key=a_key())
    await max_.sign(own, expect="someone else must approve your request")


@pytest.mark.parametrize(
    ("label", "key", "sentence"),
    [
        ("phone", "nonsense", "This is not a passkey's answer."),
        ("phone", a_key(Site.of("https://ops.example.test")), "This key was made for another site than localhost."),
        (" ", a_key(), "label: should be a few words that tell your keys apart, at most 40 characters."),
        ("x" * 41, a_key(), "label: should be a few words that tell your keys apart, at most 40 characters."),
    ],
)
async def test_what_is_no_key_for_here_is_refused_while_planning(vault: Bot, label: str, key: str, sentence: str) -> None:
    [lin] = vault.cast("lin")
    run = await lin.submit("passkey add", label=label, key=key)
    assert (run.status, run.outcome) == ("failed", sentence)


async def test_who_uses_no_passkeys_never_reads_of_them(crew: Bot) -> None:
    ada, max_ = crew.cast("ada", "max")
    for one in (ada, max_):
        assert "passkey" not in await said(one, "help")
    assert "List your passkeys" in await said(ada, "help 'passkey list'")


async def test_where_something_is_critical_help_shows_them(vault: Bot) -> None:
    [lin] = vault.cast("lin")
    assert "/passkey list" in await said(lin, "help")
