"""Rules of version 2: what follows from a match, and from an expression that cannot be evaluated; nothing opens by an error."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from commands.authorizing import Allowed, Refused, Request, authorize, required_approval
from commands.limits import Counted, limits_for
from commands.matching import find_matches
from countersign import Approval, Command
from countersign.invocations import Door
from store.people import Person
from tests.commands.samples import asking, deploy, erase, policy, policy_apply, scale, somebody, tell

ADA = somebody("ada", "developers")
NIGHT = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
HEAD = "profile: team\nroles: {deployer: ['deploy:run']}\ngroups: {developers: [deployer]}\nrules:\n"


def answer(rule: str, request: Request, *, person: Person = ADA) -> Allowed | Refused:
    return authorize(policy(f"{HEAD}- {{name: r, {rule}}}"), person, request)


def now(command: Command = deploy, *, reason: str | None = "", at: datetime | None = NIGHT, **more: Any) -> Request:
    return replace(asking(command, **more), reason=reason, now=at)


def test_an_expression_is_one_more_condition() -> None:
    rule = "command: deploy, if: 'args.force && !(\"leads\" in person.groups)', deny: No."
    assert answer(rule, now(force=True)) == Refused("No.", "denied_by_rule:5")
    assert isinstance(answer(rule, now(force=False)), Allowed)
    assert isinstance(answer(rule, now(force=True), person=somebody("lin", "developers", "leads")), Allowed)
    assert isinstance(answer(f"doors: [api], {rule}", now(force=True)), Allowed)


def test_time_is_read_by_the_clocks_of_the_rule() -> None:
    night = "command: deploy, timezone: Europe/Berlin, if: time.hour >= 22, deny: It is late."
    assert answer(night, now()) == Refused("It is late.", "denied_by_rule:5")
    assert isinstance(answer(night.replace("Europe/Berlin", "UTC"), now()), Allowed)


def test_a_denial_that_cannot_be_read_denies_and_says_so() -> None:
    found = answer("command: scale, if: 'args.pause > duration(\"2h\")', deny: Too long.", now(scale))
    told = "Too long. (line 5: rule 'r' could not be read here, so it applies: args.pause was not given.)"
    assert found == Refused(told, "denied_by_rule:5")
    late = answer("command: deploy, if: time.hour >= 22, deny: It is late.", now(at=None))
    assert isinstance(late, Refused)
    assert "time.hour is not known here" in late.sentence


def test_what_allows_lets_in_whom_no_role_does_and_never_by_an_error() -> None:
    eve = somebody("eve")
    assert answer("command: deploy, when: {env: staging}, allow: true", now(), person=eve) == Allowed("rule 'r', line 5")
    assert answer("command: deploy, when: {env: prod}, allow: true", now(), person=eve) == answer(
        "command: tell, deny: No.", now(), person=eve
    )
    assert isinstance(answer("command: deploy, if: 'int(args.version) > 0', allow: true", now(), person=eve), Refused)
    assert isinstance(answer("command: deploy, if: 'int(args.version) > 0', allow: true", now(version="7"), person=eve), Allowed)
    assert answer("command: deploy, allow: true", now()) == Allowed("deploy:run through a role")
    both = "command: deploy, allow: true}\n- {name: s, command: deploy, people: [eve], deny: Not you."
    assert answer(both, now(), person=eve) == Refused("Not you.", "denied_by_rule:6")
    assert isinstance(answer("command: deploy, allow: true", now(), person=somebody("eve", active=False)), Refused)


def test_what_allows_opens_only_the_command_it_names() -> None:
    bound = policy(f"{HEAD}- {{name: r, command: deploy, allow: true}}")
    assert isinstance(authorize(bound, somebody("eve"), asking(deploy)), Allowed)
    assert isinstance(authorize(bound, somebody("eve"), asking(scale)), Refused)


@pytest.mark.parametrize(
    ("only", "door", "channel", "sentence"),
    [
        ("{doors: [api]}", Door.api, "", ""),
        ("{doors: [api]}", Door.slack, "ops", "deploy is asked through api only."),
        ("{channels: ['#ops', dev]}", Door.slack, "dev", ""),
        ("{channels: ['#ops', dev]}", Door.slack, "all", "deploy is asked in #ops or #dev only."),
        ("{channels: [ops]}", Door.api, "", "deploy is asked in #ops only."),
        ("{channels: [ops], doors: [slack, discord]}", Door.browser, "ops", "deploy is asked in #ops, through slack or discord only."),
    ],
)
def test_a_command_may_have_its_places(only: str, door: Door, channel: str, sentence: str) -> None:
    found = answer(f"command: deploy, only: {only}", now(door=door, channel=channel))
    assert found == (Refused(sentence, "elsewhere:5") if sentence else Allowed("deploy:run through a role"))


def test_a_reason_is_asked_of_those_who_may() -> None:
    rule = "command: deploy, require_reason: {pattern: '^OPS-[0-9]+', hint: the ticket such as OPS-12}"
    wanted = Refused('deploy needs a reason: the ticket such as OPS-12. Give it with --reason "…".', "reason_wanted:5")
    for reason in (None, "", "because", "see OPS-12"):
        assert answer(rule, now(reason=reason)) == wanted
    assert isinstance(answer(rule, now(reason="OPS-12 is due")), Allowed)
    plain = answer("command: deploy, require_reason: OPS", now(reason="x"))
    assert isinstance(plain, Refused)
    assert plain.sentence == 'deploy needs a reason with OPS in it. Give it with --reason "…".'
    refused = answer(rule, now(reason=""), person=somebody("eve"))
    assert isinstance(refused, Refused)
    assert refused.reason == "missing_permission"


def test_a_reason_that_approvers_want_is_asked_before_they_are() -> None:
    rule = "command: deploy, approve: {reason: 'INC-[0-9]'}"
    assert answer(rule, now(reason="it is due")) == Refused(
        'deploy needs a reason with INC-[0-9] in it. Give it with --reason "…".', "reason_wanted"
    )
    assert isinstance(answer(rule, now(reason="INC-7")), Allowed)
    author = replace(tell, approval=Approval(by="chat:approve", reason="ticket"))
    assert isinstance(authorize(policy("profile: team"), ADA, now(author, reason="none")), Refused)
    assert isinstance(authorize(policy("profile: team"), ADA, now(author, reason="a ticket")), Allowed)


def wants(**more: Any) -> Approval:
    """An approval as it reads after several were made one."""
    fields: dict[str, Any] = {"by": "countersign:approve", "expires": "1d"}
    return Approval(**fields | more)


def approval(rules: str, request: Request) -> Approval | None:
    return required_approval(policy(f"profile: team\nrules:\n{rules}"), ADA, request, alone=False)[0]


def test_a_step_up_strengthens_what_is_asked_or_asks_for_one() -> None:
    login = "- {name: r, command: [tell, deploy], step_up: login}"
    alone = approval(login, now(tell))
    assert alone == wants(step_up="login")
    both = approval(login, now(deploy, env="prod"))
    assert both == wants(by="deploy:approve", count=2, step_up="login")
    assert approval(f"{login}\n- {{name: s, command: tell, approve: {{expires: 4d, step_up: passkey}}}}", now(tell)) == wants(
        step_up="passkey", expires="4d"
    )


def test_an_approval_that_cannot_be_read_adds_and_takes_nothing_away() -> None:
    unread = "if: 'int(args.service) > 1'"
    readable = "if: args.force"
    loosened = "- {name: r, command: scale, approve: {count: 0}}"
    assert approval(loosened, now(scale)) is None
    assert approval("- {name: r, command: scale, if: 'args.pause > duration(\"2h\")', approve: {count: 0}}", now(scale)) == wants(
        by="deploy:approve"
    )
    one = "- {name: r, command: erase, if: 'size(reason) > 0', approve: {by: 'data:sign', count: 1}}"
    assert approval(one, now(erase, reason="x")) == wants(by="data:sign", step_up="passkey")
    unknown = approval(one, now(erase, reason=None))
    assert unknown == wants(count=2, also=("data:sign",), step_up="passkey")
    rules = (
        f"- {{name: r, command: deploy, {unread}, approve: {{by: 'ops:sign'}}}}\n- {{name: s, command: deploy, {readable}, approve: {{}}}}"
    )
    found, sources = required_approval(policy(f"profile: team\nrules:\n{rules}"), ADA, now(env="prod"), alone=False)
    assert found == wants(by="deploy:approve", count=2, also=("ops:sign",))
    assert sources == ("rule 'r', line 3 (could not be read: cannot convert string to int)", "the author of deploy")


def test_limits_that_concern_a_request() -> None:
    rules = """
