"""policy explain: may somebody run this, who would have to approve, which rule says so, and what would have to change."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from commands.controls import ControlContext
from commands.explaining import Explainer, Explanation
from commands.limits import find_used_up, limits_for
from commands.matching import find_matches
from commands.parsing import NotUnderstood, find_command, read_arguments, split
from commands.requests import Request
from countersign.arguments import Person as PersonName
from countersign.arguments import alternatives
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.invocations import Door, Place
from countersign.moments import moment
from countersign.replies import Reply
from store.people import Person, find_all_people, find_person


@control("policy explain")
async def explain(ctx: ControlContext, person: PersonName, command: str) -> Reply:
    """Say whether PERSON may run COMMAND here and now, who would have to approve it, and which rule says so.

    With the command in quotes, options in it say otherwise: --door api, --channel ops, --at 22:00, --reason "OPS-12".
    """
    who = await find_person(ctx.session, person)
    if who is None:
        raise CountersignError(f"There is no person named {person}.")
    request = _request(ctx, who, command)
    rulebook = ctx.rulebook
    explainer = Explainer(rulebook.policy, await find_all_people(ctx.session), request.now or rulebook.now(), alone=rulebook.alone)
    found = explainer.explain(who, request)
    limits = limits_for(who, request, find_matches(rulebook.policy, who, request)) if found.allowed else ()
    used_up = await find_used_up(ctx.session, limits)
    if used_up is not None:
        found = replace(found, allowed=False, because=used_up.sentence, changes=(*found.changes, "later"))
    lines = [*found.lines(), f"policy       {rulebook.policy.digest[:12]}, profile {rulebook.policy.profile}", *_stepped_up(ctx, found)]
    data = {"policy": rulebook.policy.digest, **found.as_json()}
    return Reply(text=f"{who.name} and '{command}':", code="\n".join(lines), data=data)


def _request(ctx: ControlContext, who: Person, text: str) -> Request:
    try:
        line = split(text)
        found, words = find_command(line, ctx.rulebook.registry.commands)
        if found is None:
            raise CountersignError(f"There is no command '{line.words[0][:40]}'.")
        words, door, place = _placed(words, ctx.invocation.door, ctx.invocation.place)
        call = read_arguments(found, words)
    except NotUnderstood as error:
        raise CountersignError(str(error)) from None
    try:
        now = moment(call.at, ctx.rulebook.now(), who.zone) if call.at else ctx.rulebook.now()
    except ValueError as error:
        raise CountersignError(f"--at: {error}.") from None
    values = found.schema.validate(call.arguments)
    arguments = {name: value for name, value in found.schema.written(values).items() if name not in found.schema.secrets}
    return Request(found.permission, door, place, found, arguments, reason=call.reason, now=now)


def _placed(words: Sequence[str], door: Door, place: Place) -> tuple[list[str], Door, Place]:
    """The words without `--door` and `--channel`, and where these say that it is asked."""
    rest, left = [], list(words)
    while left:
        word = left.pop(0)
        name, given, value = word.partition("=")
        if name not in ("--door", "--channel"):
            rest.append(word)
            continue
        value = value if given else left.pop(0) if left else ""
        if name == "--channel":
            place = replace(place, channel=value.removeprefix("#"))
        elif value in Door.__members__:
            door = Door(value)
        else:
            raise CountersignError(f"--door: should be {alternatives([one.value for one in Door])}.")
    return rest, door, place


def _stepped_up(ctx: ControlContext, found: Explanation) -> Iterator[str]:
    """What deciding takes beside a click, and who cannot do it yet."""
    step_up = found.approval.step_up if found.approval else ""
    if step_up == "login":
        yield "how          in the browser, within five minutes of logging in"
    if step_up == "passkey":
        without = " and ".join(sorted({one for stage in found.stages for one in stage.people} - ctx.rulebook.signers))
        yield f"how          signed with a passkey{without and '; none yet: '}{without}"
