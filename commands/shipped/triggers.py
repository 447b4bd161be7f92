"""trigger add, change, rotate and remove: other systems start commands as a service account; each change is a plan that others approve."""

from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from commands.mappings import MappingError, compile_filter, compile_mapping
from commands.policies import APPROVE
from commands.runbookbuttons import read_runbooks
from commands.triggering import Kind, Sender
from countersign import Context, Duration, Plan, PlanningContext, PlanRefused, Secret, StepFailed, command, step
from countersign.approvals import Approval
from countersign.replies import Field
from store.audits import AuditEvent, record
from store.people import find_person
from store.triggers import (
    TriggerRow,
    add_trigger,
    change_trigger,
    end_trigger,
    find_trigger,
    find_trigger_named,
    restore_trigger,
    rotate_trigger,
)

from .givings import run_of

TRIGGERS: Final = "countersign:triggers"
LONGEST_NAME: Final = 40
SHORTEST_SECRET: Final = 16
LONGEST_SECRET: Final = 200
LONGEST_OVERLAP: Final = timedelta(days=30)
_APPROVED: Final = Approval(by=APPROVE)


@command("trigger add", permission=TRIGGERS, approval=_APPROVED, quiet=True)
async def trigger_add(
    ctx: PlanningContext,
    name: str,
    sender: Sender,
    account: str,
    run: str,
    secret: Secret,
    mapping: str = "",
    only: str = "",
    header: str = "",
    timestamp_header: str = "",
) -> Plan:
    """Let another system run a command by delivering to an address of its own.

    SENDER says how it proves itself. ACCOUNT is the service account that asks. RUN is the command; MAPPING says which part of what is
    delivered becomes which argument: "service=payload.repository.name; env='prod'". Deliveries count if ONLY is true for them:
    "event == 'release'".
    """
    _check_name(name)
    _check_secret(sender, secret)
    async with ctx.services.transaction() as session:
        if await find_trigger_named(session, name):
            raise PlanRefused(f"There is a trigger {name} already; change it, or choose another name.")
    await _check_account(ctx, account)
    body = _nothing() | {"run": run, "mapping": mapping, "only": only, "header": header, "timestamp_header": timestamp_header}
    _check_body(ctx, body)
    trigger = UUID(int=ctx.random.getrandbits(128), version=4)
    added = add_one(str(trigger), name, Kind.command.value, sender.value, body, account, secret)
    return Plan(
        f"{sender.value} may run {run} as {account}, by delivering to the trigger {name}",
        added.undone_by(end_one(str(trigger))),
        fields=(Field(label="Address", value=_address(ctx, trigger)), *_fields(body)),
    )


@command("trigger alerts", permission=TRIGGERS, approval=_APPROVED, quiet=True)
async def trigger_alerts(
    ctx: PlanningContext,
    name: str,
    sender: Sender,
    channel: str,
    secret: Secret,
    kind: Literal["alertmanager", "pagerduty"] = "alertmanager",
    runbooks: str = "",
    header: str = "",
    timestamp_header: str = "",
) -> Plan:
    """Show another system's alerts in a channel: one card for each group, kept current, with its history in a thread.

    RUNBOOKS are buttons that run commands with arguments from the alerts' labels: "Restart: restart service=labels.service".
    """
    _check_name(name)
    _check_secret(sender, secret)
    async with ctx.services.transaction() as session:
        if await find_trigger_named(session, name):
            raise PlanRefused(f"There is a trigger {name} already; change it, or choose another name.")
    place = channel.strip().removeprefix("#")
    body = _nothing() | {"channel": place, "runbooks": runbooks, "header": header, "timestamp_header": timestamp_header}
    _check_alerts(ctx, body)
    trigger = UUID(int=ctx.random.getrandbits(128), version=4)
    added = add_one(str(trigger), name, kind, sender.value, body, ctx.asker.name, secret)
    return Plan(
        f"alerts that {sender.value} proves are shown in #{place}, by delivering to the trigger {name}",
        added.undone_by(end_one(str(trigger))),
        fields=(Field(label="Address", value=_address(ctx, trigger)), *_fields(body)),
    )


