"""passkey add, list and revoke: whose signature counts is decided by people, because a taken-over web process must not decide it."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from commands.authorizing import is_admin
from commands.controls import ControlContext
from commands.passkeys import NewKey, fingerprint, read_key
from commands.policies import ADMIN
from commands.sites import Site, WrongPasskey
from commands.stepups import ENROL
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from countersign.commands import control
from countersign.replies import Field, Reply
from store.audits import AuditEvent, record
from store.passkeys import NewPasskey, Passkey, add_passkey, find_all_passkeys, find_passkey, find_passkeys, revoke_passkey
from store.people import find_person

from .accesses import run_of

MOST_KEYS = 10
MOST_LABEL = 40


@command("passkey add", permission="countersign:use", approval=Approval(by=ADMIN, step_up="passkey"))
async def passkey_add(ctx: PlanningContext, label: str, key: str) -> Plan:
    """Enrol a passkey of your own, with which you sign decisions; a browser makes it. An admin signs that with theirs."""
    new = _read(ctx, key)
    if not 1 <= len(label.strip()) <= MOST_LABEL:
        raise PlanRefused(f"label: should be a few words that tell your keys apart, at most {MOST_LABEL} characters.")
    async with ctx.services.transaction() as session:
        person = await find_person(session, ctx.asker.name)
        known = await find_passkey(session, new.credential)
        held = await find_passkeys(session, [ctx.asker.name])
    if person is None or person.service:
        raise PlanRefused("Service accounts never vote, so they have no passkeys.")
    if known is not None:
        raise PlanRefused(f"This passkey is enrolled already, or was revoked: {fingerprint(known.data)}. Make a new one.")
    if len(held) >= MOST_KEYS:
        raise PlanRefused(f"You have {len(held)} passkeys; revoke one first.")
    return Plan(
        f"{ctx.asker.name} can sign decisions with the passkey '{label.strip()}'",
        enrol(ctx.asker.name, label.strip(), key).undone_by(end_key(new.credential.hex())),
        fields=(Field(label="Fingerprint", value=new.fingerprint),),
        warning=f"Ask {ctx.asker.name} for the fingerprint before you approve.",
    )


@command("passkey revoke", permission="countersign:use", risk="medium")
async def passkey_revoke(ctx: PlanningContext, key: str) -> Plan:
    """Revoke a passkey, for good and at once: one of yours, or as an admin anybody's. KEY is its fingerprint, or the beginning of it."""
    async with ctx.services.transaction() as session:
        person = await find_person(session, ctx.asker.name)
        keys = await find_all_passkeys(session)
    everybody = person is not None and is_admin(ctx.services.rulebook.policy, person)
    mine = [one for one in keys if everybody or one.person == ctx.asker.name]
    found = _meant(mine, key)
    return Plan(
        f"the passkey '{found.label}' of {found.person} ends",
        end_key(found.credential.hex()),
        fields=(Field(label="Fingerprint", value=fingerprint(found.data)),),
        warning="What was signed with it and has not begun has to be signed again.",
    )


@control("passkey list")
async def passkey_list(ctx: ControlContext) -> Reply:
    """List your passkeys; admins see everybody's."""
    everybody = is_admin(ctx.rulebook.policy, ctx.person)
    keys = await (find_all_passkeys(ctx.session) if everybody else find_passkeys(ctx.session, [ctx.person.name]))
    if not keys:
        return Reply(text="There are no passkeys yet." if everybody else f"You have no passkey yet: {ENROL}")
    lines = [f"{fingerprint(one.data)}  {one.person.ljust(12)} {one.added_at:%Y-%m-%d}  {one.label}" for one in keys]
    return Reply(text="Passkeys in use. To end one: passkey revoke FINGERPRINT", code="\n".join(lines))


@step(idempotent=True, timeout="30s")
async def enrol(ctx: Context, person: str, label: str, key: str) -> None:
    new, site = _read(ctx, key), Site.of(ctx.services.settings.url)
    one = NewPasskey(
        uuid5(NAMESPACE_URL, ctx.key), new.credential, new.data, person, label, site.rp_id, new.sign_count, UUID(str(run_of(ctx)))
    )
    async with ctx.services.transaction() as session:
        if await add_passkey(session, one):
            detail = {"person": person, "label": label, "fingerprint": new.fingerprint}
            await record(session, [AuditEvent("passkey:added", ctx.asker.name, run_of(ctx), detail)])
            return
        there = await find_passkey(session, new.credential)
    if there is None or there.id != one.id:
        raise StepFailed("This passkey is enrolled already, or was revoked.")


@step(idempotent=True, timeout="30s")
async def end_key(ctx: Context, credential: str) -> None:
    async with ctx.services.transaction() as session:
        found = await find_passkey(session, bytes.fromhex(credential))
        if found is not None and await revoke_passkey(session, found.id, by=ctx.asker.name):
            detail = {"person": found.person, "label": found.label, "fingerprint": fingerprint(found.data)}
            await record(session, [AuditEvent("passkey:revoked", ctx.asker.name, run_of(ctx), detail)])


def _read(ctx: PlanningContext | Context, key: str) -> NewKey:
    site = Site.of(ctx.services.settings.url)
    try:
        return read_key(site, key)
    except WrongPasskey as error:
        raise PlanRefused(str(error)) from None


def _meant(keys: Sequence[Passkey], text: str) -> Passkey:
    wanted = text.strip().lower()
    found = [one for one in keys if wanted and fingerprint(one.data).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanRefused(f"{len(found)} passkeys begin with {wanted}; give more of the fingerprint.")
    raise PlanRefused("You have no such passkey; passkey list shows the fingerprints.")
