"""policy explain: may somebody run this, who would have to approve, and which rule says so."""

from commands.authorizing import Refused, Request, authorize, required_approval
from commands.controls import ControlContext
from commands.parsing import NotUnderstood, find_command, read_arguments, split
from commands.timetables import explained, timing_of
from commands.voting import Matter, voters, written_stage
from countersign.approvals import Approval
from countersign.arguments import Person as PersonName
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Reply
from store.people import Person, find_all_people, find_person


@control("policy explain")
async def explain(ctx: ControlContext, person: PersonName, command: str) -> Reply:
    """Say whether PERSON may run COMMAND here and now, who would have to approve it, and which rule says so."""
    who = await find_person(ctx.session, person)
    if who is None:
        raise CountersignError(f"There is no person named {person}.")
    request = _request(ctx, command)
    people = await find_all_people(ctx.session)
    lines = _explained(ctx, who, people, request)
    return Reply(text=f"{who.name} and '{command}':", code="\n".join(lines))


def _request(ctx: ControlContext, text: str) -> Request:
    try:
        line = split(text)
    except NotUnderstood as error:
        raise CountersignError(str(error)) from None
    found, words = find_command(line, ctx.rulebook.registry.commands)
    if found is None:
        raise CountersignError(f"There is no command '{line.words[0][:40]}'.")
    values = found.schema.validate(read_arguments(found, words).arguments)
    arguments = {name: value for name, value in found.schema.written(values).items() if name not in found.schema.secrets}
    return Request(permission=found.permission, door=ctx.invocation.door, place=ctx.invocation.place, command=found, arguments=arguments)


def _explained(ctx: ControlContext, who: Person, people: list[Person], request: Request) -> list[str]:
    policy, command = ctx.rulebook.policy, request.command
    assert command is not None  # noqa: S101  _request always names one
    answer = authorize(policy, who, request)
    if isinstance(answer, Refused):
        lines = [f"may run      no: {answer.sentence}"]
    else:
        lines = [f"may run      yes: {answer.because}"]
    lines.append(f"policy       {policy.digest[:12]}, profile {policy.profile}")
    if command.kind == "control":
        return [*lines, "approval     none: it answers at once and changes nothing by itself"]
    now = ctx.rulebook.now()
    timing = timing_of(policy, who, request, now)
    lines += explained(timing, who.zone, now)
    freezes = () if isinstance(timing, Refused) else timing.freezes
    rule, sources = required_approval(policy, who, request, alone=ctx.rulebook.alone, freezes=freezes)
    if rule is None:
        return [*lines, f"approval     none (risk {command.risk.name})"]
    matter = Matter(asker=who.name, command=command, arguments=request.arguments, manager=who.manager)
    for number, stage in enumerate(rule.steps, start=1):
        can = [one.name for one in voters(policy, people, rule, matter, sets=stage.sets)]
        named = f"{stage.least} of: {', '.join(can) or 'nobody; ask an admin for a grant'}"
        lines.append(f"approval     {named if rule.by else f'stage {number}: {written_stage(stage)} ({named})'}")
        if len(can) < stage.least:
            lines.append(f"would change if {stage.least - len(can)} more people were {written_stage(stage)}")
    lines += _stepped_up(ctx, [one for stage in rule.steps for one in voters(policy, people, rule, matter, sets=stage.sets)], rule)
    lines.append(f"because      {'; '.join(sources)}")
    return lines


def _stepped_up(ctx: ControlContext, able: list[Person], rule: Approval) -> list[str]:
    """What deciding takes beside a click, and who cannot do it yet."""
    if rule.step_up != "passkey":
        return ["how          in the browser, within five minutes of logging in"] if rule.step_up else []
    without = " and ".join(sorted({one.name for one in able} - ctx.rulebook.signers))
    return [f"how          signed with a passkey{without and '; none yet: '}{without}"]
