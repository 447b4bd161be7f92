"""One way to make a plan, for planning and for planning again: the command's function over stored arguments."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from commands.authorizing import INACTIVE, Allowed, Refused, Request, authorize, held
from commands.limits import count_run, limits_for
from commands.locks import refused_by_lock
from commands.matching import find_matches
from commands.periods import BoundFreeze
from commands.rulebooks import Rulebook
from commands.starts import SIGNED, signed_facts, wanted_start
from commands.timetables import Timing, timing_of
from countersign.commands import Command
from countersign.contexts import Asker, PlanningContext
from countersign.errors import CountersignError, NotYet, PlanRefused, Stopped
from countersign.integrations import taking_turns
from countersign.invocations import Door, Place
from countersign.plans import Plan, plan_digest
from countersign.replies import Reply
from store.people import Person
from store.runs import RunRow
from store.secrets import put_back

from .redactions import Redactor
from .services import Services
from .turns import Turns

_log = logging.getLogger(__name__)
PLANNING_SECONDS: Final = 70.0
PATIENCE: Final = 3.0
"""Seconds for which planning waits for its first turn at an integration: runs are planned several together."""
_SHOWN: Final = ("summary", "fields", "preview", "warning")


@dataclass(frozen=True)
class Made:
    """What a command's function returned: a reply, or a plan as data with its digest. `secrets` are sealed values by mark.

    `timing` is when the plan may start; refused where it may not at all, which only a dry run lives with.
    """

    reply: Reply | None = None
    plan: dict[str, Any] | None = None
    digest: str = ""
    secrets: dict[str, bytes] = field(default_factory=dict)
    timing: Timing | Refused | None = None

    @property
    def freezes(self) -> tuple[BoundFreeze, ...]:
        """The freezes whose approvers it needs."""
        return self.timing.freezes if isinstance(self.timing, Timing) else ()

    def timed(self, timing: Timing | Refused, person: Person) -> "Made":
        """The same with its timing, of which the plan tells what its card shows."""
        if self.plan is None or isinstance(timing, Refused):
            return replace(self, timing=timing)
        return replace(self, timing=timing, plan=self.plan | timing.told(person.zone))


def request_of(run: RunRow, command: Command, *, now: datetime) -> Request:
    """The request that this run came from, as `authorize` reads it now."""
    return Request(
        permission=command.permission,
        door=Door(run.door),
        place=Place(**run.place) if run.place else Place("api"),
        command=command,
        arguments=run.arguments,
        reason=run.reason,
        now=now,
    )


def still_allowed(rulebook: Rulebook, person: Person, run: RunRow, command: Command) -> Allowed | Refused:
    """The asker's right now; what was decided at the door may be hours old."""
    return authorize(rulebook.policy, person, request_of(run, command, now=rulebook.now()))


def may_go_on(rulebook: Rulebook, person: Person, run: RunRow, command: Command) -> Allowed | Refused:
    """Whether the asker still has the right to what is under way: the permission, or a rule that allows it without.

    Rules on times, rates, places and reasons decide whether a run may begin and are not asked again in the middle of it.
    """
    if not person.active:
        return INACTIVE
    answer = held(rulebook.policy, person, command.permission, command)
    if isinstance(answer, Allowed):
        return answer
    matched = find_matches(rulebook.policy, person, request_of(run, command, now=rulebook.now()))
    return next((Allowed(one.source) for one in matched if one.rule.allow), answer)


async def in_the_way(services: Services, run: RunRow, command: Command) -> Refused | None:
    """Where a lock refuses, nobody is asked to approve what would be refused now."""
    if run.dry_run or not command.locks:
        return None
    async with services.reading() as session:
        return await refused_by_lock(session, command, run.arguments, run.id, run)


async def over_limit(services: Services, rulebook: Rulebook, run: RunRow, person: Person, command: Command) -> Refused | None:
    """The door looked already, but any number of requests may have passed it at the same instant, and some come by no door."""
    request = request_of(run, command, now=rulebook.now())
    counted = () if run.dry_run else limits_for(person, request, find_matches(rulebook.policy, person, request))
    if not counted:
        return None
    async with services.transaction() as session:
        return await count_run(session, counted, run.id)


def find_timing(rulebook: Rulebook, person: Person, run: RunRow, command: Command, *, now: datetime) -> Timing | Refused:
    """When this run may start, as policy says now."""
    return timing_of(rulebook.policy, person, request_of(run, command, now=now), wanted_start(run, now))


