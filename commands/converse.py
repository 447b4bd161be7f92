"""comment, ask and answer: what people say about a request stands under its card, and a question reaches whoever asked for it."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from countersign.invocations import Door
from countersign.replies import Button, Card, Form, Input, Reply, Tone
from countersign.runs import FINISHED
from store.audits import AuditEvent, record
from store.conversations import Line, NewLine, count_lines, find_question, find_unanswered, say
from store.databases import WriteSession
from store.people import Person
from store.runs import RunRow

from .authorizing import Refused
from .lines import LONGEST, held_by, reply_about, tell_directly
from .matters import Matters, read_matters
from .rulebooks import Rulebook

MOST_LINES: Final = 500
_FULL: Final = Refused(f"There are {MOST_LINES} lines about this run already; talk about it elsewhere.", "too_many_lines")
_LABELS: Final = {"comment": ("Comment", "Your words; they stand under every card of this run"), "ask": ("Ask", "Your question")}


@dataclass(frozen=True)
class Said:
    """It stands under the card: who reads it besides, in a sentence."""

    sentence: str


async def comment(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, words: str, door: Door) -> Said | Refused:
    """A line from anybody who may see the run; one `comment:*` audit event is recorded whether it was said or refused."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _commented(session, matters, words)
    await _record(session, matters, "comment", answer, door)
    return answer


async def ask(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, words: str, door: Door) -> Said | Refused:
    """A question from somebody who may vote, directly to whoever holds the request; one `ask:*` audit event is recorded."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _asked(session, matters, words)
    await _record(session, matters, "ask", answer, door)
    return answer


async def answer_question(
    session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, words: str, door: Door, question: UUID | None = None
) -> Said | Refused:
    """The answer to a question, or to the first that nobody has answered; one `answer:*` audit event is recorded."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _answered(session, matters, words, question)
    await _record(session, matters, "answer", answer, door)
    return answer


async def words_form(session: WriteSession, rulebook: Rulebook, person: Person, intent: str, run_id: UUID, *, door: Door) -> Form | Refused:
    """Asks for the words of a comment or of a question; a refusal is recorded. Whether they may be said is decided when they are sent."""
    matters = await read_matters(session, rulebook, person, run_id)
    if refused := matters.refused():
        await _record(session, matters, intent, refused, door)
        return refused
    title, label = _LABELS[intent]
    asked = Input(name="text", label=label, kind="long")
    return Form(title=title, intent=intent, target=str(run_id), inputs=(asked,), submit_label=title)


async def answer_form(session: WriteSession, rulebook: Rulebook, person: Person, question_id: UUID, *, door: Door) -> Form | Refused:
    """Asks whoever holds the request for the answer to a question."""
    found = await find_question(session, question_id)
    matters = await read_matters(session, rulebook, person, found[0] if found else question_id)
    if refused := matters.refused() or await _unanswerable(session, matters, question_id):
        await _record(session, matters, "answer", refused, door)
        return refused
    said = found[1].whole if found else ""
    asked = Input(name="text", label="Your answer", kind="long", hint=said[:1_900])
    title = f"Answer #{matters.known.number}"[:24]
    return Form(title=title, intent="answer", target=str(question_id), inputs=(asked,), submit_label="Answer")


async def _commented(session: WriteSession, matters: Matters, words: str) -> Said | Refused:
    if refused := await _unsayable(session, matters.known, words):
        return refused
    await say(session, NewLine(matters.known.id, "comment", matters.person.name, f"says: {_line(words)}"))
    return Said(f"It stands under run #{matters.known.number}.")


async def _asked(session: WriteSession, matters: Matters, words: str) -> Said | Refused:
    run, person = matters.known, matters.person
    if person.name == held_by(run):
        return Refused("This is yours; there is nobody else to ask.", "own_request")
    if not matters.votes:
        return Refused(f"Those who may approve run #{run.number} ask; you may comment: comment {run.number} …", "missing_permission")
    if run.status in FINISHED:
        return Refused(f"Run #{run.number} has ended already: {run.status.replace('_', ' ')}.", "late_click")
    if refused := await _unsayable(session, run, words):
        return refused
    line = NewLine(run.id, "question", person.name, f"asks: {_line(words)}")
    await say(session, line)
    await tell_directly(session, run, {held_by(run): Reply(card=_question_card(run, line))})
    return Said(f"{held_by(run)} is asked; the answer comes to you and under run #{run.number}.")


async def _answered(session: WriteSession, matters: Matters, words: str, question: UUID | None) -> Said | Refused:
    run, person = matters.known, matters.person
    open_ones = await find_unanswered(session, run.id)
    chosen = next((one for one in open_ones if question in (None, one.id)), None)
    if refused := _not_theirs(matters) or (None if chosen else await _no_question(session, run, question)):
        return refused
    if refused := await _unsayable(session, run, words):
        return refused
    assert chosen is not None  # noqa: S101  asked above
    line = NewLine(run.id, "answer", person.name, f"answers {chosen.person}: {_line(words)}", about=chosen.id)
    await say(session, line)
    told = {chosen.person: reply_about(run, f"{line.person} {line.said} (you had asked: {_asked_words(chosen)})")}
    await tell_directly(session, run, told)
    return Said(f"{chosen.person} has your answer, and it stands under run #{run.number}.")


async def _unanswerable(session: WriteSession, matters: Matters, question: UUID) -> Refused | None:
    if refused := _not_theirs(matters):
        return refused
    is_open = any(one.id == question for one in await find_unanswered(session, matters.known.id))
    return None if is_open else await _no_question(session, matters.known, question)


def _not_theirs(matters: Matters) -> Refused | None:
    run = matters.known
    return None if matters.holds else Refused(f"The question is for {held_by(run)}; you may comment: comment {run.number} …", "not_asked")


async def _no_question(session: WriteSession, run: RunRow, question: UUID | None) -> Refused:
    if question is not None and await find_question(session, question):
        return Refused("This question was answered already.", "late_click")
    return Refused(f"Nobody has asked anything about run #{run.number} that is not answered.", "nothing_to_answer")


async def _unsayable(session: WriteSession, run: RunRow, words: str) -> Refused | None:
    if not words.strip():
        return Refused("Say it in a few words.", "nothing_said")
    if len(words) > LONGEST:
        return Refused(f"Say it in at most {LONGEST} characters.", "too_long")
    return _FULL if await count_lines(session, run.id, most=MOST_LINES) >= MOST_LINES else None


def _question_card(run: RunRow, line: NewLine) -> Card:
    buttons = (
        Button(label="Answer", intent="answer", target=str(line.id), style="primary"),
        Button(label="Details", intent="details", target=str(run.id)),
    )
    words = line.said.removeprefix("asks: ")
    title = f"#{run.number} {run.command}: {line.person} asks"
    return Card(title=title[:150], fallback=f"{title}: {words}"[:120], tone=Tone.waiting, text=words, buttons=buttons)


def _asked_words(question: Line) -> str:
    words = question.said.removeprefix("asks: ")
    return words if len(words) <= 120 else f"{words[:119]}…"


def _line(words: str) -> str:
    return " ".join(words.split())


async def _record(session: WriteSession, matters: Matters, what: str, answer: Said | Refused, door: Door) -> None:
    """What was said is in the conversation; the record says that it was."""
    detail = {"door": door.value} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    kind = f"{what}:refused" if isinstance(answer, Refused) else f"{what}:said"
    await record(session, [AuditEvent(kind, matters.person.name, matters.run.id if matters.run else None, detail)])
