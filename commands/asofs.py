"""A run as it was: what was asked, which rule and plan people were shown, who they were then, what they said. From its record.

Nothing here is read from what people, groups or policy are today. The plan is kept in a row of its own; that it is the one that was
decided on, its digest says, which the record holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from countersign.approvals import Approval
from countersign.plans import plan_digest
from countersign.replies import Card
from countersign.runs import RunStatus
from store.approvals import ApprovalRequestRow, DecisionRow, find_asked
from store.audits import AuditRow, find_trail
from store.databases import ReadSession
from store.policies import find_texts
from store.runs import RunRow

from .stories import card_of
from .storyfacts import Facts
from .voting import written_stage


@dataclass(frozen=True)
class Said:
    """One decision, or a try at one. `groups` are the person's at that moment; None when the record does not hold them.

    `card` is the card as it stood before the decision, without its buttons.
    """

    event: AuditRow
    verdict: str
    refused: str
    groups: tuple[str, ...] | None
    policy: str
    card: Card | None


@dataclass
class Asking:
    """One plan that people were asked about. `whole` says whether the plan is the one with the recorded digest; None without a plan."""

    revision: int
    at: datetime
    digest: str
    code: str
    policy: str
    rule: Mapping[str, Any] | None
    recorded: bool
    plan: Mapping[str, Any] | None
    whole: bool | None
    said: list[Said] = field(default_factory=list)

    @property
    def stages(self) -> list[str]:
        """The rule in words, stage by stage."""
        return [written_stage(one) for one in Approval.of_json(dict(self.rule)).steps] if self.rule else []


@dataclass(frozen=True)
class AsOf:
    """`asked` is the birth; `moves` are all changes of its status; `policies` the texts by digest, those that are known."""

    run: RunRow
    asked: AuditRow
    askings: Sequence[Asking]
    moves: Sequence[AuditRow]
    policies: Mapping[str, str]


async def read_as_of(session: ReadSession, run: RunRow) -> AsOf | None:
    """What the record says about the run; None when it says nothing."""
    trail = await find_trail(session, run.id)
    if not trail:
        return None
    kept = await find_asked(session, run.id)
    askings = _askings(run, trail, kept)
    named = {str(one.detail["policy"]) for one in trail if one.detail.get("policy")}
    moves = [one for one in trail if one.kind.removeprefix("run:") in _STATUSES]
    return AsOf(run, trail[0], askings, moves, await find_texts(session, named))


def _askings(run: RunRow, trail: Sequence[AuditRow], kept: Mapping[int, tuple[ApprovalRequestRow, dict[str, Any] | None]]) -> list[Asking]:
    found: list[Asking] = []
    arguments: dict[str, Any] = {}
    for event in trail:
        if isinstance(event.detail.get("arguments"), dict):
            arguments = event.detail["arguments"]
        if event.kind == "run:awaiting_approval":
            found.append(_asking(run, event, kept, arguments))
        elif event.kind.startswith("decision:") and found:
            found[-1].said.append(_said(run, event, found[-1], kept))
    return found


def _asking(
    run: RunRow, event: AuditRow, kept: Mapping[int, tuple[ApprovalRequestRow, dict[str, Any] | None]], arguments: dict[str, Any]
) -> Asking:
    detail, revision = event.detail, int(event.detail.get("revision", 0))
    request, plan = kept.get(revision, (None, None))
    rule = detail.get("rule") or (request.rule if request else None)
    code = str(detail.get("code") or run.code_version)
    whole = None
    if plan is not None and code:
        # The record leaves out what is null, and the digest does not.
        given = {**{name: None for name, value in run.arguments.items() if value is None}, **arguments}
        whole = plan_digest(plan, command=run.command, code_version=code, arguments=given) == detail.get("digest")
    policy = str(detail.get("policy", ""))
    return Asking(revision, event.at, str(detail.get("digest", "")), code, policy, rule, "rule" in detail, plan, whole)


def _said(run: RunRow, event: AuditRow, asking: Asking, kept: Mapping[int, tuple[ApprovalRequestRow, dict[str, Any] | None]]) -> Said:
    detail, groups = event.detail, event.detail.get("groups")
    return Said(
        event=event,
        verdict=str(detail.get("verdict") or event.kind.removeprefix("decision:")),
        refused=str(detail.get("refused", "")),
        groups=tuple(map(str, groups)) if isinstance(groups, list) else None,
        policy=str(detail.get("policy", "")),
        card=_card(run, asking, kept),
    )


def _card(run: RunRow, asking: Asking, kept: Mapping[int, tuple[ApprovalRequestRow, dict[str, Any] | None]]) -> Card | None:
    """The card of the run while it waited, with what had been said by then; None when its plan or rule were not kept."""
    request, plan = kept.get(asking.revision, (None, None))
    if request is None or plan is None or asking.rule is None:
        return None
    then = _copy(run, status=RunStatus.awaiting_approval.value, plan=plan, digest=asking.digest, revision=asking.revision, outcome="")
    about = _copy(request, rule=dict(asking.rule), digest=asking.digest, state="open")
    decisions = [_row(run, request, one) for one in asking.said if not one.refused and one.verdict in ("approve", "deny")]
    return card_of(Facts(then, about, decisions, (), ()), details=True).model_copy(update={"buttons": ()})


def _row(run: RunRow, request: ApprovalRequestRow, said: Said) -> DecisionRow:
    detail = said.event.detail
    return DecisionRow(
        id=uuid4(),
        request_id=request.id,
        run_id=run.id,
        person=said.event.actor,
        verdict=said.verdict,
        reason=str(detail.get("reason", "")),
        digest=str(detail.get("digest", "")),
        door=str(detail.get("door", "")),
        policy=said.policy,
        stage=int(detail.get("stage", 0)),
        on_behalf=str(detail.get("on_behalf", "")),
        decided_at=said.event.at,
    )


def _copy(row: Any, **changed: Any) -> Any:
    """A row like this one that belongs to no session."""
    return type(row)(**{one.key: getattr(row, one.key) for one in row.__table__.columns} | changed)


_STATUSES: Final = frozenset(one.value for one in RunStatus)
