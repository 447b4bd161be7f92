"""Asking for runs, reading them, deciding on them and stopping them."""

from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, JsonValue, model_validator

from bot.hubs import Answer
from commands.authorizing import Refused
from commands.cancel import cancel
from commands.decide import Decided, Vote, decide
from commands.pictures import picture_of
from commands.resume import Choice, resume
from commands.rulebooks import Rulebook
from commands.voting import readable_by
from countersign.invocations import Door, Invocation, Place
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.databases import ReadSession, WriteSession
from store.journals import find_steps
from store.listings import Wanted, find_listed
from store.logs import find_lines
from store.runs import RunRow

from .acting import acted
from .bodies import Body, body_of, documented
from .callers import DECIDE, READ, SUBMIT, Caller, caller_with
from .logs import line_as_json
from .pages import After, Limit, numbers_in, page
from .problems import Problem, refused
from .stories import read_visible, summary_of, tell

router = APIRouter(prefix="/runs", tags=["runs"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Asker = Annotated[Caller, Depends(caller_with(SUBMIT))]
Decider = Annotated[Caller, Depends(caller_with(DECIDE))]
Stopper = Annotated[Caller, Depends(caller_with(SUBMIT, DECIDE))]
SCANNED = 5
PLACE = Place("api")


class NewRun(Body):
    """`command` with `arguments`, or one line of `text`. The same `idempotency_key` is the same request, whatever else is in it."""

    command: Annotated[str, Field(max_length=100)] = ""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    text: Annotated[str, Field(max_length=8_000)] = ""
    dry_run: bool = False
    start_at: Annotated[str, Field(max_length=80, description="When it is to start: ISO 8601 with an offset, or as with --at.")] = ""
    reason: Annotated[str, Field(max_length=500)] = ""
    idempotency_key: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _one_way(self) -> "NewRun":
        if bool(self.command) == bool(self.text.strip()):
            raise ValueError("should have either command (with arguments) or text")
        if self.text and self.arguments:
            raise ValueError("should have arguments only together with command")
        return self


class NewDecision(Body):
    """`digest` is that of the plan you looked at: what was approved is what runs.

    `assertion` is what `navigator.credentials.get` gave, as JSON, where a passkey has to sign: see `decisions/options`.
    """

    verdict: Literal["approve", "deny"]
    digest: Annotated[str, Field(max_length=100)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""
    start_at: Annotated[str, Field(max_length=80, description="A later start than was asked for.")] = ""
    assertion: dict[str, JsonValue] | None = None


class NewChoice(Body):
    """What becomes of an interrupted run."""

    choice: Literal["happened", "again", "undo", "stop"]


@router.post("", status_code=201, openapi_extra=documented(NewRun))
async def ask(caller: Asker, wanted: Annotated[NewRun, Depends(body_of(NewRun))], response: Response) -> dict[str, Any]:
    """Ask for a run. 201 with the new run, 200 with the earlier one when the key was seen before, or with the reply of a control."""
    await caller.check_reach(command=wanted.command, text=wanted.text)
    key = f"api:{caller.person.name}:{wanted.idempotency_key or uuid4()}"
    invocation = Invocation(
        key=key,
        door=Door.api,
        place=PLACE,
        text=wanted.text,
        command=wanted.command,
        arguments=dict(wanted.arguments),
        reason=wanted.reason,
        dry_run=wanted.dry_run,
        start_at=wanted.start_at,
        trace=caller.trace,
    )
    answer = await caller.hub.submit(caller.person, invocation)
    raise_refusal(answer)
    if answer.run_id is None:
        response.status_code = 200
        return {"reply": answer.reply.model_dump(mode="json")}
    response.status_code = 201 if answer.fresh else 200
    response.headers["location"] = f"/api/v1/runs/{answer.run_id}"
    return await looked(caller, str(answer.run_id))


@router.get("")
async def search(
    caller: Reader,
    command: Annotated[str | None, Query(max_length=100)] = None,
    asker: Annotated[str | None, Query(max_length=100)] = None,
    status: Annotated[list[RunStatus] | None, Query()] = None,
    limit: Limit = 50,
    cursor: After = None,
) -> dict[str, Any]:
    """Runs that you may see, newest first. A page may be short; go on until `next` is null."""
    start = numbers_in(cursor, count=1)
    rulebook = await caller.hub.rulebook()
    wanted = Wanted(command=command or "", askers=[asker] if asker else None, statuses=status or ())

    async def find(session: ReadSession) -> dict[str, Any]:
        found: list[RunRow] = []
        before = start[0] if start else None
        for _ in range(SCANNED):
            rows = await find_listed(session, wanted, before=before, limit=limit)
            seen = {one.id for one in await readable_by(session, rulebook, caller.person, rows)}
            for row in rows:
                before = row.number
                if row.id in seen:
                    found.append(row)
                if len(found) == limit:
                    return page([summary_of(one) for one in found], (before,))
            if len(rows) < limit:
                return page([summary_of(one) for one in found], None)
        return page([summary_of(one) for one in found], (before or 0,))

    return await caller.hub.read(find)


@router.get("/{reference}")
async def show(caller: Reader, reference: str) -> dict[str, Any]:
    """One run, by its id or number; 404 for one you may not see."""
    return await looked(caller, reference)


@router.get("/{reference}/log")
async def log(caller: Reader, reference: str, after: Annotated[int, Query(ge=0, lt=2**63)] = 0, limit: Limit = 200) -> dict[str, Any]:
    """The last lines of a run's log after line `after`, oldest first; `next` is where to go on."""

    async def find(session: ReadSession, run: RunRow) -> dict[str, Any]:
        lines = await find_lines(session, run.id, after=after, last=limit)
        return {"items": [line_as_json(one) for one in lines], "next": lines[-1].n if lines else after}

    return await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)


@router.get("/{reference}/plan.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
async def picture(caller: Reader, reference: str) -> Response:
    """The plan drawn as a picture, with how far each step is."""

    async def find(session: ReadSession, run: RunRow) -> str:
        return picture_of(run.plan or {}, await find_steps(session, run.id, revision=run.revision))

    drawn = await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)
    # A picture has no business with scripts or other addresses, whatever a browser is made to take it for.
    strict = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox"}
    return Response(drawn, media_type="image/svg+xml", headers=strict)


@router.post("/{reference}/decisions", openapi_extra=documented(NewDecision))
async def vote(caller: Decider, reference: str, wanted: Annotated[NewDecision, Depends(body_of(NewDecision))]) -> dict[str, Any]:
    """Approve or deny the plan with this digest."""
    if wanted.verdict == "approve" and not wanted.digest:
        raise Problem(422, "wrong_body", "digest: is required to approve; it is the digest of the plan you looked at.", {"field": "digest"})

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Decided | Refused:
        one = Vote(
            run_id,
            Verdict(wanted.verdict),
            Door.api,
            digest=wanted.digest,
            reason=wanted.reason,
            start_at=wanted.start_at,
            fresh=caller.fresh,
            assertion=wanted.assertion,
        )
        return await decide(session, rulebook, caller.person, one)

    answer = await acted(caller, reference, act)
    return {"sentence": answer.sentence, "status": answer.status, "missing": answer.missing}


@router.post("/{reference}/cancel")
async def stop(caller: Stopper, reference: str) -> dict[str, Any]:
    """Cancel a run that has not ended."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await cancel(session, rulebook, caller.person, run_id, door=Door.api)

    return {"sentence": (await acted(caller, reference, act)).sentence}


@router.post("/{reference}/resume", openapi_extra=documented(NewChoice))
async def choose(caller: Decider, reference: str, wanted: Annotated[NewChoice, Depends(body_of(NewChoice))]) -> dict[str, Any]:
    """Say what happened to the step that was in flight when its worker died."""

    async def act(session: WriteSession, rulebook: Rulebook, run_id: UUID) -> Any:
        return await resume(session, rulebook, caller.person, run_id, choice=Choice(wanted.choice), door=Door.api)

    return {"sentence": (await acted(caller, reference, act)).sentence}


async def looked(caller: Caller, reference: str) -> dict[str, Any]:
    """One run as its reader sees it; raises Problem 404."""
    rulebook = await caller.hub.rulebook()

    async def find(session: ReadSession, run: RunRow) -> dict[str, Any]:
        return await tell(session, rulebook, run)

    return await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)


def raise_refusal(answer: Answer) -> None:
    """Raises the Problem for a request of which no run came."""
    run = {"run": str(answer.run_id)} if answer.run_id else {}
    if answer.form is not None:
        missing = [one.name for one in answer.form.inputs if one.required and not one.initial]
        raise Problem(422, "missing_arguments", answer.reply.text, {"missing": missing})
    if answer.refused or answer.status is RunStatus.refused:
        raise refused(answer.refused or "refused", answer.reply.text, **run)
