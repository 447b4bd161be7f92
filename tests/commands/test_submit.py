"""What becomes of a request, before the database is touched."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from commands.registries import Registry
from commands.rulebooks import Rulebook
from commands.submit import Ask, Birth, ControlCall, NotBorn, form_for, prepare
from countersign import Command, RunStatus, Secret, control
from countersign.invocations import Door, Invocation, Place
from countersign.moments import instant
from store.people import Person
from store.secrets import Keys
from tests.commands.samples import COMMANDS, look, policy, rotate, somebody

TEXT = "profile: team\nroles: {deployer: [deploy:run]}\ngroups: {developers: [deployer]}"
ADA, EVE = somebody("ada", "developers"), somebody("eve")
PLACE = Place("slack", "T1", "ops", "17.2")


@control("help")
async def helps(ctx: Any, command: str = "") -> None:
    """Help."""


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.prepared(tmp_path / "keys")


@pytest.fixture
def rulebook(keys: Keys) -> Rulebook:
    commands = {**COMMANDS, "help": helps}
    return Rulebook(registry=Registry(commands), policy=policy(TEXT, commands), sealer=keys.sealer())


def said(text: str, door: Door = Door.slack, **more: Any) -> Invocation:
    return Invocation(key="k1", door=door, place=PLACE, text=text, **more)


def filled(command: str, **arguments: Any) -> Invocation:
    return Invocation(key="k1", door=Door.browser, place=PLACE, command=command, arguments=arguments)


def birth(rulebook: Rulebook, person: Person, invocation: Invocation) -> Birth:
    prepared = prepare(rulebook, person, invocation)
    assert isinstance(prepared, Birth), prepared
    return prepared


def not_born(rulebook: Rulebook, person: Person, invocation: Invocation) -> NotBorn:
    prepared = prepare(rulebook, person, invocation)
    assert isinstance(prepared, NotBorn), prepared
    return prepared


def test_a_request_becomes_a_run_that_knows_where_everything_came_from(rulebook: Rulebook) -> None:
    born = birth(rulebook, ADA, said("deploy api env=production --reason 'it is due'", trace="t1"))
    run = born.run
    assert run.arguments == {"service": "api", "version": "latest", "env": "prod", "force": False}
    assert run.origins == {"service": "typed", "version": "default", "env": "typed", "force": "default"}
    assert (run.key, run.command, run.asker, run.door, run.reason, run.trace) == ("k1", "deploy", "ada", "slack", "it is due", "t1")
    assert run.place == {"platform": "slack", "team": "T1", "channel": "ops", "thread": "17.2", "shared": False}
    assert (run.status, run.policy, run.secrets, run.answer_to) == (RunStatus.submitted, rulebook.policy.digest, {}, None)


@pytest.mark.parametrize("invocation", [said("deploy api --dry-run"), said("deploy api", dry_run=True)])
def test_a_dry_run_is_one_however_it_was_asked(rulebook: Rulebook, invocation: Invocation) -> None:
    assert birth(rulebook, ADA, invocation).run.dry_run


def test_a_refusal_is_a_run_too_with_nothing_secret_in_it(rulebook: Rulebook) -> None:
    born = birth(rulebook, EVE, said("deploy api"))
    assert (born.run.status, born.run.because) == (RunStatus.refused, "missing_permission")
    assert born.sentence == born.run.outcome == "This needs the permission deploy:run; it belongs to the role deployer."
    gone = somebody("gone", active=False)
    refused = birth(rulebook, gone, filled("rotate", name="k", value="s3cret-value", services=["api"]))
    assert refused.run.secrets == {}
    assert "s3cret-value" not in repr(refused)


def test_what_is_missing_is_asked_for_with_what_was_given(rulebook: Rulebook) -> None:
    asked = prepare(rulebook, ADA, said("deploy env=prod"))
    assert isinstance(asked, Ask)
    assert asked.sentence == "service: is required. Usage: /deploy <service> [version=latest] [env=staging] [force=no]"
    assert [(one.name, one.initial, one.required) for one in asked.form.inputs] == [
        ("service", "", True),
        ("version", "latest", False),
        ("env", "prod", False),
        ("force", "no", False),
    ]
    assert (asked.form.intent, asked.form.target) == ("submit", "deploy")


@pytest.mark.parametrize(
    ("invocation", "reason", "sentence"),
    [
        (said("deplyo api"), "unknown_command", "There is no command 'deplyo'. Did you mean deploy or policy apply?"),
        (said("xyzzy"), "unknown_command", "There is no command 'xyzzy'. Type help to see what you may run."),
        (filled("nope"), "unknown_command", "There is no command 'nope'. "),
        (said("deploy api env=live"), "wrong_argument", "env: should be 'staging' or 'prod'. Usage: "),
        (filled("deploy", service="api", colour="blue"), "wrong_argument", "colour: is not an argument of this command"),
        (filled("deploy", service={"$secret": "x"}), "wrong_argument", "service: may not have the key '$secret'"),
        (said('deploy "api'), "not_understood", "A quote is opened but not closed"),
        (said(" "), "not_understood", "Say what to do"),
        (said("deploy api --colour blue"), "not_understood", "--colour is not an option of deploy."),
    ],
)
def test_what_cannot_be_run_is_said_and_remembered_without_its_text(
    rulebook: Rulebook, invocation: Invocation, reason: str, sentence: str
) -> None:
    told = not_born(rulebook, ADA, invocation)
    assert told.sentence.startswith(sentence)
    assert (told.event.kind, told.event.actor, told.event.detail["reason"]) == ("request:refused", "ada", reason)
    for word in ("live", "blue", "api"):
        assert word not in repr(told.event.detail)


def test_only_what_one_may_run_is_offered_as_near(rulebook: Rulebook) -> None:
    assert "Did you mean" in not_born(rulebook, ADA, said("deplo")).sentence
    assert "deploy" not in not_born(rulebook, EVE, said("deplo")).sentence


@pytest.mark.parametrize("door", [Door.slack, Door.discord, Door.browser, Door.terminal])
@pytest.mark.parametrize("line", ["rotate k s3cret-value api", "rotate value=s3cret-value", "rotate k --value s3cret-value"])
def test_a_secret_in_chat_is_refused_and_kept_nowhere(rulebook: Rulebook, door: Door, line: str) -> None:
    told = not_born(rulebook, ADA, said(line, door))
    assert told.sentence.startswith("value: a secret is never typed into chat; leave it out and a form asks for it.")
    assert told.event.detail["reason"] == "secret_in_chat"
    assert "s3cret" not in repr(told)


def test_a_secret_from_a_form_is_sealed_and_known_by_its_mark(rulebook: Rulebook, keys: Keys) -> None:
    run = birth(rulebook, ADA, filled("rotate", name="k", value="s3cret-value", services="api, web")).run
    mark = rulebook.sealer.mark("s3cret-value")
    assert run.arguments == {"name": "k", "value": {"$secret": mark}, "services": ["api", "web"]}
    assert list(run.secrets) == [mark]
    assert "s3cret" not in repr(run)
    again = birth(rulebook, ADA, filled("rotate", name="k", value="s3cret-value", services="api, web")).run
    assert again.arguments == run.arguments
    assert again.secrets != run.secrets
    assert keys.folder.stat().st_mode & 0o077 == 0


def test_the_address_of_the_answer_is_sealed(rulebook: Rulebook) -> None:
    run = birth(rulebook, ADA, said("deploy api", answer_to="https://hooks.slack.com/commands/T1/secret")).run
    assert run.answer_to
    assert "hooks" not in repr(run)


def test_a_control_is_called_and_not_run(rulebook: Rulebook) -> None:
    call = prepare(rulebook, EVE, said("look"))
    assert call == ControlCall(look, {}, {})
    helped = prepare(rulebook, EVE, said("deploy --help"))
    assert isinstance(helped, ControlCall)
    assert (helped.command, helped.arguments) == (helps, {"command": "deploy"})
    gone = not_born(rulebook, somebody("gone", active=False), said("look"))
    assert gone.event.detail["reason"] == "actor_inactive"


def test_two_requests_without_a_key_are_two_requests(rulebook: Rulebook) -> None:
    runs = [birth(rulebook, ADA, Invocation("", Door.api, PLACE, text="deploy api")).run for _ in range(2)]
    assert runs[0].key != runs[1].key


def test_a_form_never_shows_a_secret_again(rulebook: Rulebook) -> None:
    form = form_for(rulebook, rotate, {"name": "k", "value": Secret("s3cret-value")})
    assert [(one.name, one.kind, one.initial) for one in form.inputs] == [
        ("name", "text", "k"),
        ("value", "secret", ""),
        ("services", "text", ""),
    ]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda one: one.name)
def test_every_command_can_be_asked_for_by_its_form(rulebook: Rulebook, command: Command) -> None:
    assert [one.name for one in form_for(rulebook, command, {}).inputs] == [one.name for one in command.schema.parameters]


BERLIN_ADA = replace(ADA, timezone="Europe/Berlin")


@pytest.fixture
def monday(rulebook: Rulebook) -> Rulebook:
    """A rulebook whose database says that it is Monday, 2026-11-23, 13:30 in UTC."""
    return replace(rulebook, skew=datetime(2026, 11, 23, 13, 30, tzinfo=UTC) - datetime.now(UTC))


@pytest.mark.parametrize(
    ("invocation", "meant"),
    [
        (said("deploy api --at 22:00"), "2026-11-23 22:00 Europe/Berlin"),
        (said("deploy api --at 22:00 America/New_York"), "2026-11-23 22:00 America/New_York"),
        (said("deploy api --at 'tomorrow 9:00'", start_at="23:00"), "2026-11-24 09:00 Europe/Berlin"),
        (said("deploy api", start_at="2026-12-01T22:00:00Z"), "2026-12-01 22:00 UTC"),
        (filled("deploy", service="api", **{"--at": "fri 9:00"}), "2026-11-27 09:00 Europe/Berlin"),
    ],
)
def test_a_start_is_meant_in_the_askers_zone_unless_they_say_another(monday: Rulebook, invocation: Invocation, meant: str) -> None:
    run = birth(monday, BERLIN_ADA, invocation).run
    assert (run.start_at, run.arguments["service"]) == (instant(meant).isoformat(), "api")


def test_a_start_in_a_while_is_counted_from_the_database_s_time(monday: Rulebook) -> None:
    start = datetime.fromisoformat(birth(monday, ADA, said("deploy api --at in 2h")).run.start_at or "")
    assert timedelta(0) <= start - instant("2026-11-23 15:30 UTC") < timedelta(seconds=30)


def test_without_a_start_it_is_as_soon_as_it_may(monday: Rulebook) -> None:
    assert birth(monday, ADA, said("deploy api")).run.start_at is None


@pytest.mark.parametrize(
    ("invocation", "sentence"),
    [
        (said("deploy api --at today 9:00"), "--at: has passed: it is 2026-11-23 14:30 Europe/Berlin now."),
        (said("deploy api --at noon"), "--at: should be a time such as 22:00, tomorrow 9:00, "),
        (said("deploy api --at '22:00 Atlantis'"), "--at: there is no time zone 'Atlantis'; one is written as Europe/Berlin."),
        (filled("deploy", service="api", **{"--at": 7}), "--at: should be a time such as"),
        (said("look", start_at="22:00"), "--at: look answers at once."),
    ],
)
def test_a_start_that_is_none_runs_nothing(monday: Rulebook, invocation: Invocation, sentence: str) -> None:
    told = not_born(monday, BERLIN_ADA, invocation)
    assert told.sentence.startswith(sentence)
    assert told.event.detail["reason"] == "wrong_argument"


def test_who_may_not_run_it_learns_that_first(monday: Rulebook) -> None:
    assert birth(monday, EVE, said("deploy api --at noon")).run.status is RunStatus.refused


def test_a_form_that_asks_for_what_is_missing_keeps_the_options(monday: Rulebook) -> None:
    asked = prepare(monday, BERLIN_ADA, said("deploy --at 22:00 Europe/Berlin --dry-run --reason 'it is due'"))
    assert isinstance(asked, Ask)
    options = {one.name: one.initial for one in asked.form.inputs if one.name.startswith("--")}
    assert options == {"--at": "22:00 Europe/Berlin", "--dry-run": "yes", "--reason": "it is due"}
    run = birth(monday, BERLIN_ADA, filled("deploy", service="api", **options)).run
    assert (run.start_at, run.dry_run, run.reason) == (instant("2026-11-23 22:00 Europe/Berlin").isoformat(), True, "it is due")
    assert not birth(monday, ADA, filled("deploy", service="api", **options | {"--dry-run": "no"})).run.dry_run
