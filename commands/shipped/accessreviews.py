"""access review: what people have is looked at by somebody else, who keeps it or has it taken away, and a report."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from commands.holdings import COLUMNS, Holding, read_holdings
from commands.policies import ADMIN
from countersign import Context, Duration, Plan, PlanningContext, PlanRefused, Step, ask_review, branch, command, parallel, step, try_submit
from countersign.shapes import Branch
from countersign.tasks import REJECT
from store.audits import AuditEvent, record
from store.children import find_children
from store.people import Person, find_all_people

from .givings import run_of

AT_ONCE: Final = 40
MOST: Final = 800
MOST_LOOKED_AT: Final = 5_000
REPORT: Final = "access-review.json"
_SOON: Final = timedelta(hours=1)
_FORTNIGHT: Final = Duration.parse("14d")
_TOLD: Final = "accept: they keep it. reject: it is taken away."


@command("access review", permission=ADMIN, risk="medium", visibility="private")
async def access_review(ctx: PlanningContext, reviewers: list[str], due: Duration = _FORTNIGHT, people: list[str] | None = None) -> Plan:
    """Have REVIEWERS look at what everybody has by groups and grants, and keep it or take it away; nobody reviews what is theirs.

    Each finds a table in the inbox and is reminded until they have answered; PEOPLE narrows it down. Rejected grants end by runs of their
    own, groups are changed where they are kept: the report, whose hash goes into the record, says what is left to do.
    """
    rulebook = ctx.services.rulebook
    async with ctx.services.reading() as session:
        everybody = {one.name: one for one in await find_all_people(session)}
        able = _reviewers(everybody, reviewers)
        wanted = _named(everybody, people)
        holdings = await read_holdings(session, rulebook, wanted, most=MOST_LOOKED_AT)
    if due < _SOON:
        raise PlanRefused("Give the reviewers an hour at least.")
    if not holdings:
        raise PlanRefused("Nobody of them has a role by a group or a grant, so there is nothing to review.")
    if len(holdings) > MOST:
        raise PlanRefused(f"That is {len(holdings)} rows, and a review has at most {MOST}; name some PEOPLE.")
    tables = list(_tables(holdings, able, due))
    asks = [ask for ask, _ in tables]
    return Plan(
        f"{len({one.person.name for one in holdings})} people's access is reviewed by {', '.join(able)}: {len(holdings)} rows",
        parallel(*asks, at_once=min(len(asks), 100)),
        *(end for ask, rows in tables for end in _endings(ask, rows)),
        write_report(rulebook.policy.digest, [one.result for one in asks]),  # type: ignore[misc]
    )


@step(idempotent=True, timeout="2m")
async def write_report(ctx: Context, policy: str, answers: list[dict[str, Any]]) -> str:
    """Says of every row who decided what and what came of it; the file's hash goes into the record, which is signed."""
    async with ctx.services.reading() as session:
        ends = {one.arguments.get("grant"): one for one in await find_children(session, run_of(ctx))}
    kept = [dict(row) | {"verdict": "kept", "by": one["by"]} for one in answers for row in one["accepted"]]
    rejected = [dict(row) | {"verdict": "rejected", "by": one["by"]} for one in answers for row in one["rejected"]]
    for row in rejected:
        run = ends.get(str(row["through"]).removeprefix("grant "))
        row["carried out"] = f"#{run.number} {run.status}: {run.outcome}".rstrip(": ") if run else "to be changed where the group is kept"
    rows = [{name: one[name] for name in (*COLUMNS, *sorted(one.keys() - {*COLUMNS}))} for one in (*kept, *rejected)]
    report = {"countersign": "access review 1", "policy": policy, "asked_by": ctx.asker.name, "rows": rows}
    written = ctx.services.redactor.clean(json.dumps(report, ensure_ascii=False, indent=1))
    ended = [one for one in ends.values() if one.status == "succeeded"]
    left = len(rejected) - len(ended)
    await ctx.artifact(REPORT, written, content_type="application/json")
    digest = sha256(written.encode()).hexdigest()
    detail = {"file": REPORT, "sha256": digest, "kept": len(kept), "ended": len(ended), "left": left, "policy": policy}
    async with ctx.services.transaction() as session:
        await record(session, [AuditEvent("access:reviewed", ctx.asker.name, run_of(ctx), detail)])
    told = f"{left} to be changed by hand, in the policy or a directory" if left else "nothing left to do"
    return f"{len(kept)} kept, {len(ended)} ended, {told}; {REPORT} {digest[:12]}"


def _reviewers(everybody: dict[str, Person], names: Sequence[str]) -> list[str]:
    able = list(dict.fromkeys(one.removeprefix("@") for one in names))
    unknown = [one for one in able if one not in everybody or everybody[one].service]
    if unknown or not able:
        raise PlanRefused(f"There is no person named {unknown[0][:40]}." if unknown else "Name somebody who reviews it.")
    return able


def _named(everybody: dict[str, Person], names: Sequence[str] | None) -> list[Person]:
    wanted = sorted(everybody) if names is None else list(dict.fromkeys(one.removeprefix("@") for one in names))
    if unknown := [one for one in wanted if one not in everybody]:
        raise PlanRefused(f"There is no person named {unknown[0][:40]}.")
    return [everybody[one] for one in wanted]


def _tables(holdings: Sequence[Holding], able: Sequence[str], due: Duration) -> Iterator[tuple[Step, Sequence[Holding]]]:
    """Tables of at most AT_ONCE rows, each with the step that asks for its answers."""
    shares: dict[str, list[Holding]] = {}
    people = list(dict.fromkeys(one.person.name for one in holdings))
    for one in holdings:
        shares.setdefault(_reviewer_of(one.person, people.index(one.person.name), able), []).append(one)
    remind = Duration(seconds=max(_SOON, due / 4).total_seconds())
    for reviewer, share in shares.items():
        tables = [share[start : start + AT_ONCE] for start in range(0, len(share), AT_ONCE)]
        for number, rows in enumerate(tables, 1):
            part = f", part {number} of {len(tables)}" if len(tables) > 1 else ""
            subjects = sorted({one.person.name for one in rows})
            title = f"Who keeps what{part}"
            times = {"due": str(due), "remind": str(remind)}
            asked = ask_review(reviewer, title, [one.row for one in rows], prefilled=False, text=_TOLD, apart_from=subjects, **times)
            yield asked, rows


def _reviewer_of(person: Person, position: int, able: Sequence[str]) -> str:
    """Their manager if that is one of the reviewers, else each in turn; never themselves."""
    others = [one for one in able if one != person.name]
    if not others:
        raise PlanRefused(f"{person.name} has roles too, and nobody reviews what is theirs: name a second reviewer.")
    return person.manager if person.manager in others else others[position % len(others)]


def _endings(ask: Step, rows: Sequence[Holding]) -> Iterator[Branch]:
    """What ends a grant that is rejected; groups are changed where they are kept."""
    for position, one in enumerate(rows):
        if one.grant is not None:
            yield branch(ask.result["verdicts"][position].equals(REJECT), try_submit("access return", grant=one.grant.name))
