"""`countersign passkey accept`: a first passkey, accepted by whoever holds the hub's machine, because no passkey can sign for it yet."""

import asyncio
from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

import typer

from bot.cli.endings import Failed, finish, new_app
from bot.cli.reaching import committed, read_settings, record_url
from commands.passkeys import NewKey, read_key
from commands.sites import Site, WrongPasskey
from countersign.runs import RunStatus
from store.approvals import close_request, lock_request
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.passkeys import NewPasskey, add_passkey
from store.people import find_person
from store.runs import Move, RunRow, find_by_reference, lock_run, move

ADD = "passkey add"
app = new_app()


@app.command()
def accept(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The number of the run of `passkey add` that waits.")],
    fingerprint: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="As its owner reads it to you, not as a card shows it.")],
) -> None:
    """Accept the passkey that RUN asks for without anybody's signature; ask its owner for the FINGERPRINT, on another way than this hub."""
    settings = read_settings()
    site = Site.of(settings.url)

    async def take(session: WriteSession) -> str:
        row = await _waiting(session, run)
        key = _key_of(site, row)
        if fingerprint.strip().lower() != key.fingerprint:
            raise Failed(f"Run #{row.number} asks for another key than {fingerprint}; nothing was done. It may be forged: ask {row.asker}.")
        await _add(session, site, row, key)
        return f"{row.asker} can sign decisions with the passkey '{row.arguments['label']}' ({key.fingerprint})."

    print(asyncio.run(committed(record_url(settings), take)))


async def _waiting(session: WriteSession, reference: str) -> RunRow:
    found = await find_by_reference(session, reference)
    if found is None or found.command != ADD:
        raise Failed(f"There is no run {reference} of {ADD}.")
    await lock_request(session, found.id)
    row = await lock_run(session, found.id)
    if row is None or row.status != RunStatus.awaiting_approval:
        raise Failed(f"Run #{found.number} does not wait for an approval; it is {found.status.replace('_', ' ')}.")
    person = await find_person(session, row.asker)
    if person is None or not person.active or person.service:
        raise Failed(f"{row.asker} is not an active person; nothing was done.")
    return row


def _key_of(site: Site, row: RunRow) -> NewKey:
    try:
        return read_key(site, str(row.arguments.get("key", "")))
    except WrongPasskey as error:
        raise Failed(f"{error} Is COUNTERSIGN_PUBLIC_URL the same here as where the web process runs?") from None


async def _add(session: WriteSession, site: Site, row: RunRow, key: NewKey) -> None:
    label = str(row.arguments.get("label", ""))[:40]
    new = NewPasskey(
        uuid5(NAMESPACE_URL, f"accepted:{row.id}"), key.credential, key.data, row.asker, label, site.rp_id, key.sign_count, row.id
    )
    if not await add_passkey(session, new):
        raise Failed("This passkey is enrolled already, or was revoked.")
    detail = {"person": row.asker, "label": label, "fingerprint": key.fingerprint, "door": "machine"}
    await record(session, [AuditEvent("passkey:added", "countersign", row.id, detail)])
    request = await lock_request(session, row.id)
    if request is not None:
        await close_request(session, request.id, state="superseded")
    outcome = "The passkey was accepted on the hub's own machine, so this request is not needed any more."
    await move(session, [Move(row.id, RunStatus.cancelled, by="countersign", because="accepted on the hub's machine", outcome=outcome)])


if __name__ == "__main__":
    finish(app, name="countersign passkey accept")