@command("trigger change", permission=TRIGGERS, approval=_APPROVED, quiet=True)
async def trigger_change(
    ctx: PlanningContext,
    name: str,
    mapping: str = "",
    only: str = "",
    run: str = "",
    account: str = "",
    channel: str = "",
    runbooks: str = "",
) -> Plan:
    """Change what a trigger runs, as whom, with which arguments or on what condition; what is left out stays as it is.

    CHANNEL and RUNBOOKS are those of alerts.
    """
    row = await _found(ctx, name)
    alerts = row.kind != Kind.command
    if alerts and (mapping or only or run or account):
        raise PlanRefused(f"{name} shows alerts: only its channel and runbooks can be changed.")
    if not alerts and (channel or runbooks):
        raise PlanRefused(f"{name} runs a command: it has neither a channel nor runbooks.")
    given = {"mapping": mapping, "only": only, "run": run, "channel": channel.strip().removeprefix("#"), "runbooks": runbooks}
    body = row.body | {key: value for key, value in given.items() if value}
    whom = account or row.account
    if body == row.body and whom == row.account:
        raise PlanRefused(f"Nothing about {name} would change.")
    if alerts:
        _check_alerts(ctx, body)
    else:
        await _check_account(ctx, whom)
        _check_body(ctx, body)
    ctx.watch("revision", row.revision)
    changed = change_one(str(row.id), row.revision, body, whom)
    back = change_one(str(row.id), row.revision + 1, row.body, row.account)
    does = f"shows alerts in #{body['channel']}" if alerts else f"runs {body['run']} as {whom}"
    return Plan(f"the trigger {name} {does}", changed.undone_by(back), fields=_fields(body))


@command("trigger rotate", permission=TRIGGERS, risk="medium", quiet=True)
async def trigger_rotate(ctx: PlanningContext, name: str, secret: Secret, overlap: Duration = Duration.parse("1d")) -> Plan:
    """Give a trigger a new secret; the old one holds for OVERLAP, so that nothing is refused while the sender gets the new one."""
    row = await _found(ctx, name)
    _check_secret(Sender(row.sender), secret)
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise PlanRefused("overlap: should be at most 30 days.")
    ctx.watch("revision", row.revision)
    warning = "" if overlap else f"What {name}'s sender signs with the old secret is refused at once."
    rotated = rotate_one(str(row.id), row.revision, secret, str(overlap))
    return Plan(f"the trigger {name} has a new secret; the old one holds for {overlap} more", rotated, warning=warning)


@command("trigger remove", permission=TRIGGERS, risk="low", quiet=True)
async def trigger_remove(ctx: PlanningContext, name: str) -> Plan:
    """End a trigger at once: what is delivered to it is refused from then on."""
    row = await _found(ctx, name)
    return Plan(f"the trigger {name} ends: what {row.sender} delivers is refused", end_one(str(row.id)).undone_by(restore_one(str(row.id))))


@step(idempotent=True, timeout="30s")
async def add_one(ctx: Context, trigger: str, name: str, kind: str, sender: str, body: dict[str, Any], account: str, secret: Secret) -> str:
    """The secret is sealed anew, to the key with which the web processes check deliveries."""
    async with ctx.services.transaction() as session:
        if await find_trigger(session, UUID(trigger)):
            return trigger
        sealed = ctx.services.hook_sealer.seal(secret.reveal())
        fresh = await add_trigger(
            session,
            UUID(trigger),
            name=name,
            kind=kind,
            sender=sender,
            body=body,
            secret=sealed,
            account=account,
            holder=ctx.asker.name,
            run=run_of(ctx),
        )
        if not fresh:
            raise StepFailed(f"There is a trigger {name} by now.")
        detail = {"trigger": trigger, "name": name, "kind": kind, "sender": sender, "account": account, "body": body}
        await record(session, [AuditEvent("trigger:added", ctx.asker.name, run_of(ctx), detail)])
    return trigger


@step(idempotent=True, timeout="30s")
async def change_one(ctx: Context, trigger: str, was: int, body: dict[str, Any], account: str) -> None:
    """Changes exactly the revision that people have seen."""
    async with ctx.services.transaction() as session:
        row = await find_trigger(session, UUID(trigger))
        if row is not None and row.revision == was + 1 and (row.body, row.account) == (body, account):
            return
        if not await change_trigger(session, UUID(trigger), was=was, body=body, account=account, holder=ctx.asker.name):
            raise StepFailed("It was changed or removed meanwhile; nothing was changed.")
        detail = {"trigger": trigger, "body": body, "account": account}
        await record(session, [AuditEvent("trigger:changed", ctx.asker.name, run_of(ctx), detail)])


