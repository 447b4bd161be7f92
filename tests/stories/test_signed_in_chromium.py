"""A critical run is signed in a real browser: people make passkeys on the page, and two of them approve with theirs."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, expect

from store.audits import find_trail
from store.databases import reading
from store.embedded import DatabaseUrls
from store.runs import find_by_reference
from tests.bot.webs import free_port
from tests.holders import Lodge
from tests.stories.browsers import Chromium, chromium, come_in, find_chromium, tab_to
from tests.stories.vaults import accepted, open_vault

_DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class Desk:
    """The hub and a browser; everybody has a window and a device of their own."""

    lodge: Lodge
    chromium: Chromium
    address: str

    async def window(self, person: str, *, scripts: bool = True, device: bool = True) -> Page:
        context = await self.chromium.context(scripts=scripts)
        page = await come_in(context, self.address, await self.lodge.web.token("link", person, scopes=()))
        if device:
            tools = await context.new_cdp_session(page)
            await tools.send("WebAuthn.enable")
            await tools.send("WebAuthn.addVirtualAuthenticator", {"options": _DEVICE})
        return page

    async def enrol(self, page: Page, label: str = "laptop") -> tuple[str, str]:
        """Makes a key on the page by keyboard; the number of the run that enrols it, and the fingerprint that its page shows."""
        await page.goto(f"{self.address}/passkeys")
        await tab_to(page, "What is it called?")
        await page.keyboard.type(label)
        await tab_to(page, "Make a passkey")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile(r"/runs/\d+$"))
        await self.lodge.settle()
        await page.reload()
        fingerprint = page.locator(".card dl > div", has=page.get_by_text("Fingerprint", exact=True)).locator("dd")
        await expect(fingerprint).to_have_text(re.compile(r"([0-9a-f]{4}-){4}[0-9a-f]{4}"))
        return page.url.rpartition("/")[2], await fingerprint.inner_text()

    async def approve(self, page: Page, number: str | int, says: str) -> None:
        """Comes back and presses again when the card was replaced by its next version between a key's way down and up."""
        said = page.locator(".answers .said")
        for seconds in (20, 20, 60):
            await page.goto(f"{self.address}/runs/{number}")
            for key in ("Enter", "Space"):
                await tab_to(page, "Approve")
                await page.keyboard.press(key)
            with suppress(PlaywrightError):
                await said.wait_for(timeout=seconds * 1_000)
                break
        await expect(said).to_contain_text(says)

    async def ask(self, folder: Path) -> int:
        ada = await self.lodge.holder("ada")
        run = await ada.ask("erase", where=str(folder / "burnt"), what="everything")
        await self.lodge.settle()
        return int(run["number"])


@pytest.fixture
async def desk(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    find_chromium()
    port = free_port()
    async with open_vault(database, redis_url, tmp_path, port=port) as lodge, chromium() as browser:
        yield Desk(lodge, browser, f"http://localhost:{port}")


async def test_two_people_sign_a_critical_run_with_passkeys_made_on_the_page(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    max_, lin, kim = [await desk.window(name) for name in ("max", "lin", "kim")]
    number, fingerprint = await desk.enrol(max_)
    assert (await accepted(desk.lodge, monkeypatch, number, fingerprint)).code == 0
    for page in (lin, kim):
        number, fingerprint = await desk.enrol(page)
        await desk.approve(max_, number, "Approved; it starts now.")
        await desk.lodge.settle()
        await page.goto(f"{desk.address}/passkeys")
        await expect(page.get_by_text(fingerprint)).to_be_visible()
    run = await desk.ask(tmp_path)
    await desk.approve(lin, run, "Approved; 1 more person has to approve.")
    await desk.lodge.settle()
    assert not (tmp_path / "burnt").exists()
    await desk.approve(kim, run, "Approved; it starts now.")
    await desk.lodge.settle()
    assert (tmp_path / "burnt").read_text() == "everything\n"
    await kim.goto(f"{desk.address}/runs/{run}")
    await expect(kim.get_by_role("region", name="Decisions")).to_contain_text("lin: approve, through browser, signed")
    async with reading(desk.lodge.services.engine) as session:
        found = await find_by_reference(session, str(run))
        assert found is not None
        kinds = [one.kind for one in await find_trail(session, found.id)]
    assert kinds.count("decision:approve") == 2
    assert kinds[-1] == "run:succeeded"
    assert desk.chromium.complaints == []


async def test_without_a_key_or_a_script_the_page_says_what_is_missing(desk: Desk, tmp_path: Path) -> None:
    run = await desk.ask(tmp_path)
    lin = await desk.window("lin")
    await desk.approve(lin, run, "you have none yet: enrol one in the browser, under Passkeys")
    kim = await desk.window("kim", scripts=False, device=False)
    await kim.goto(f"{desk.address}/runs/{run}")
    await kim.locator(".card summary", has_text="Approve").click()
    await expect(kim.locator(".card form.sure", has_text="Approve").get_by_text("needs JavaScript in this browser")).to_be_visible()
    await kim.goto(f"{desk.address}/passkeys")
    await expect(kim.get_by_text("Making a passkey needs JavaScript")).to_be_visible()
    await kim.get_by_label("What is it called?").fill("none")
    await kim.get_by_role("button", name="Make a passkey").click()
    await expect(kim.get_by_text("No passkey was made")).to_be_visible()
    assert not (tmp_path / "burnt").exists()


async def test_a_device_that_refuses_sends_nothing(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lin = await desk.window("lin")
    number, fingerprint = await desk.enrol(lin)
    assert (await accepted(desk.lodge, monkeypatch, number, fingerprint)).code == 0
    run = await desk.ask(tmp_path)
    other = await desk.window("lin")
    await other.add_init_script("navigator.credentials.get = () => Promise.reject(new DOMException('', 'NotAllowedError'))")
    await desk.approve(other, run, "Nothing was sent.")
    await expect(other.get_by_text("Nobody has decided yet.")).to_be_visible()
    stale = await desk.window("lin")
    await stale.goto(f"{desk.address}/runs/{run}")
    form = stale.locator(".card form.sure", has=stale.locator("input[value=approve]"))
    await form.evaluate("form => { form.dataset.sign = form.dataset.sign.replace(/digest=[0-9a-f]+/, 'digest=' + '0'.repeat(64)) }")
    await stale.locator(".card summary", has_text="Approve").click()
    await form.get_by_role("button", name="Approve").click()
    await expect(stale.locator(".answers .said")).to_contain_text("The plan has changed since this card was shown")
