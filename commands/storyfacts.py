"""What a card tells about a run, read once for every place that shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from countersign.runs import FINISHED, RunStatus
from countersign.tallies import Need, Outcome, Tally
from store.approvals import ApprovalRequestRow, DecisionRow, find_requests, find_standing
from store.artifacts import ArtifactRow, find_artifacts
from store.databases import ReadSession
from store.journals import StepRow, find_journals
from store.logs import find_last_lines
from store.provings import Proven, find_proven
from store.runs import RunRow
from store.switches import Switch, find_switches
from store.targets import Earlier, find_earlier

from .rulebooks import Rulebook
from .stepups import link_of
from .targets import target_of
from .voting import Ballot, read_ballots, rule_of, written_set, written_stage
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
    (facts,) = await read_all_facts(session, [run], lines=lines, rulebook=rulebook, switches=switches)
    return replace(facts, files=await find_artifacts(session, run.id)) if files else facts


async def read_all_facts(
    session: ReadSession,
    runs: Sequence[RunRow],
    *,
    lines: int = 5,
    rulebook: Rulebook | None = None,
    switches: Sequence[Switch] | None = None,
) -> list[Facts]:
    """The same for several runs, in their order, in as many statements as for one."""
    requests = await find_requests(session, [one.id for one in runs if one.revision])
    decisions = await find_standing(session, [one.id for one in requests.values()])
    steps = await find_journals(session, {one.id: one.revision for one in runs if one.status not in _NOT_STARTED})
    logs = await find_last_lines(session, [run_id for run_id, rows in steps.items() if rows], last=lines)
    if switches is None:
        switches = () if all(one.status in FINISHED for one in runs) else await find_switches(session)
    asking = [one for one in runs if one.status in ASKING]
    needed = await _needed(session, rulebook, requests, runs) if rulebook else {}
    earlier = await earlier_of(session, rulebook, asking) if rulebook else {}
    waits = await told_waits(session, runs)
    proven = await find_proven(session, {one.command for one in asking})
    found = []
    for run in runs:
        request = requests.get(run.id)
        one = Facts(
            run,
            request,
            decisions[request.id] if request else (),
            steps.get(run.id, ()),
            logs.get(run.id, ()),
            rulebook.address if rulebook else "",
            () if run.status in FINISHED else switches,
            needed.get(run.id, ""),
            earlier.get(run.id),
            waits[run.id],
            proven[run.command] if run.status in ASKING else {},
        )
        found.append(one)
    return found


def needed_by(ballot: Ballot, tally: Tally) -> str:
    """Who has to agree now, and who after them; nothing for a rule without stages, where the card says how many anyway."""
    steps = ballot.rule.steps
    if not ballot.rule.stages or tally.outcome is not Outcome.waiting or tally.stage >= len(steps):
        return ""
    now = (" and " if steps[tally.stage].need == "all" else " or ").join(map(_written, tally.needs))
    place = f"stage {tally.stage + 1} of {len(steps)}: " if len(steps) > 1 else ""
    return "; then ".join([place + now, *map(written_stage, steps[tally.stage + 1 :])])


async def _needed(
    session: ReadSession, rulebook: Rulebook, requests: Mapping[UUID, ApprovalRequestRow], runs: Sequence[RunRow]
) -> dict[UUID, str]:
    """Nothing is read where no rule with stages waits."""
    pairs = []
    for run in runs:
        request = requests.get(run.id)
        rule = rule_of(request) if request else None
        if request and rule and rule.stages and request.state == "open" and run.status == RunStatus.awaiting_approval:
            pairs.append((request, run))
    ballots = await read_ballots(session, rulebook, pairs) if pairs else []
    return {run.id: needed_by(ballot, ballot.tally()) for (_, run), ballot in zip(pairs, ballots, strict=True)}


def _written(need: Need) -> str:
    return written_set(replace(need.voters, count=need.missing))


async def earlier_of(session: ReadSession, rulebook: Rulebook, runs: Sequence[RunRow]) -> dict[UUID, Earlier]:
    """The last run on the same target as each of these, where its card may say so."""
    known = {one.id: one for one in runs}
    commands = {run_id: rulebook.registry.find(one.command) for run_id, one in known.items()}
    targets = {run_id: target_of(command, known[run_id].arguments) for run_id, command in commands.items() if command}
    # A private run is not named on the card of one that staff may read.
    found = await find_earlier(session, targets)
    return {run_id: one for run_id, one in found.items() if one.visibility in ("staff", known[run_id].visibility)}
