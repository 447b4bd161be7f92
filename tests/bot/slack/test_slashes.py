"""Slash commands: signed, answered at once, durable before the answer, and one effect however often they come."""

import asyncio
from typing import Literal

import pytest

from countersign.calendars import zone_of
from tests.bot.slack.doors import Slack, slack_of
from tests.hubs import World


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_ada_asks_and_is_told_at_once(world: World, mode: Literal["http", "socket"]) -> None:
    async with slack_of(world, mode) as slack:
        told = await slack.person("ada").slash("/ship", "api v2 env=prod", channel="C_OPS")
        assert told.ok
        assert told.ephemeral is not None
        assert "ship: accepted; its plan follows." in told.ephemeral.content
        [run] = await slack.rows("SELECT * FROM runs")
        assert (run.asker, run.status, run.door) == ("ada", "submitted", "slack")
        assert run.arguments == {"service": "api", "version": "v2", "env": "prod"}
        assert run.place == {"platform": "slack", "team": "T1", "channel": "C_OPS", "thread": "", "shared": False}
        assert run.answer_to is not None
        assert b"hook" not in bytes(run.answer_to)


async def test_a_captured_request_has_one_effect(slack: Slack) -> None:
    told = await slack.person("ada").slash("/ship", "api v2", channel="C_OPS")
    assert told.request is not None
    answers = await slack.fake.replay(told.request, times=3)
    answers.append(await slack.fake.send(told.request.aged(-290)))
    assert [answer.status for answer in answers] == [200] * 4
    assert all("was accepted before" in answer.text for answer in answers)
    assert len(await slack.rows("SELECT 1 FROM runs")) == 1


@pytest.mark.parametrize("command", ["/countersign", "/cs"])
async def test_every_command_is_behind_one_name(slack: Slack, command: str) -> None:
    told = await slack.person("ada").slash(command, "ship api v2", channel="C_OPS")
    assert told.ephemeral is not None
    assert "accepted" in told.ephemeral.content
    told = await slack.person("ada").slash(command, "", channel="C_OPS")
    assert told.ephemeral is not None
    assert "What you may run here" in told.ephemeral.content


async def test_a_control_answers_in_the_response(slack: Slack) -> None:
    told = await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    assert told.ephemeral is not None
    assert "You are ada." in told.ephemeral.content
    assert await slack.rows("SELECT 1 FROM runs") == []


async def test_people_channels_and_signs_arrive_as_they_were_meant(slack: Slack) -> None:
    words = "<@U0LIN|whatever> <#C_OPS|ops> <http://example.test|example.test> <https://example.test/x> R&amp;D &lt;b&gt;"
    await slack.person("ada").slash("/say", words, channel="C_OPS")
    [run] = await slack.rows("SELECT * FROM runs")
    assert run.arguments == {"words": "lin C_OPS example.test https://example.test/x R&D <b>"}


async def test_somebody_unknown_is_named_and_nothing_runs(slack: Slack) -> None:
    slack.fake.add_user("U0ZOE", name="zoe")
    told = await slack.person("ada").slash("/say", "<@U0ZOE|zoe>", channel="C_OPS")
    assert told.ephemeral is not None
    assert "@zoe is nobody Countersign knows" in told.ephemeral.content
    assert await slack.rows("SELECT 1 FROM runs") == []


async def test_what_people_type_means_nothing_to_slack(slack: Slack) -> None:
    told = await slack.person("ada").slash("/cs", "&lt;!channel&gt;", channel="C_OPS")
    assert told.ephemeral is not None
    assert "&lt;!channel&gt;" in told.ephemeral.content
    assert "<!" not in told.ephemeral.content


async def test_a_missing_argument_opens_a_form_and_a_button_opens_it_again(slack: Slack) -> None:
    ada = slack.person("ada")
    told = await ada.slash("/ship", "api", channel="C_OPS")
    view = await slack.fake.wait_view("U0ADA")
    assert told.ephemeral is not None
    assert "version: is required" in told.ephemeral.content
    await ada.close(view)
    assert (await ada.click(told.ephemeral, "Fill in")).ok
    view = await slack.fake.wait_view("U0ADA")
    sent = await ada.submit(view, {"version": "v2"})
    assert sent.ok
    assert "ship: accepted" in slack.fake.last_view("U0ADA").content
    [run] = await slack.rows("SELECT * FROM runs")
    assert run.arguments == {"service": "api", "version": "v2", "env": "staging"}
    assert run.place["channel"] == "C_OPS"
    assert run.answer_to is not None


async def test_a_form_keeps_the_start_that_was_typed_and_the_button_does_too(slack: Slack) -> None:
    ada = slack.person("ada")
    told = await ada.slash("/ship", "api --at tomorrow 23:59 Europe/Berlin --dry-run", channel="C_OPS")
    view = await slack.fake.wait_view("U0ADA")
    assert told.ephemeral is not None
    await ada.close(view)
    await ada.click(told.ephemeral, "Fill in")
    assert (await ada.submit(await slack.fake.wait_view("U0ADA"), {"version": "v2"})).ok
    [run] = await slack.rows("SELECT * FROM runs")
    assert (run.arguments["version"], run.dry_run) == ("v2", True)
    assert f"{run.start_at.astimezone(zone_of('Europe/Berlin')):%H:%M}" == "23:59"


async def test_a_form_that_came_too_late_is_opened_by_the_button(slack: Slack) -> None:
    slack.fake.fail_next("views.open", "expired_trigger_id")
    told = await slack.person("ada").slash("/ship", "api", channel="C_OPS")
    assert told.ephemeral is not None
    await slack.fake.wait_for(lambda: slack.fake.calls("views.open"), what="the late form")
    assert slack.fake.views("U0ADA") == []
    await slack.person("ada").click(told.ephemeral, "Fill in")
    assert "service" in (await slack.fake.wait_view("U0ADA")).content


async def test_a_secret_is_taken_by_a_form_and_refused_in_a_line(slack: Slack) -> None:
    ada = slack.person("ada")
    told = await ada.slash("/cs", "unlock front password=hunter2", channel="C_OPS")
    assert told.ephemeral is not None
    assert "never typed into chat" in told.ephemeral.content
    await ada.slash("/cs", "unlock front", channel="C_OPS")
    await ada.submit(await slack.fake.wait_view("U0ADA"), {"password": "hunter2"})
    [run] = await slack.rows("SELECT * FROM runs")
    assert "hunter2" not in str(run)
    assert len(await slack.rows("SELECT 1 FROM secrets")) == 1


async def test_many_at_once_are_all_kept(slack: Slack) -> None:
    told = await asyncio.gather(*(slack.person("ada").slash("/ship", f"api v{n}", channel="C_OPS") for n in range(40)))
    assert all(one.ok for one in told)
    assert len(await slack.rows("SELECT 1 FROM runs")) == 40
    assert len(slack.fake.calls("users.info")) == 1