- {name: few, command: [deploy, tell], limit: {count: 3, per: 1h}}
- {name: calm, command: deploy, when: {env: prod}, limit: {count: 1, per: 30m, by: command}}
- {name: unread, command: scale, if: 'args.pause > duration("2h")', limit: {count: 1, per: 1d}}
"""
    bound = policy(f"profile: team\nrules:{rules}")

    def limits(request: Request) -> tuple[Counted, ...]:
        return limits_for(ADA, request, find_matches(bound, ADA, request))

    found = [one.limit for one in limits(now(env="prod"))]
    assert [(one.rule, one.subject, one.count, str(one.per)) for one in found] == [
        ("few", "deploy ada", 3, "1h"),
        ("calm", "deploy", 1, "30m"),
    ]
    assert [one.limit.subject for one in limits(now(tell))] == ["tell ada"]
    (unread,) = limits(now(scale))
    refusal = unread.refusal(NIGHT)
    assert refusal.sentence.startswith(
        "scale was asked for by ada once in the last 1d, which is all that the rule 'unread' allows. Ask again after 2026-11-23 21:30 UTC."
    )
    assert "could not be read here, so it applies: args.pause was not given" in refusal.sentence
    assert limits(now(erase)) == ()


def test_the_command_that_mends_a_policy_is_not_shut_by_what_cannot_be_read() -> None:
    by_risk = "risk: high, if: 'int(reason) > 1', deny: No."
    assert isinstance(answer(by_risk, now(scale, reason="x")), Refused)
    mending = now(policy_apply, reason="x")
    assert isinstance(answer(by_risk, mending, person=somebody("max", "admins", roles=frozenset({"deployer"}))), Allowed)
    assert isinstance(answer(f"command: policy apply, {by_risk}", mending), Refused)
    assert answer("command: policy apply, deny: Never again.", mending) == Refused("Never again.", "denied_by_rule:5")


def test_what_is_shown_to_somebody_depends_on_what_is_known_before_they_ask() -> None:
    def shown(rule: str, person: Person = ADA) -> bool:
        offered = Request("deploy:run", Door.slack, asking(deploy).place, deploy, now=NIGHT, offered=True)
        return isinstance(answer(rule, offered, person=person), Allowed)

    assert shown("command: deploy, when: {env: prod}, deny: No.")
    assert shown("command: deploy, if: args.force, deny: No.")
    assert shown("command: deploy, if: '!given.version || reason == \"\"', deny: No.")
    assert shown("command: deploy, require_reason: OPS")
    assert shown("command: deploy, if: args.force, only: {doors: [api]}")
    assert not shown("command: deploy, only: {doors: [api]}")
    assert not shown("command: deploy, if: time.hour == 21, deny: It is late.")
    assert not shown("command: deploy, deny: No.")
    eve = somebody("eve")
    assert not shown("command: tell, deny: No.", eve)
    assert shown("command: deploy, when: {env: staging}, allow: true", eve)
    assert shown("command: deploy, if: '!args.force', allow: true", eve)
    assert not shown("command: deploy, people: [lin], allow: true", eve)


def test_a_rule_that_allows_and_does_not_fit_its_command_is_only_left_out() -> None:
    bound = policy(f"{HEAD}- {{name: r, command: deploy, if: args.nope, allow: true}}")
    assert isinstance(authorize(bound, ADA, now()), Allowed)
    assert isinstance(authorize(bound, somebody("eve"), now()), Refused)
    closed = policy(f"{HEAD}- {{name: r, command: deploy, if: args.nope, deny: No.}}")
    assert authorize(closed, ADA, now()) == Refused(
        "The policy cannot be read for this command, so nobody may run it: line 5: rule 'r' "
        "if: looks at the argument 'nope', which deploy does not have.",
        "broken_rule:5",
    )
