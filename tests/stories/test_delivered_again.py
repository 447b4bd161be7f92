"""A request that is delivered again has one effect, and a listener that was cut off listens anew."""

import asyncio
from typing import Literal

import pytest

from tests.hubs import until
from tests.stories.lines import Line, true

Kind = Literal["submit", "press", "control"]


@pytest.mark.parametrize("kind", ["submit", "press", "control"])
async def test_a_request_delivered_three_times_has_one_effect(line: Line, kind: Kind) -> None:
    one = line.new(kind)
    answers = [(await line.ask(one)).sentence for _ in range(3)]
    assert one.said == "done"
    assert await line.effects(one) == 1
    assert kind == "submit" or len(set(answers)) == 1


@pytest.mark.parametrize("kind", ["submit", "press", "control"])
async def test_a_request_delivered_three_times_at_once_has_one_effect(line: Line, kind: Kind) -> None:
    for _ in range(5):
        one = line.new(kind)
        await asyncio.gather(*(line.ask(one) for _ in range(3)))
        assert one.said == "done", one.sentence
        assert await line.effects(one) == 1


async def test_a_key_that_belongs_to_another_request_does_nothing_and_harms_nobody(line: Line) -> None:
    control, run = line.new("control"), line.new("submit")
    await line.ask(control)
    run.key = control.key
    with pytest.raises(Exception, match="this key was used for another request"):
        await line.ask(run)
    assert (await line.ask(line.new("submit"))).said == "done"


async def test_a_listener_that_is_cut_off_or_hears_only_silence_listens_anew(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    line.hub.notices.on("countersign_other", heard.append)
    await until(lambda: true(heard), what="it listens")
    for trouble in (line.proxy.cut, line.proxy.stall):
        heard.clear()
        caplog.clear()
        trouble()
        await until(lambda: true("notices are interrupted" in caplog.text), what="the trouble is noticed")
        line.proxy.resume()
        await until(lambda: true(heard), what="it listens again")
