"""The policy in force: its rules, what it says to a question, and how it differs from those before it."""

import asyncio
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.policies import PolicyError, compile_policy
from commands.policydiffs import Comparison, Difference, read_comparison, summary
from commands.rules import Rule
from store.databases import ReadSession
from store.policies import StoredPolicy, find_earlier, find_policy

from .frames import Frame, Here, framed, here_of
from .panes import Asking, Cell, Pane, panes_page, reads_all

router = APIRouter(include_in_schema=False)
EARLIER: Final = 20
DAYS: Final = 30
MOST_RUNS: Final = 2_000
MOST_SHOWN: Final = 100
MOST_LINES: Final = 400


@dataclass(frozen=True)
class Stored:
    """The policy in force, those before it, and what was asked lately if two are to be compared."""

    now: StoredPolicy | None
    earlier: list[StoredPolicy]
    asked: Comparison | None


@router.get("/policy")
async def show(request: Request, compare: Annotated[str, Query(max_length=64)] = "") -> Response:
    here = await here_of(request, "/policy", compare=compare)
    frame = await framed(request, here, "/policy")
    everything = reads_all(frame)
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> Stored:
        asked = await read_comparison(session, frame.rulebook, days=DAYS, limit=MOST_RUNS) if compare and everything else None
        return Stored(await find_policy(session), await find_earlier(session, limit=EARLIER) if everything else [], asked)

    stored = await hub.read(read)
    panes = [_in_force(frame, stored)]
    if everything:
        panes += [*(await _compared(stored, compare) if compare else ()), _rules(frame), _earlier(here, stored)]
    return panes_page(
        request, frame, "Policy", panes, form=_question(here), lead="May somebody run something, and who would have to approve it?"
    )


def _question(here: Here) -> dict[str, object]:
    """The form of `policy explain`, sent as that command."""
    inputs = [("a.person", "Who", here.visitor.person.name), ("a.command", "Command, as it is typed", "")]
    return {
        "method": "post",
        "action": "/ask",
        "hidden": {"command": "policy explain", "go": "ask"},
        "inputs": inputs,
        "words": "Explain",
    }


def _in_force(frame: Frame, stored: Stored) -> Pane:
    policy = frame.rulebook.policy
    rows: list[tuple[str, Cell | str]] = [
        ("profile", policy.profile),
        ("digest", Cell(policy.digest, code=True)),
        ("time zone", policy.file.timezone),
    ]
    if stored.now:
        rows += [("in force since", Cell(at=stored.now.applied_at)), ("applied by", stored.now.applied_by)]
    if frame.rulebook.problem:
        rows.append(("problem", Cell(frame.rulebook.problem, tone="bad")))
    return Pane("In force", rows=rows, links=Asking(frame).link("Apply another", "policy apply"))


def _rules(frame: Frame) -> Pane:
    rows = [(f"line {one.line}", one.name, _conditions(one), _outcomes(one)) for one in frame.rulebook.policy.file.rules]
    empty = "There are no rules: what the profile and the commands' authors say holds."
    return Pane("Rules", ("Where", "Rule", "When all of this holds", "Then"), rows, empty)


def _conditions(rule: Rule) -> str:
    given = rule.model_dump(
        mode="json", include={"command", "risk", "when", "people", "groups", "doors", "channels"}, exclude_defaults=True
    )
    told = [f"{name}: {_told(value)}" for name, value in given.items() if value]
    return "; ".join([*told, *([f"if: {rule.test}"] if rule.test else [])]) or "always"


def _outcomes(rule: Rule) -> str:
    given = rule.model_dump(mode="json", include=set(rule.outcomes), exclude_defaults=True)
    return "; ".join(name if value is True else f"{name}: {_told(value)}" for name, value in given.items())


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_told(one)}" for name, one in value.items())
    return " or ".join(_told(one) for one in value) if isinstance(value, list) else str(value)


def _earlier(here: Here, stored: Stored) -> Pane:
    rows = [
        (Cell(one.digest[:16], code=True), one.applied_at, one.applied_by, Cell("Compare", here.link("/policy", compare=one.digest)))
        for one in stored.earlier
    ]
    return Pane("Before it", ("Digest", "Applied", "By", ""), rows, "There was no other policy.", aside=f"The latest {EARLIER}.")


async def _compared(stored: Stored, digest: str) -> list[Pane]:
    """How the policy in force differs from an earlier one: in what it decides and in its text; raises Problem 404."""
    old = next((one for one in stored.earlier if one.digest == digest), None)
    if old is None or stored.now is None or stored.asked is None:
        raise Problem(404, "not_found", "There is no earlier policy with this digest.")
    return [*await _decided(stored.asked, old), _text(old.body, stored.now.body)]


async def _decided(asked: Comparison, old: StoredPolicy) -> list[Pane]:
    title = f"Decided differently than under {old.digest[:16]}"
    try:
        found = await asyncio.to_thread(asked.differences, asked.rulebook.policy, compile_policy(old.body))
    except PolicyError as error:
        return [Pane(title, empty=f"The old policy cannot be read any more: {error}")]
    return [Pane(title, ("Run", "Asked", "Before", "Now"), list(_differences(found)), summary(len(asked.asked), found, days=DAYS))]


def _differences(found: list[Difference]) -> Iterator[tuple[str, ...]]:
    for one in found[:MOST_SHOWN]:
        yield f"#{one.recorded.number}", f"{one.recorded.asker}: {one.recorded.command}", one.old.told, one.new.told


def _text(old: str, new: str) -> Pane:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "in force", lineterm="", n=2))
    tones = {"+": "added", "-": "removed"}
    rows = [(tones.get(one[:1], ""), Cell(one, code=True)) for one in lines[2 : MOST_LINES + 2]]
    return Pane("The text", ("", "Line"), rows, "The text is the same.")
