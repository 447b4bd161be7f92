"""What a card tells about a run, read once for every place that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from countersign.runs import FINISHED, RunStatus
from countersign.tallies import Need, Outcome, Tally
from store.approvals import ApprovalRequestRow, DecisionRow, find_decisions, find_request
from store.artifacts import ArtifactRow, find_artifacts
from store.databases import ReadSession
from store.journals import StepRow, find_steps
from store.logs import find_lines
from store.provings import Proven, find_proven
from store.runs import RunRow
from store.switches import Switch, find_switches
from store.targets import Earlier, find_earlier

from .rulebooks import Rulebook
from .stepups import link_of
from .targets import target_of
from .voting import Ballot, read_ballot, rule_of, written_set, written_stage
from .waits import Told, told_waits

ASKING: Final = (RunStatus.awaiting_approval, RunStatus.stale)
_NOT_STARTED: Final = (RunStatus.submitted, RunStatus.planning, RunStatus.awaiting_approval, RunStatus.answered)


@dataclass(frozen=True)
class Facts:
    """What the database knows about a run; `address` is where people open Countersign.

    `needed` says stage by stage who is still needed, where a rule has stages. `earlier` is the last run on the same target.
    `waits` is what a parked run waits for, `proven` when each undo of the command last worked.
    """

    run: RunRow
    request: ApprovalRequestRow | None
    decisions: Sequence[DecisionRow]
    steps: Sequence[StepRow]
    lines: Sequence[str]
    address: str = ""
    switches: Sequence[Switch] = ()
    needed: str = ""
    earlier: Earlier | None = None
    waits: Sequence[Told] = ()
    proven: Proven = field(default_factory=dict)
    files: Sequence[ArtifactRow] = ()

    @property
    def step_up(self) -> str:
        """What deciding takes beside a click: nothing, a fresh `login` in the browser, or a `passkey`."""
        rule = rule_of(self.request) if self.request and self.run.status == RunStatus.awaiting_approval else None
        return rule.step_up if rule else ""

    @property
    def link(self) -> str:
        """Where it is decided in the browser."""
        return link_of(self.address, self.run)


async def read_facts(
    session: ReadSession,
    run: RunRow,
    *,
    lines: int = 5,
    rulebook: Rulebook | None = None,
    switches: Sequence[Switch] | None = None,
    files: bool = False,
) -> Facts:
    """The request, decisions, journal and last log lines of a run, and the kill switches that are on if the caller does not know them.

    The files that its steps left are read if `files` says so. Without a rulebook nothing is told that depends on policy or on the command.
    """
    request = await find_request(session, run.id) if run.revision else None
    decisions = await find_decisions(session, request.id) if request else []
    steps = await find_steps(session, run.id, revision=run.revision) if run.status not in _NOT_STARTED else []
    log = await find_lines(session, run.id, last=lines) if steps else []
    if switches is None:
        switches = () if run.status in FINISHED else await find_switches(session)
    return Facts(
        run,
        request,
        decisions,
        steps,
        [one.line for one in log],
        rulebook.address if rulebook else "",
        switches,
        await _needed(session, rulebook, request, run) if rulebook and request else "",
        await earlier_of(session, rulebook, run) if rulebook and run.status in ASKING else None,
        await told_waits(session, run),
        await find_proven(session, run.command) if run.status in ASKING else {},
        await find_artifacts(session, run.id) if files else (),
    )


def needed_by(ballot: Ballot, tally: Tally) -> str:
    """Who has to agree now, and who after them; nothing for a rule without stages, where the card says how many anyway."""
    steps = ballot.rule.steps
    if not ballot.rule.stages or tally.outcome is not Outcome.waiting or tally.stage >= len(steps):
        return ""
    now = (" and " if steps[tally.stage].need == "all" else " or ").join(map(_written, tally.needs))
    place = f"stage {tally.stage + 1} of {len(steps)}: " if len(steps) > 1 else ""
    return "; then ".join([place + now, *map(written_stage, steps[tally.stage + 1 :])])


async def _needed(session: ReadSession, rulebook: Rulebook, request: ApprovalRequestRow, run: RunRow) -> str:
    """Nothing is read where no rule with stages waits."""
    rule = rule_of(request)
    if rule is None or not rule.stages or request.state != "open" or run.status != RunStatus.awaiting_approval:
        return ""
    ballot = await read_ballot(session, rulebook, request, run)
    return needed_by(ballot, ballot.tally())


def _written(need: Need) -> str:
    return written_set(replace(need.voters, count=need.missing))


async def earlier_of(session: ReadSession, rulebook: Rulebook, run: RunRow) -> Earlier | None:
    """The last run on the same target, where its card may say so."""
    command = rulebook.registry.find(run.command)
    found = await find_earlier(session, run.id, target_of(command, run.arguments)) if command else None
    # A private run is not named on the card of one that staff may read.
    return found if found and found.visibility in ("staff", run.visibility) else None
