"""Eve asks with arguments that are commands, options, templates and tricks. What starts is exactly the declared command line."""

import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign import Command
from countersign.errors import BadArgument
from integrations.processes import guards, load_runbooks
from integrations.processes.templates import filled
from tests.integrations.processes.folders import TELL_ARGV, Folder, Worker, planned
from tests.integrations.processes.nasty_words import HARM, OPTIONS, SPOKEN, WRAPPED

RUNBOOK = """
command: tell
help: Prints its own command line.
permission: ops:tell
arguments: {whole: {}, inside: {}, after: {}, dashed: {dash: true}}
run: [./tell, "{whole}", "--inside=<{inside}>", "{dashed}", --, "{after}", "{whole}{inside}"]
undo: [./tell, --undo, "{dashed}"]
"""


@pytest.fixture
def tell(folder: Folder) -> Command:
    folder.script(TELL_ARGV, "tell")
    folder.runbook(RUNBOOK)
    return folder.load()


@pytest.fixture
def started() -> Iterator[list[list[str]]]:
    """The command line of every process that this process starts meanwhile, by whatever means Python has."""
    _STARTED.clear()
    _LISTENING[0] = True
    yield _STARTED
    _LISTENING[0] = False


async def test_real_processes_get_exactly_the_declared_words(tell: Command, started: list[list[str]], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payloads = [*SPOKEN, *(wrap.format(harm.format(canary=canary)) for wrap, harm in zip(WRAPPED, HARM * 7, strict=False))]
    waiting = asyncio.Semaphore(4)

    async def asked(number: int) -> None:
        whole, inside, after = (safe(payloads[(number + shift) % len(payloads)]) for shift in (0, 41, 83))
        async with waiting:
            plan = await planned(tell, whole=whole, inside=inside, after=after, dashed=payloads[number])
            declared = ["./tell", whole, f"--inside=<{inside}>", payloads[number], "--", after, f"{whole}{inside}"]
            assert plan.steps[0].arguments["argv"] == declared
            assert await Worker().carry_out(plan.steps[0]) == {"argv": declared}

    await asyncio.gather(*map(asked, range(len(payloads))))
    assert len(payloads) > 140
    assert len(started) == len(payloads)
    assert not canary.exists()
    for command_line in started:
        assert command_line[:4] == [sys.executable, "-I", "-S", guards.__file__]
        assert command_line[6 + int(command_line[5])] == "./tell"


async def test_a_preview_gets_exactly_the_declared_words_too(folder: Folder) -> None:
    folder.script(TELL_ARGV, "tell")
    folder.runbook(RUNBOOK, "preview: [./tell, '{after}']")
    for payload in SPOKEN[:10]:
        plan = await folder.plan(whole="x", inside="x", after=payload, dashed="x")
        assert plan.preview == "::result " + json.dumps({"argv": ["./tell", payload]})


async def test_two_thousand_payloads_stay_one_word_each(tell: Command) -> None:
    payloads = {
        f"{head}{wrap.format(harm)}{tail}" for head, tail in product(("", "api", "x "), ("", "y", "#")) for wrap in WRAPPED for harm in HARM
    }
    assert len(payloads) > 2_000
    for payload in payloads:
        plan = await planned(tell, whole=payload, inside=payload, after=payload, dashed=payload)
        expected = ["./tell", payload, f"--inside=<{payload}>", payload, "--", payload, payload * 2]
        assert plan.steps[0].arguments["argv"] == expected
        assert plan.steps[0].undo is not None
        assert plan.steps[0].undo.arguments["argv"] == ["./tell", "--undo", payload]


@pytest.mark.parametrize("payload", OPTIONS)
@pytest.mark.parametrize("argument", ["whole", "inside", "after"])
def test_an_option_is_refused_where_it_was_not_expected(tell: Command, argument: str, payload: str) -> None:
    given = {"whole": "x", "inside": "x", "after": "x", "dashed": payload}
    assert tell.schema.validate(given)["dashed"] == payload
    with pytest.raises(BadArgument, match=f"{argument}: should not begin with '-'"):
        tell.schema.validate(given | {argument: payload})


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_no_text_changes_how_many_words_there_are(one: str, other: str) -> None:
    assert filled(["./x", "{a}", "{a}{b}", "{{a}}", "b"], {"a": one, "b": other}) == ["./x", one, one + other, "{a}", "b"]


def test_every_type_of_argument_is_kept_from_being_an_option(folder: Folder) -> None:
    folder.script("true")
    folder.script(TELL_ARGV, "tell")
    types = ("text", "integer", "number", "person", "channel", "percent", "duration", "time", "boolean")
    for kind in types:
        folder.runbook(
            f"command: tell-{kind}\nhelp: x\npermission: a:b\narguments: {{it: {{type: {kind}}}}}\nrun: [./tell, '{{it}}']",
            name=f"{kind}.yaml",
        )
    for one in load_runbooks(folder.path):
        for payload in (*OPTIONS, -1, -1.5):
            with pytest.raises(BadArgument, match=r"^it: "):
                one.schema.validate({"it": payload})


def safe(payload: str) -> str:
    """A payload that an ordinary argument takes: what would be an option is put behind a letter."""
    return f"x{payload}" if payload.startswith("-") else payload


_STARTED: list[list[str]] = []
_LISTENING = [False]


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if not _LISTENING[0]:
        return
    if event == "subprocess.Popen":
        _STARTED.append([str(one) for one in arguments[1]])
    elif event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"):
        _STARTED.append([event])


# An audit hook cannot be taken away again, so there is one for the life of the test process, and it is usually deaf.
sys.addaudithook(_listen)