async def make_plan(
    services: Services, run: RunRow, command: Command, person: Person, secrets: dict[str, str], *, timing: Mapping[str, Any] | None = None
) -> Made:
    """Calls the command's function; raises PlanRefused with a sentence that is safe to show, whatever the author's code did.

    `timing` are the facts about time that are signed with the plan; left out, those that were signed with the run's last one.
    Raises Stopped when it needs an integration that a kill switch has stopped, NotYet when it is not its turn there for some time.
    """
    redactor = Redactor([*secrets.values()])
    try:
        values = command.schema.validate(put_back(run.arguments, secrets))
        context = PlanningContext(
            asker=Asker(person.name, person.groups, person.timezone),
            now=run.created_at,
            seed=int.from_bytes(hashlib.sha256(run.id.bytes).digest()[:8]),
            opener=services.catalog,
            services=services if command.origin.startswith("commands.shipped") else None,
        )
        turns = Turns(services, run.id, f"{run.revision}:plan", PATIENCE)
        async with asyncio.timeout(PLANNING_SECONDS):
            with taking_turns(turns):
                answer = await command.function(context, **values)
        return _made(services, run, command, answer, context, redactor, timing=signed_facts(run.plan) if timing is None else timing)
    except (Stopped, NotYet):
        raise
    except CountersignError as error:
        raise PlanRefused(redactor.clean(services.redactor.clean(str(error)))) from None
    except TimeoutError:
        raise PlanRefused(f"{command.name} took longer than {PLANNING_SECONDS:.0f} s to plan; nothing was done.") from None
    except Exception as error:
        told = services.redactor.clean(redactor.clean_error(error))
        _log.error("planning run %s failed: %s", run.id, told)
        raise PlanRefused(
            f"{command.name} could not be planned ({type(error).__name__}); nothing was done. Its owner can see why."
        ) from None


def _outdated(command: Command) -> str:
    """That there is something else to use by now, where the author says so."""
    return f"{command.name} is deprecated: {command.deprecated.rstrip('.')}." if command.deprecated else ""


def _made(
    services: Services,
    run: RunRow,
    command: Command,
    answer: Any,
    context: PlanningContext,
    redactor: Redactor,
    *,
    timing: Mapping[str, Any],
) -> Made:
    if isinstance(answer, Reply):
        reply = Reply.model_validate(services.redactor.clean_data(redactor.clean_data(answer.model_dump(mode="json"))))
        return Made(reply=reply.model_copy(update={"text": "\n".join(filter(None, [reply.text, _outdated(command)]))}))
    if not isinstance(answer, Plan):
        raise PlanRefused(f"{command.name} returned {type(answer).__name__}; a command returns a Plan or a Reply.")
    data = answer.as_json()
    data["warning"] = "\n".join(filter(None, [_outdated(command), data["warning"]]))
    data["watched"] = {**data["watched"], **context.watched}
    if taken := set(data["watched"]) & set(SIGNED):
        raise PlanRefused(f"{command.name} watches {min(taken)!r}, a name that Countersign uses itself; its owner has to choose another.")
    data["watched"] |= timing
    data["order"] = [one.name for one in command.schema.parameters]  # JSONB forgets the order in which people read arguments
    found: dict[str, bytes] = {}
    plan = services.sealer.taken_out(data, found)
    _refuse_plain_secrets(command, plan, redactor)
    plan |= {name: services.redactor.clean_data(redactor.clean_data(plan[name])) for name in _SHOWN}
    digest = plan_digest(plan, command=command.name, code_version=command.code_version, arguments=run.arguments)
    return Made(plan=plan, digest=digest, secrets=found)


def _refuse_plain_secrets(command: Command, plan: dict[str, Any], redactor: Redactor) -> None:
    """What is signed is stored as it is: with dots in it a step would do something else, and a change would go unseen."""
    for one in plan["steps"]:
        if redactor.clean_data(one) != one:
            raise PlanRefused(f"{command.name} gives a secret to {one['name']} as text; its owner has to declare that argument a Secret.")
    if redactor.clean_data(plan.get("shape")) != plan.get("shape"):
        raise PlanRefused(f"{command.name} compares a result with a secret; its owner has to have a step do that.")
    if redactor.clean_data(plan["watched"]) != plan["watched"]:
        raise PlanRefused(f"{command.name} watches a secret as text; its owner has to watch something else.")
