"""Clicks, forms and shortcuts: one effect each, and a sentence for the one who clicked."""

from countersign.replies import Reply
from tests.bot.slack.doors import Slack
from tests.hubs import until


async def test_lin_approves_and_is_told(slack: Slack) -> None:
    run = await slack.waiting_run()
    clicked = await slack.person("lin").click(await slack.card(run), "Approve")
    assert clicked.ok
    assert clicked.confirm is not None
    assert "service=api" in clicked.confirm["text"]["text"]
    assert await slack.status(run) == "queued"
    [reply] = await slack.replies()
    assert (reply.person, reply.account, reply.channel, reply.run_id) == ("lin", "U0LIN", "C_OPS", None)
    assert Reply.model_validate(reply.card).text == "Approved; it starts now."
    assert reply.answer_to is not None


async def test_a_click_delivered_again_counts_once_and_says_nothing_more(slack: Slack) -> None:
    run = await slack.waiting_run()
    clicked = await slack.person("lin").click(await slack.card(run), "Approve")
    assert clicked.request is not None
    answers = await slack.fake.replay(clicked.request, times=3)
    assert [one.status for one in answers] == [200] * 3
    assert len(await slack.rows("SELECT 1 FROM decisions")) == 1
    assert len(await slack.replies()) == 1


async def test_ada_may_not_approve_her_own(slack: Slack) -> None:
    run = await slack.waiting_run()
    await slack.person("ada").click(await slack.card(run), "Approve")
    [reply] = await slack.replies()
    assert "someone else must approve your request" in reply.card["text"]
    assert await slack.status(run) == "awaiting_approval"


async def test_a_denial_asks_for_a_reason_and_says_what_became_of_it(slack: Slack) -> None:
    run = await slack.waiting_run()
    lin = slack.person("lin")
    assert (await lin.click(await slack.card(run), "Deny")).ok
    view = await slack.fake.wait_view("U0LIN")
    assert await slack.status(run) == "awaiting_approval"
    sent = await lin.submit(view, {"reason": "not on a Friday <!channel>"})
    assert sent.ok
    assert "will not happen" in slack.fake.last_view("U0LIN").content
    assert await slack.status(run) == "denied"
    [decision] = await slack.rows("SELECT * FROM decisions")
    assert (decision.person, decision.reason, decision.door) == ("lin", "not on a Friday <!channel>", "slack")
    assert sent.request is not None
    await slack.fake.replay(sent.request, times=3)
    assert len(await slack.rows("SELECT 1 FROM decisions")) == 1


async def test_a_reason_form_that_came_too_late_says_so(slack: Slack) -> None:
    run = await slack.waiting_run()
    slack.fake.fail_next("views.open", "expired_trigger_id")
    await slack.person("lin").click(await slack.card(run), "Deny")
    [reply] = await until(slack.replies, what="a word about the late form")
    assert "press the button again" in reply.card["text"]


async def test_a_forged_digest_approves_nothing(slack: Slack) -> None:
    run = await slack.waiting_run()
    value = f'{{"target":"{run}","digest":"other"}}'
    await slack.person("lin").forge_click("C_OPS", "1.0", action_id="intent:approve:0", value=value)
    assert await slack.status(run) == "awaiting_approval"
    [reply] = await slack.replies()
    assert "The plan has changed" in reply.card["text"]


async def test_forged_buttons_are_answered_and_do_nothing(slack: Slack) -> None:
    hostile = ["", "{}", "[" * 2_000, '{"target":"x"}', '{"target":7}', '{"target":"11111111-1111-4111-8111-111111111111","digest":"d"}']
    for intent in ("approve", "details", "cancel", "nonsense", "fill"):
        for value in hostile:
            clicked = await slack.person("lin").forge_click("C_OPS", "1.0", action_id=f"intent:{intent}:0", value=value)
            assert clicked.status == 200
    assert await slack.rows("SELECT 1 FROM runs") == []


async def test_details_go_to_the_one_who_asked_for_them(slack: Slack) -> None:
    run = await slack.waiting_run()
    await slack.person("eve").click(await slack.card(run), "Details")
    [reply] = await slack.replies()
    assert reply.card["card"]["title"].startswith("#1 ship")