@step(idempotent=True, timeout="30s")
async def rotate_one(ctx: Context, trigger: str, was: int, secret: Secret, overlap: str) -> None:
    async with ctx.services.transaction() as session:
        row = await find_trigger(session, UUID(trigger))
        if row is not None and row.revision == was + 1:
            return
        sealed = ctx.services.hook_sealer.seal(secret.reveal())
        if not await rotate_trigger(session, UUID(trigger), was=was, secret=sealed, overlap=Duration.parse(overlap)):
            raise StepFailed("It was changed or removed meanwhile; it has its old secret.")
        await record(session, [AuditEvent("trigger:rotated", ctx.asker.name, run_of(ctx), {"trigger": trigger, "overlap": overlap})])


@step(idempotent=True, timeout="30s")
async def end_one(ctx: Context, trigger: str) -> None:
    async with ctx.services.transaction() as session:
        if await end_trigger(session, UUID(trigger), by=ctx.asker.name):
            await record(session, [AuditEvent("trigger:ended", ctx.asker.name, run_of(ctx), {"trigger": trigger})])


@step(idempotent=True, timeout="30s")
async def restore_one(ctx: Context, trigger: str) -> None:
    async with ctx.services.transaction() as session:
        if await restore_trigger(session, UUID(trigger)):
            await record(session, [AuditEvent("trigger:restored", ctx.asker.name, run_of(ctx), {"trigger": trigger})])


def _check_name(name: str) -> None:
    if not name.replace("-", "").isalnum() or not name.isascii() or not name.islower() or len(name) > LONGEST_NAME:
        raise PlanRefused(f"name: should be lower-case letters, digits and hyphens, at most {LONGEST_NAME}, for instance github-releases.")


def _check_secret(sender: Sender, secret: Secret) -> None:
    value = secret.reveal()
    if sender is Sender.certificate and (len(value) != 64 or value.strip("0123456789abcdef")):
        raise PlanRefused("secret: should be the certificate's SHA-256 fingerprint: 64 hexadecimal digits in lower case, without colons.")
    if not SHORTEST_SECRET <= len(value) <= LONGEST_SECRET or not value.isascii():
        raise PlanRefused(
            f"secret: should be {SHORTEST_SECRET} to {LONGEST_SECRET} characters of ASCII that nobody can guess;"
            " openssl rand -hex 32 makes one."
        )


async def _check_account(ctx: PlanningContext, account: str) -> None:
    async with ctx.services.transaction() as session:
        person = await find_person(session, account)
    if person is None or not person.service or not person.active:
        raise PlanRefused(f"account: there is no service account named {account[:40]}.")


def _check_body(ctx: PlanningContext, body: dict[str, Any]) -> None:
    """What cannot work is refused now, with the place where it is wrong, and not when the first delivery comes."""
    found = ctx.services.registry.find(body["run"])
    if found is None or found.kind == "control":
        raise PlanRefused(f"run: there is no command '{str(body['run'])[:40]}' that a trigger could run.")
    try:
        compile_filter(body["only"])
        compile_mapping(body["mapping"], found)
    except MappingError as error:
        raise PlanRefused(f"mapping: {error}" if not str(error).startswith("only") else str(error)) from None


def _check_alerts(ctx: PlanningContext, body: dict[str, Any]) -> None:
    if not body["channel"]:
        raise PlanRefused("channel: say in which channel the alerts are shown.")
    try:
        read_runbooks(body["runbooks"], ctx.services.registry)
    except MappingError as error:
        raise PlanRefused(f"runbooks: {error}") from None


def _nothing() -> dict[str, Any]:
    """What every trigger's body has."""
    return dict.fromkeys(("run", "mapping", "only", "channel", "runbooks", "header", "timestamp_header"), "")


async def _found(ctx: PlanningContext, name: str) -> TriggerRow:
    async with ctx.services.transaction() as session:
        row = await find_trigger_named(session, name)
    if row is None:
        raise PlanRefused(f"There is no trigger named {name[:40]}.")
    return row


def _address(ctx: PlanningContext, trigger: UUID) -> str:
    return f"POST {ctx.services.settings.url}/hooks/{trigger}"


def _fields(body: dict[str, Any]) -> tuple[Field, ...]:
    told = (("Mapping", body["mapping"]), ("Only", body["only"]), ("Runbooks", body["runbooks"]))
    return tuple(Field(label=label, value=value[:500]) for label, value in told if value)
