"""Where a run is shown, and who is asked."""

from typing import Any
from uuid import UUID

import pytest

from automations.audiences import MOST_DIRECT, approver_messages, asker_messages, card_places, reply_to, voters_wanted
from commands.registries import Registry
from commands.rulebooks import Rulebook
from countersign import Approval, Reply
from countersign.invocations import Place
from store.messages import NewMessage
from store.runs import RunRow
from store.secrets import Keys
from tests.commands.samples import policy, somebody

ID = UUID("01978a7e-0000-7000-8000-000000000001")
THREAD = Place("slack", "T1", "C1", "17.2")


def run(place: Place = THREAD, **more: Any) -> RunRow:
    return RunRow(**{"id": ID, "command": "deploy", "asker": "ada", "place": place.as_json()} | more)


@pytest.fixture
def rulebooks(tmp_path: Any) -> Any:
    sealer = Keys.prepared(tmp_path / "keys").sealer()
    return lambda text: Rulebook(registry=Registry({}), policy=policy(text), sealer=sealer)


def places(found: list[NewMessage]) -> list[tuple[str, str, str, str, str]]:
    return [(one.kind, one.platform, one.channel, one.thread, one.person) for one in found]


def test_a_card_goes_where_policy_says_whatever_the_place(rulebooks: Any) -> None:
    named = rulebooks("channels: {deploy: [deploys, '#ops']}")
    wanted = [("card", "slack", "deploys", "", ""), ("card", "slack", "ops", "", "")]
    for place in (THREAD, Place("slack", "T1", "C9", shared=True), Place("slack", "T1")):
        assert places(card_places(named, run(place), fallback="room")) == wanted
    assert places(card_places(named, run(Place("api")), fallback="room")) == [(one, "room", *rest) for one, _, *rest in wanted]


def test_without_a_word_of_policy_it_goes_where_it_was_asked(rulebooks: Any) -> None:
    assert places(card_places(rulebooks(""), run(), fallback="room")) == [("card", "slack", "C1", "17.2", "")]


@pytest.mark.parametrize("place", [Place("slack", "T1", "C1", shared=True), Place("slack", "T1"), Place("api"), Place("")])
def test_never_into_a_channel_shared_with_another_company_but_to_the_asker(rulebooks: Any, place: Place) -> None:
    (one,) = card_places(rulebooks(""), run(place), fallback="room")
    assert (one.kind, one.channel, one.person) == ("direct", "", "ada")
    assert one.platform == (place.platform if place.platform == "slack" else "room")


def test_at_most_five_are_asked_and_never_the_asker() -> None:
    people = [somebody(name) for name in ("ada", "lin", "kim", "max", "eve", "bob", "cyd")]
    found = approver_messages(run(), people, revision=1, fallback="room")
    assert [one.person for one in found] == ["lin", "kim", "max", "eve", "bob"]
    assert len(found) == MOST_DIRECT
    assert {one.kind for one in found} == {"direct"}
    again = approver_messages(run(), people, revision=2, fallback="room")
    assert {one.kind for one in again} == {"direct:2"}


def test_the_asker_is_told_and_answered_alone() -> None:
    assert places(asker_messages(run(), fallback="room")) == [("direct", "slack", "", "", "ada")]
    (reply,) = reply_to(run(), Reply(text="done"))
    assert (reply.kind, reply.channel, reply.thread, reply.person) == ("reply", "C1", "17.2", "ada")
    assert reply.card == Reply(text="done").model_dump(mode="json")
    assert reply_to(run(Place("api")), Reply(text="done")) == []


def test_a_service_account_has_no_chat_so_whoever_answers_for_it_is_told_and_answers_go_to_the_channel(rulebooks: Any) -> None:
    asked = {"asker": "svc-cart", "source": "schedule nightly", "handed_to": "lin"}
    quiet = run(Place("schedule"), **asked)
    assert places(asker_messages(quiet, fallback="room")) == [("direct", "room", "", "", "lin")]
    assert asker_messages(run(Place("schedule"), **asked | {"handed_to": None}), fallback="room") == []
    assert card_places(rulebooks(""), quiet, fallback="room") == []
    assert reply_to(quiet, Reply(text="done")) == []
    loud = run(Place("slack", "T1", "C1"), **asked)
    assert places(card_places(rulebooks(""), loud, fallback="room")) == [("card", "slack", "C1", "", "")]
    assert places(reply_to(loud, Reply(text="done"))) == [("reply", "slack", "C1", "", "")]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "it needs 2 who hold deploy:approve, and nobody can."),
        (["lin"], "it needs 2 who hold deploy:approve, and lin can."),
        (["lin", "kim"], ""),
    ],
)
def test_too_few_voters_are_said_at_once(names: list[str], sentence: str) -> None:
    assert sentence in (told := voters_wanted(Approval(by="deploy:approve", count=2), [[somebody(one) for one in names]]))
    assert bool(told) == bool(sentence)
