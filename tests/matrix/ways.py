"""Every way to see a run or to do something about one: how it is tried, and how it shows that it was done."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from countersign.canonical import canonical
from tests.matrix.doors import ACCOUNTS, PRESSED, TYPED, Doors, Shown
from tests.matrix.towns import ENTITLED, Run

Go = Callable[[Doors, str, str, Run], Awaitable[Shown]]
CONTENT, LISTED = "content", "listed"
"""What is seen of a run: what stands in it, or at least that there is one."""
_SENT: Final = ("slack", "browser", "terminal")


@dataclass(frozen=True)
class Way:
    """`ins` are the ways in by which it is tried; `shows` what whoever may is shown; `done` a query that finds what they did, where :run is
    the run and :who the person. `about_all` means that no run is named, so that what may not be seen is left out and not refused.
    """

    ins: tuple[str, ...]
    go: Go
    state: str = "waiting"
    shows: str = ""
    done: str = ""
    about_all: bool = False


def typed(line: str, *also: str, state: str = "waiting", shows: str = "", done: str = "", about_all: bool = False) -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        target = run.box if persona in ENTITLED else "anything"  # nobody else can know it
        return await doors.type(way, persona, line.format(number=run.number, target=target))

    return Way((*TYPED, *also), go, state, shows, done, about_all)


def pressed(intent: str, *also: str, state: str = "waiting", shows: str = "", done: str = "") -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        return await doors.press(way, persona, intent, str(run.id), digest=run.digest)

    return Way((*PRESSED, *also), go, state, shows, done)


def sent(intent: str, *, state: str = "waiting", done: str = "", **answers: str) -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        return await doors.send(way, persona, intent, str(run.id), answers=answers, digest=run.digest)

    return Way(_SENT, go, state, done=done)


def got(path: str, *, state: str = "waiting", browser: bool = False, about_all: bool = True) -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        client = doors.client(persona, browser=browser)
        answer = await client.get(path.format(id=run.id, number=run.number))
        return Shown(answer.status_code, answer.text)

    return Way(("browser" if browser else "rest",), go, state, CONTENT, about_all=about_all)


def streamed(path: str, *, browser: bool = False) -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        # Two cards are in the channel, and for Ada two answers of her own.
        return await doors.stream(persona, path, browser=browser, events=4 if persona == "asker" else 2)

    return Way(("browser" if browser else "rest",), go, shows=CONTENT, about_all=True)


def followed(path: str, *, state: str) -> Way:
    async def go(doors: Doors, way: str, persona: str, run: Run) -> Shown:
        return await doors.stream(persona, path.format(id=run.id), events=1)

    return Way(("rest",), go, state, CONTENT)


async def show_home(doors: Doors, way: str, persona: str, run: Run) -> Shown:
    """App Home as it is published when it is opened."""
    _, user = ACCOUNTS[persona]
    doors.town.opened.pop(f"home of {user}", None)
    answer = await doors.event(persona, {"type": "app_home_opened", "user": user, "tab": "home", "channel": "D1"})
    return Shown(answer.status, await doors.opened(f"home of {user}") if answer.status == 200 else "")


async def press_runbook(doors: Doors, way: str, persona: str, run: Run) -> Shown:
    """The button as a card shows it, with the digest of what it asks for."""
    digest = hashlib.sha256(canonical(["oil hinge", {"box": f"red-{run.id}"}])).hexdigest()[:16]
    return await doors.press(way, persona, "alert_runbook", str(run.id), digest=digest)


_ALERT: Final = "SELECT 1 FROM alert_groups WHERE id = :run AND status = '{0}' AND {0}_by = :who"
_OILED: Final = """SELECT 1 FROM runs WHERE asker = :who AND command = 'oil hinge' AND arguments ->> 'box' = 'red-' || cast(:run AS text)
AND reason LIKE 'alert A%' AND origins ->> 'box' = 'label' AND status <> 'refused'"""
_VOTED: Final = "SELECT 1 FROM decisions WHERE run_id = :run AND person = :who AND verdict = '{}' AND withdrawn_at IS NULL"
_STATUS: Final = "SELECT 1 FROM runs WHERE id = :run AND status = '{}'"
_MOVED: Final = "SELECT 1 FROM runs WHERE id = :run AND status <> 'interrupted'"
_PAUSED: Final = "SELECT 1 FROM runs WHERE id = :run AND paused_by = :who"
_UNPAUSED: Final = "SELECT 1 FROM runs WHERE id = :run AND paused_by IS NULL"
_DONE: Final = "SELECT 1 FROM tasks WHERE run_id = :run AND answered_by = :who"
_ASSIGNED: Final = "SELECT 1 FROM tasks WHERE run_id = :run AND assigned_by = :who"
_SAID: Final = "SELECT 1 FROM conversations WHERE run_id = :run AND person = :who AND kind = '{}' AND said LIKE '%indeed%'"
_EDITED: Final = "SELECT 1 FROM runs WHERE id = :run AND edited_by = :who AND arguments ->> 'box' = 'another'"

WAYS: Final = {
    "type run": typed("run {number}", "mention", shows=CONTENT),
    "type audit": typed("audit {number}", shows="run:submitted"),
    "type approve": typed("approve {number}", "mention", done=_VOTED.format("approve")),
    "type deny": typed("deny {number} no", done=_VOTED.format("deny")),
    "type cancel": typed("cancel {number}", done=_STATUS.format("cancelled")),
    "type pause": typed("pause {number}", state="running", done=_PAUSED),
    "type unpause": typed("unpause {number}", state="paused", done=_UNPAUSED),
    "type task answer": typed('task answer {number} \'{{"text": "indeed"}}\'', state="tasked", done=_DONE),
    "type task assign": typed("task assign {number} max", state="tasked", done=_ASSIGNED),
    "type edit": typed("edit {number} box=another", done=_EDITED),
    "type withdraw": typed("withdraw {number}", done=_STATUS.format("cancelled")),
    "type takeback": typed(
        "takeback {number}",
        state="approved",
        done="SELECT 1 FROM decisions WHERE run_id = :run AND person = :who AND withdrawn_at IS NOT NULL",
    ),
    "type handover": typed("handover {number} max", done="SELECT 1 FROM runs WHERE id = :run AND handed_to = 'max'"),
    "type comment": typed("comment {number} indeed", done=_SAID.format("comment")),
    "type ask": typed("ask {number} indeed", done=_SAID.format("question")),
    "type answer": typed("answer {number} indeed", state="asked", done=_SAID.format("answer")),
    "type break-glass": typed(
        'break-glass {number} {target} --reason "nobody can be reached"', done="SELECT 1 FROM breaks WHERE run_id = :run AND person = :who"
    ),
    "type review": typed(
        'review {number} "it was right to do so"',
        state="broken",
        done="SELECT 1 FROM reviews WHERE run_id = :run AND signed_by = :who",
    ),
    "press approve": pressed("approve", "home", done=_VOTED.format("approve")),
    "press deny": pressed("deny", done=_VOTED.format("deny")),
    "press cancel": pressed("cancel", done=_STATUS.format("cancelled")),
    "press pause": pressed("pause", state="running", done=_PAUSED),
    "press unpause": pressed("unpause", state="paused", done=_UNPAUSED),
    "press task": pressed("task", state="tasked"),
    "press task_assign": pressed("task_assign", state="tasked"),
    "press details": pressed("details", "home", shows=CONTENT),
    "press edit": pressed("edit", shows=CONTENT),
    "press comment": pressed("comment"),
    "press ask": pressed("ask"),
    "press answer": pressed("answer", state="asked"),
    "press resume_happened": pressed("resume_happened", state="interrupted", done=_MOVED),
    "press resume_again": pressed("resume_again", state="interrupted", done=_MOVED),
    "press resume_undo": pressed("resume_undo", state="interrupted", done=_MOVED),
    "press resume_stop": pressed("resume_stop", state="interrupted", done=_MOVED),
    "press extend": pressed("extend", state="granted", shows="extended"),
    "press alert_acknowledge": pressed("alert_acknowledge", state="alerted", done=_ALERT.format("acknowledged")),
    "press alert_resolve": pressed("alert_resolve", state="alerted", done=_ALERT.format("resolved")),
    "press alert_details": pressed("alert_details", state="alerted", shows="slow: firing"),
    "press alert_runbook": Way(PRESSED, press_runbook, "alerted", done=_OILED),
    "send edit": sent("edit", done=_EDITED, box="another"),
    "send task": sent("task", state="tasked", done=_DONE, text="indeed"),
    "send task_assign": sent("task_assign", state="tasked", done=_ASSIGNED, text="max"),
    "send comment": sent("comment", done=_SAID.format("comment"), text="indeed"),
    "send ask": sent("ask", done=_SAID.format("question"), text="indeed"),
    "send answer": sent("answer", state="asked", done=_SAID.format("answer"), text="indeed"),
    "list runs": typed("runs", shows=LISTED, about_all=True),
    "list inbox": typed("inbox", shows=LISTED, about_all=True),
    "list GET /api/v1/runs": got("/api/v1/runs?limit=200"),
    "list GET /api/v1/runs?asker=ada": got("/api/v1/runs?limit=200&asker=ada&status=awaiting_approval"),
    "list GET /api/v1/inbox": got("/api/v1/inbox"),
    "list App Home": Way(("slack",), show_home, shows=CONTENT, about_all=True),
    "list room channel": got("/api/v1/room/messages?channel=ops"),
    "list room direct messages": got("/api/v1/room/messages?channel="),
    "list room page": got("/?channel=ops", browser=True),
    "list room page of direct messages": got("/?channel=", browser=True),
    "list page of runs": got("/runs", browser=True),
    "list page of runs filtered": got("/runs?asker=ada&status=open&door=browser", browser=True),
    "list inbox page": got("/inbox", browser=True),
    "stream room channel": streamed("/api/v1/room/events?channel=ops&after=0"),
    "stream room page": streamed("/room/events?channel=ops&after=0", browser=True),
    "stream GET /api/v1/runs/{reference}/log": got("/api/v1/runs/{id}/log", state="done", about_all=False),
    "stream GET /api/v1/runs/{reference}/log/events": followed("/api/v1/runs/{id}/log/events", state="done"),
    "fetch GET /api/v1/runs/{reference}/artifacts": got("/api/v1/runs/{id}/artifacts", state="done", about_all=False),
    "fetch GET /api/v1/runs/{reference}/artifacts/{name}": got("/api/v1/runs/{id}/artifacts/report.txt", state="done", about_all=False),
    "fetch page's file": got("/runs/{id}/artifacts/report.txt", state="done", browser=True, about_all=False),
    "export GET /api/v1/audit": got("/api/v1/audit?limit=200"),
}
