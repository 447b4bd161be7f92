"""edit: what is asked is changed before it is carried out; it is planned again, earlier votes are void, and everybody concerned is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from countersign.commands import Command
from countersign.errors import BadArgument, CountersignError, MissingArguments
from countersign.invocations import Door, Origin, Place
from countersign.replies import Form
from countersign.runs import FINISHED, RunStatus
from countersign.schemas import SECRET_KEY, written
from store.approvals import supersede_requests
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.people import Person, find_person
from store.runs import Move, RunRow, move
from store.secrets import keep_secrets

from .authorizing import Allowed, Refused, Request, authorize
from .lines import names_of, reply_about, tell_directly
from .matters import Matters, read_matters
from .rulebooks import Rulebook

EDITED: Final = "edited"
"""Under this name the plan that was edited keeps what was changed, for the one that takes its place."""
_OPEN: Final = (RunStatus.awaiting_approval, RunStatus.queued)
_ALREADY: Final = Refused("That is what is asked already; nothing was changed.", "nothing_changed")


@dataclass(frozen=True)
class Change:
    """What somebody wants to change: argument values by name, an empty one means the default again.

    A `whole` change says every argument, so that one left out gets its default; a secret left out stays. `digest` is the plan that was
    looked at, if the door knows it. `in_chat` is what was typed where a secret must not be.
    """

    run_id: UUID
    given: Mapping[str, Any]
    door: Door
    whole: bool = False
    digest: str = ""
    in_chat: bool = False


@dataclass(frozen=True)
class Edited:
    """It is changed: what happens now, in a sentence."""

    sentence: str


@dataclass(frozen=True)
class Unfit(Refused):
    """The values do not fit the arguments that `about` names."""

    about: tuple[str, ...] = ()


async def edit(session: WriteSession, rulebook: Rulebook, person: Person, change: Change) -> Edited | Refused:
    """Changes the request, or says why not; one `edit:*` audit event is recorded either way."""
    matters = await read_matters(session, rulebook, person, change.run_id)
    answer = _open_to(rulebook, matters, change.digest) or await _changed(session, rulebook, matters, change)
    detail: dict[str, Any] = {"door": change.door.value, "changed": sorted(change.given)}
    if isinstance(answer, Refused):
        detail["refused"] = answer.reason
    run = matters.run
    kind = "edit:refused" if isinstance(answer, Refused) else "edit:made"
    await record(session, [AuditEvent(kind, person.name, run.id if run else None, detail)])
    return answer


async def edit_form(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, door: Door) -> Form | Refused:
    """The form in which this person may change the request, filled in with what is asked now; a refusal is recorded."""
    matters = await read_matters(session, rulebook, person, run_id)
    run, refusal = matters.run, _open_to(rulebook, matters, "")
    if refusal is None and run is not None and (command := rulebook.registry.find(run.command)) is not None:
        return form_of(rulebook, command, run)
    detail = {"door": door.value, "refused": refusal.reason if refusal else "unknown_command"}
    await record(session, [AuditEvent("edit:refused", person.name, run.id if run else None, detail)])
    return refusal or Refused("There is no such run.", "not_found_or_foreign")


def form_of(rulebook: Rulebook, command: Command, run: RunRow, *, given: Mapping[str, Any] | None = None) -> Form:
    """Every argument as a question, with what is asked now, or with what was `given`; a secret is left empty and then stays."""
    secrets = command.schema.secrets
    now = {name: written(value) for name, value in run.arguments.items() if name not in secrets}
    initial = now if given is None else {name: str(value) for name, value in given.items() if name not in secrets}
    inputs = [
        one.model_copy(update={"required": False, "hint": "Leave it empty to keep the one that was given."}) if one.name in secrets else one
        for one in command.schema.inputs(initial, choices=rulebook.choices)
    ]
    return Form(
        title=f"Change #{run.number}",
        intent="edit",
        target=str(run.id),
        inputs=tuple(inputs),
        submit_label="Change it",
        carried={"digest": run.digest or ""},
    )


def _open_to(rulebook: Rulebook, matters: Matters, digest: str) -> Refused | None:
    """Why nobody may change it now, or this person may not."""
    if refused := matters.refused():
        return refused
    run = matters.known
    if not (matters.holds or matters.votes):
        who = " and ".join([run.asker, *([run.handed_to] if run.handed_to else []), "those who may approve it"])
        return Refused(f"Only {who} can change run #{run.number}.", "missing_permission")
    if run.status in FINISHED:
        return Refused(f"Run #{run.number} has ended already: {_words(run)}. Ask for it anew.", "late_click")
    if run.status in (RunStatus.submitted, RunStatus.planning):
        return Refused(f"Run #{run.number} is just being planned; change it when its plan is there.", "late_click")
    if run.status not in _OPEN:
        return Refused(f"Run #{run.number} has begun already, so it cannot be changed any more; it is {_words(run)}.", "late_click")
    if matters.expired:
        return Refused(f"The request for run #{run.number} has expired; ask again.", "expired")
    if digest and digest != run.digest:
        return Refused("The plan has changed since this was shown; look at the new one.", "digest_mismatch")
    if rulebook.registry.find(run.command) is None:
        return Refused(f"There is no command {run.command} any more.", "unknown_command")
    return None


async def _changed(session: WriteSession, rulebook: Rulebook, matters: Matters, change: Change) -> Edited | Refused:
    run, command = matters.known, rulebook.registry.commands[matters.known.command]
    if change.in_chat and (shown := sorted(command.schema.secrets & set(change.given))):
        sentence = f"{shown[0]}: a secret is never typed into chat; press Edit on the card and a form asks for it."
        return Refused(f"{sentence} Change it if it was real.", "secret_in_chat")
    found: dict[str, bytes] = {}
    try:
        arguments = rulebook.sealer.taken_out(_arguments(command, run, change), found)
    except MissingArguments as error:
        return Unfit(f"{error}.", "missing_arguments", error.names)
    except BadArgument as error:
        return Unfit(f"{error}.", "wrong_argument", (error.argument,))
    except CountersignError as error:
        return Refused(str(error), "wrong_argument")
    lines = differing(run.arguments, arguments)
    if not lines:
        return _ALREADY
    asker = await find_person(session, run.asker)
    answer = authorize(rulebook.policy, asker, _request(rulebook, run, command, arguments)) if asker else None
    if not isinstance(answer, Allowed):
        said = answer.sentence if answer else "They are not known any more."
        return Refused(f"{run.asker} asked for this and may not ask for that: {said}", answer.reason if answer else "actor_inactive")
    return await _write(session, matters, change, arguments=arguments, lines=lines, found=found)


async def _write(
    session: WriteSession,
    matters: Matters,
    change: Change,
    *,
    arguments: dict[str, Any],
    lines: list[str],
    found: Mapping[str, bytes],
) -> Edited | Refused:
    run, person = matters.known, matters.person
    wanted = Move(
        run.id,
        RunStatus.submitted,
        by=person.name,
        because=f"changed by {person.name}",
        come_from=_OPEN,
        plan={**(run.plan or {}), EDITED: lines},
        outcome="",
        arguments=arguments,
        origins={**run.origins, **_origins(run, change, arguments)},
        edited_by=person.name,
        badge="",
    )
    if not await move(session, [wanted]):
        return Refused(f"Run #{run.number} has moved on meanwhile.", "late_click")
    await supersede_requests(session, run.id)
    await keep_secrets(session, run.id, found)
    said = "; ".join(lines)
    await say(session, NewLine(run.id, "edit", person.name, f"changes {said}"[:1_000]))
    voted = names_of([row.person for row in matters.decisions], but=person.name)
    news = f"{person.name} changed {said}."
    told = {one: reply_about(run, f"{news} Your vote does not count any more; its new plan follows.") for one in voted}
    asking = [one for one in names_of([run.asker, run.handed_to], but=person.name) if one not in told]
    told |= {one: reply_about(run, f"{news} Its new plan follows, and is approved anew.") for one in asking}
    await tell_directly(session, run, told)
    return Edited(f"Changed {said}. Run #{run.number} is planned again" + (", and earlier votes are void." if matters.decisions else "."))


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What was changed, argument by argument, as people read it."""
    names = [*new, *(name for name in old if name not in new)]
    return [f"{name}: {_shown(old.get(name))} → {_shown(new.get(name))}" for name in names if old.get(name) != new.get(name)]


