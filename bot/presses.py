"""A pressed button is a use case with frozen arguments; the right to press it is decided now."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from commands.alertcards import ACKNOWLEDGE, DETAILS, RESOLVE, RUNBOOK
from commands.authorizing import INACTIVE, Refused
from commands.cancel import Cancelled, cancel
from commands.converse import answer_form, answer_question, ask, comment, words_form
from commands.decide import Decided, Vote, decide
from commands.edit import Change, Unfit, edit, edit_form, form_of
from commands.ending import EXTEND
from commands.pause import Paused, pause, unpause
from commands.resume import Choice, Resumed, resume
from commands.rulebooks import Rulebook
from commands.stories import tell
from commands.submit import form_for
from commands.taskcards import ANSWER, ASSIGN
from commands.tasks import Misfit, assign_form, direct_answers, task_form
from commands.tasks import answer as answer_task
from commands.tasks import assign as assign_task
from commands.voting import may_see
from countersign.approvals import Approval
from countersign.replies import Form, Reply
from countersign.tallies import Verdict
from store.approvals import find_request
from store.audits import AuditEvent, record
from store.conversations import find_question
from store.databases import WriteSession
from store.grants import find_grant
from store.inbox import find_answer, keep_answer, take_key
from store.people import Person, find_person
from store.runs import find_run

from .alertpresses import press_alert
from .clicks import Press as Press


async def press(session: WriteSession, rulebook: Rulebook, person: Person, one: Press) -> Reply:
    """Carries out the click and says what became of it, in a sentence for this person alone."""
    if not await take_key(session, one.key):
        earlier = await find_answer(session, one.key)
        return Reply.stored(earlier) if earlier else Reply(text="This click was handled already.")
    reply = await _reply(session, rulebook, person, one)
    await keep_answer(session, one.key, reply.model_dump(mode="json"))
    return reply


async def _reply(session: WriteSession, rulebook: Rulebook, person: Person, one: Press) -> Reply:
    try:
        run_id = UUID(one.target)
    except ValueError:
        return await _unknown(session, person, one)
    handler = _HANDLERS.get(one.intent)
    return await handler(session, rulebook, person, run_id, one) if handler else await _unknown(session, person, one)


async def _vote(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    # A card without its digest cannot say what was approved, so an empty one is as wrong as an old one.
    digest = one.digest or "none"
    vote = Vote(run_id, Verdict(one.intent), one.door, digest=digest, reason=one.reason, fresh=one.fresh, assertion=one.assertion)
    return _said(await decide(session, rulebook, person, vote))


async def _task(session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, one: Press) -> Reply:
    """A button may be the answer itself; else it opens the form, which comes again with an answer that does not fit."""
    given = one.answers if one.answers is not None else await direct_answers(session, task_id, one.digest)
    if given is None:
        return _opened(await task_form(session, rulebook, person, task_id, door=one.door))
    said = await answer_task(session, rulebook, person, task_id, answers=given, door=one.door)
    return Reply(text=said.sentence, form=said.form) if isinstance(said, Misfit) else Reply(text=said.sentence)


async def _assign(session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, one: Press) -> Reply:
    if one.answers is None:
        return _opened(await assign_form(session, rulebook, person, task_id, door=one.door))
    to = [name for name in one.text.replace(",", " ").split() if name]
    return Reply(text=(await assign_task(session, rulebook, person, task_id, to=to, door=one.door)).sentence)


async def _cancel(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    return _said(await cancel(session, rulebook, person, run_id, door=one.door))


async def _pause(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    what = pause if one.intent == "pause" else unpause
    return _said(await what(session, rulebook, person, run_id, door=one.door))


async def _resume(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    choice = Choice(one.intent.removeprefix("resume_"))
    return _said(await resume(session, rulebook, person, run_id, choice=choice, door=one.door))


async def _details(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    run = await find_run(session, run_id)
    request = await find_request(session, run_id)
    rule, current = Approval.of_json(request.rule) if request else None, await find_person(session, person.name) or person
    if not current.active:
        return await _refused(session, person, one, INACTIVE)
    if run is None or not may_see(rulebook, current, run, rule):
        return await _refused(session, person, one, Refused("There is no such run.", "not_found_or_foreign"))
    return Reply(card=await tell(session, run, rulebook=rulebook, details=True))


async def _extend(session: WriteSession, rulebook: Rulebook, person: Person, grant_id: UUID, one: Press) -> Reply:
    """Opens the form that asks for more time; asking is decided when it is sent."""
    if not (await find_person(session, person.name) or person).active:
        return await _refused(session, person, one, INACTIVE)
    grant, command = await find_grant(session, grant_id), rulebook.registry.find("access extend")
    if grant is None or command is None or grant.subject != person.name:
        return await _refused(session, person, one, Refused("There is no such grant of yours.", "not_found_or_foreign"))
    if not grant.live:
        return Reply(text=f"The role {grant.role} has ended already. To ask for it again: access request {grant.role} 1h")
    form = form_for(rulebook, command, {"role": grant.role, "duration": "1h"})
    return Reply(text=f"For how much longer do you need the role {grant.role}? Others approve it again.", form=form)


async def _edit(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    """Opens the form that is filled in with what is asked now; sent back with something that does not fit, it comes again."""
    if one.answers is None:
        return _opened(await edit_form(session, rulebook, person, run_id, door=one.door))
    answer = await edit(session, rulebook, person, Change(run_id, one.answers, one.door, whole=True, digest=one.digest))
    run = await find_run(session, run_id) if isinstance(answer, Unfit) else None
    command = rulebook.registry.find(run.command) if run else None
    if not isinstance(answer, Unfit) or run is None or command is None:
        return Reply(text=answer.sentence)
    problems = dict.fromkeys(answer.about, answer.sentence)
    form = form_of(rulebook, command, run, given=one.answers).model_copy(update={"problems": problems})
    return Reply(text=answer.sentence, form=form)


async def _comment(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, one: Press) -> Reply:
    if one.answers is None:
        return _opened(await words_form(session, rulebook, person, one.intent, run_id, door=one.door))
    what = ask if one.intent == "ask" else comment
    return Reply(text=(await what(session, rulebook, person, run_id, words=one.text, door=one.door)).sentence)


async def _answer(session: WriteSession, rulebook: Rulebook, person: Person, question_id: UUID, one: Press) -> Reply:
    if one.answers is None:
        return _opened(await answer_form(session, rulebook, person, question_id, door=one.door))
    question = await find_question(session, question_id)
    run_id = question[0] if question else question_id
    answer = await answer_question(session, rulebook, person, run_id, words=one.text, door=one.door, question=question_id)
    return Reply(text=answer.sentence)


def _opened(form: Form | Refused) -> Reply:
    return Reply(text=f"{form.title}:", form=form) if isinstance(form, Form) else Reply(text=form.sentence)


async def _unknown(session: WriteSession, person: Person, one: Press) -> Reply:
    return await _refused(session, person, one, Refused("This button is not known any more.", "unknown_button"))


async def _refused(session: WriteSession, person: Person, one: Press, answer: Refused) -> Reply:
    """What the use cases do for themselves: a refused try is a fact."""
    detail = {"reason": answer.reason, "door": one.door.value, "intent": one.intent[:40], "target": one.target[:40]}
    await record(session, [AuditEvent("request:refused", person.name, None, detail)])
    return Reply(text=answer.sentence)


def _said(answer: Decided | Cancelled | Paused | Resumed | Refused) -> Reply:
    return Reply(text=answer.sentence)


Handler = Callable[[WriteSession, Rulebook, Person, UUID, Press], Awaitable[Reply]]
_HANDLERS: Final[dict[str, Handler]] = {
    "approve": _vote,
    "deny": _vote,
    "cancel": _cancel,
    "pause": _pause,
    "unpause": _pause,
    "details": _details,
    "edit": _edit,
    "comment": _comment,
    "ask": _comment,
    "answer": _answer,
    EXTEND: _extend,
    **dict.fromkeys((ACKNOWLEDGE, RESOLVE, RUNBOOK, DETAILS), press_alert),
    ANSWER: _task,
    ASSIGN: _assign,
    **{f"resume_{choice.value}": _resume for choice in Choice},
}