async def test_a_wrong_answer_is_shown_at_its_field_and_what_was_typed_stays(slack: Slack) -> None:
    ada = slack.person("ada")
    await ada.slash("/ship", "api", channel="C_OPS")
    view = await slack.fake.wait_view("U0ADA")
    request = (await ada.submit(view, {"version": "v2", "env": "prod"})).request
    assert request is not None
    forged = request.tampered(request.body.replace(b"%22prod%22", b"%22moon%22"))
    answer = await slack.fake.send(forged.signed_with(slack.fake.signing_secret))
    assert answer.body["response_action"] == "errors"
    assert answer.body["errors"] == {"env": "should be 'staging' or 'prod'"}


async def test_app_home_shows_what_waits_and_a_click_there_is_answered_there(slack: Slack) -> None:
    run = await slack.waiting_run()
    lin = slack.person("lin")
    await lin.open_home()
    home = await slack.fake.wait_for(lambda: slack.fake.home("U0LIN"), what="App Home")
    assert "ship" in home.content
    assert (await lin.click(home, "Approve")).ok
    assert "Approved; it starts now." in (await slack.fake.wait_view("U0LIN")).content
    assert await slack.status(run) == "queued"
    await slack.fake.wait_for(lambda: "Nothing waits for you." in slack.fake.home("U0LIN").content, what="the next App Home")  # type: ignore[union-attr]
    assert await slack.replies() == []


async def test_a_guest_sees_why_app_home_is_empty(slack: Slack) -> None:
    slack.fake.add_user("U0GUS", name="gus", guest="single")
    await slack.fake.user("U0GUS").open_home()
    home = await slack.fake.wait_for(lambda: slack.fake.home("U0GUS"), what="App Home")
    assert "Guests cannot run this" in home.content


async def test_a_shortcut_runs_a_command_about_a_message_in_its_thread(slack: Slack) -> None:
    ada = slack.person("ada")
    message = slack.person("lin").say("C_OPS", "api is slow")
    assert (await ada.shortcut(message, "run_about_message")).ok
    sent = await ada.submit(await slack.fake.wait_view("U0ADA"), {"Command": "ship api"})
    assert sent.ok
    form = slack.fake.last_view("U0ADA")
    assert "version" in form.content
    assert (await ada.submit(form, {"version": "v2"})).ok
    [run] = await slack.rows("SELECT * FROM runs")
    assert (run.place["channel"], run.place["thread"]) == ("C_OPS", message.ts)


async def test_a_mention_in_a_thread_is_a_command(slack: Slack) -> None:
    message = slack.person("lin").say("C_OPS", "api is slow")
    said = await slack.person("ada").mention("C_OPS", "ship api v2", thread=message.ts)
    assert said.status == 200
    [run] = await slack.rows("SELECT * FROM runs")
    assert run.place["thread"] == message.ts
    [reply] = await slack.replies()
    assert (reply.person, reply.account, reply.thread, reply.answer_to) == ("ada", "U0ADA", message.ts, None)
    assert said.request is not None
    await slack.fake.replay(said.request, times=3)
    assert len(await slack.rows("SELECT 1 FROM runs")) == 1
    assert len(await slack.replies()) == 1


async def test_a_mention_without_enough_words_offers_the_form(slack: Slack) -> None:
    await slack.person("ada").mention("C_OPS", "ship api")
    [reply] = await slack.replies()
    assert reply.card["form"]["target"] == "ship"


async def test_a_channel_shared_with_another_company_is_marked(slack: Slack) -> None:
    slack.fake.add_channel("C_EXT", name="ext", members=["U0ADA"], shared=True)
    await slack.person("ada").mention("C_EXT", "ship api v2")
    [run] = await slack.rows("SELECT * FROM runs")
    assert run.place["shared"] is True


async def test_when_nobody_can_be_told_slack_delivers_the_mention_again(slack: Slack) -> None:
    slack.fake.fail_next("users.info", "internal_error", times=1)
    await slack.person("ada").mention("C_OPS", "ship api v2")
    assert [one.status for one in slack.fake.deliveries] == [503, 200]
    assert len(await slack.rows("SELECT 1 FROM runs")) == 1