def _arguments(command: Command, run: RunRow, change: Change) -> dict[str, Any]:
    """All arguments as they would be now, in canonical form; a secret that is not given stays sealed as it is."""
    given = {name: value for name, value in change.given.items() if value not in (None, "")}
    kept = {name: run.arguments[name] for name in command.schema.secrets - set(given) if name in run.arguments}
    stays = {} if change.whole else {name: value for name, value in run.arguments.items() if name not in change.given}
    schema = command.schema.without(kept)
    values = schema.validate({name: value for name, value in {**stays, **given}.items() if name not in kept and value is not None})
    return {**schema.written(values), **kept}


def _origins(run: RunRow, change: Change, arguments: Mapping[str, Any]) -> dict[str, Origin]:
    """Where each changed argument comes from now."""
    changed = [name for name in arguments if arguments[name] != run.arguments.get(name)]
    return {name: Origin.typed if change.given.get(name) not in (None, "") else Origin.default for name in changed}


def _request(rulebook: Rulebook, run: RunRow, command: Command, arguments: Mapping[str, Any]) -> Request:
    """What the asker would be asking for now, from where they had asked."""
    return Request(
        permission=command.permission,
        door=Door(run.door),
        place=Place(**run.place) if run.place else Place("api"),
        command=command,
        arguments=arguments,
        reason=run.reason,
        now=rulebook.now(),
    )


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and SECRET_KEY in value:
        return "••••••"
    text = " ".join(written(value).split())
    return (text if len(text) <= 80 else f"{text[:79]}…") or "nothing"


def _words(run: RunRow) -> str:
    return run.status.replace("_", " ")
