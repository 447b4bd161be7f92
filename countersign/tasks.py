"""Human steps: a step that a person does. A plan names who is asked for what; their answer is the step's result."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from .arguments import Duration, alternatives
from .errors import BadArgument, StepFailed
from .replies import Input
from .schemas import Schema
from .steps import Ref, Step, StepFunction
from .values import problem_of, written

Kind = Literal["form", "choice", "review", "done"]
Row = Mapping[str, str | int | float | bool | None]

NOTE: Final = "note"
CHOICE: Final = "choice"
ACCEPT: Final = "accept"
REJECT: Final = "reject"
MOST_INPUTS: Final = 90  # a form in chat holds a hundred blocks
MOST_CHOICES: Final = 100
LONGEST: Final = 3_000
_WHO = re.compile(r"@?[a-z0-9][a-z0-9._-]*\Z")


async def _ask(_: Any, **__: Any) -> NoReturn:
    raise StepFailed("people are asked by the worker itself")


async def _asked(_: Any) -> None:
    """The schema of `_ask`: its arguments are made here alone, so nothing is read from a signature."""


ASK: Final[StepFunction[..., dict[str, Any]]] = StepFunction(
    name="countersign.ask",
    function=_ask,
    schema=Schema.of(_asked, name="countersign.ask"),
    idempotent=True,
    reads=True,
    timeout=Duration.parse("3650d"),
)


class HumanStep(Step):
    """A step whose title says who is asked for what."""

    human = True

    @property
    def title(self) -> str:
        return f"ask {' or '.join(self.arguments['who'])}: {self.arguments['title']}"


def ask_form(who: str | Sequence[str], title: str, *inputs: Input, text: str = "", apart_from: Sequence[str] = (), **times: str) -> Step:
    """A step that asks somebody to fill in a form. Its result is `{"by": who, "answers": {name: answer}}`.

    `who` is a person or a `@group`, or several of them; whoever answers first has answered, but never a person in `apart_from`, even if
    they are asked instead of somebody else. `title` is the request in a few words, `text` says more. Of `times`, each a duration: `due` is
    when it should be done, `remind` how often they are told again, `give_up` when the step fails because nobody answered; `escalate_to`, a
    person or `@group`, is asked as well once it is overdue.
    Raises TypeError when the form, a name or a time is wrong.
    """
    names = [one.name for one in inputs]
    if not inputs or len(inputs) > MOST_INPUTS or len(set(names)) < len(names):
        raise TypeError(f"ask_form {title!r}: give it 1 to {MOST_INPUTS} inputs, each with a name of its own")
    if any(one.kind == "secret" for one in inputs):
        raise TypeError(f"ask_form {title!r}: a secret is an argument of the command, not an answer that is kept")
    return _step("form", who, title, text, times, apart_from, inputs=[one.model_dump(mode="json") for one in inputs])


def ask_choice(
    who: str | Sequence[str], title: str, choices: Sequence[str], *, text: str = "", apart_from: Sequence[str] = (), **times: str
) -> Step:
    """A step that asks somebody to choose. Its result is `{"by": who, "choice": what}`. The rest is as in `ask_form`."""
    if not 2 <= len(set(choices)) == len(choices) <= MOST_CHOICES or not all(0 < len(one) <= 75 for one in choices):
        raise TypeError(f"ask_choice {title!r}: give it 2 to {MOST_CHOICES} different choices of at most 75 characters")
    return _step(CHOICE, who, title, text, times, apart_from, choices=list(choices))


def ask_review(
    who: str | Sequence[str],
    title: str,
    rows: Sequence[Row] | Ref,
    *,
    edit: Sequence[str] = (),
    columns: Sequence[str] = (),
    prefilled: bool = True,
    text: str = "",
    apart_from: Sequence[str] = (),
    **times: str,
) -> Step:
    """A step that asks somebody to accept or reject each row of a table, and to change the columns named by `edit`.

    `rows` may be an earlier step's result. The result is `{"by": who, "accepted": [rows], "rejected": [rows], "verdicts": ["accept", …]}`,
    accepted rows as they were changed, and a verdict for each row in order. Unless `prefilled`, every row has to be chosen. A form holds so
    many rows that rows times (1 + edited columns) is at most 90; more fail the step. `columns` come first, in this order; an earlier step's
    result has no order of its own. The rest is as in `ask_form`.
    """
    shown = rows if isinstance(rows, Ref) else [dict(one) for one in rows]
    if not isinstance(shown, Ref) and (problem := problem_of_rows(shown, edit)):
        raise TypeError(f"ask_review {title!r}: {problem}")
    more: dict[str, Any] = {} if prefilled else {"prefilled": False}
    named = () if isinstance(shown, Ref) else [name for one in shown for name in one]
    if first := list(dict.fromkeys([*columns, *named])):
        more["columns"] = first
    return _step("review", who, title, text, times, apart_from, rows=shown, edit=list(edit), **more)


def ask_done(who: str | Sequence[str], title: str, *, text: str = "", apart_from: Sequence[str] = (), **times: str) -> Step:
    """A step that asks somebody to do something by hand and to say when it is done. Its result is `{"by": who, "note": what they said}`."""
    return _step("done", who, title, text, times, apart_from)


@dataclass(frozen=True)
class Asked:
    """What is asked, as data with every reference resolved."""

    kind: Kind
    title: str
    text: str = ""
    inputs: tuple[Input, ...] = ()
    choices: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    edit: tuple[str, ...] = ()
    prefilled: bool = True
    apart_from: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Asked":
        """Raises StepFailed when an earlier step's result is no table that people can review."""
        rows = data.get("rows", [])
        if problem := problem_of_rows(rows, data.get("edit", ())):
            raise StepFailed(f"cannot be reviewed: {problem}")
        inputs = tuple(Input.model_validate(one) for one in data.get("inputs", ()))
        # Where plans are kept an object's names have an order of their own.
        columns = data.get("columns") or ()
        ordered = tuple({name: one[name] for name in [*columns, *one] if name in one} for one in rows)
        named = (tuple(data.get("choices", ())), ordered, tuple(data.get("edit", ())), data.get("prefilled", True))
        return cls(data["kind"], data["title"], data.get("text", ""), inputs, *named, tuple(data.get("apart_from", ())))

    @property
    def questions(self) -> tuple[Input, ...]:
        """The form that asks for it, whatever it is."""
        if self.kind == "form":
            return self.inputs
        if self.kind == CHOICE:
            return (Input(name=CHOICE, label=self.title[:75], kind="choice", choices=self.choices),)
        if self.kind == "done":
            return (Input(name=NOTE, label="Anything to say about it", kind="long", required=False),)
        return tuple(one for number, row in enumerate(self.rows) for one in self._row_questions(number, row))

    def result(self, given: Mapping[str, Any], *, by: str) -> dict[str, Any]:
        """The step's result for these answers, each by its question's name; raises BadArgument for one that does not fit."""
        answers = _checked(self.questions, given)
        if self.kind == "form":
            return {"by": by, "answers": answers}
        if self.kind == "review":
            return {"by": by, **self._reviewed(answers)}
        name = CHOICE if self.kind == CHOICE else NOTE
        return {"by": by, name: answers[name]}

    def _row_questions(self, number: int, row: Mapping[str, Any]) -> list[Input]:
        words = ", ".join(f"{name}: {written(value)}" for name, value in row.items())[:300]
        initial = ACCEPT if self.prefilled else ""
        verdict = Input(name=f"row{number + 1}", label=f"{number + 1}. {words}", kind="choice", choices=(ACCEPT, REJECT), initial=initial)
        changed = [
            Input(name=f"row{number + 1}.{one}", label=f"{number + 1}. {one}", required=False, initial=written(row.get(one)))
            for one in self.edit
        ]
        return [verdict, *changed]

    def _reviewed(self, answers: Mapping[str, str]) -> dict[str, Any]:
        accepted, rejected = [], []
        for number, row in enumerate(self.rows, 1):
            if answers[f"row{number}"] == REJECT:
                rejected.append(dict(row))
            else:
                accepted.append(dict(row) | {one: _kept(row.get(one), answers[f"row{number}.{one}"]) for one in self.edit})
        verdicts = [answers[f"row{number}"] for number in range(1, len(self.rows) + 1)]
        return {"accepted": accepted, "rejected": rejected, "verdicts": verdicts}


def problem_of_rows(rows: Any, edit: Sequence[str]) -> str:
    """Why these rows are no table that people can review in a form; empty when they are."""
    if not isinstance(rows, list) or not all(isinstance(one, Mapping) for one in rows):
        return "rows should be a list of mappings from column to value"
    if any(isinstance(value, list | dict) for one in rows for value in one.values()):
        return "a row's values should be text, numbers or yes and no"
    if len(rows) * (1 + len(edit)) > MOST_INPUTS:
        return f"{len(rows)} rows with {len(edit)} columns to change are too many for one form of {MOST_INPUTS} questions"
    return ""


def _step(
    kind: str, who: str | Sequence[str], title: str, text: str, times: Mapping[str, str], apart_from: Sequence[str], **more: Any
) -> Step:
    names = [who] if isinstance(who, str) else list(who)
    escalated = [times["escalate_to"]] if times.get("escalate_to") else []
    if not names or not all(_WHO.match(one) for one in [*names, *escalated]):
        raise TypeError(f"{title!r} asks {names}: name a person, or a group as in '@support'")
    if not title.strip() or len(title) > 150 or len(text) > LONGEST:
        raise TypeError(f"{title!r}: a request has a title of at most 150 characters and a text of at most {LONGEST}")
    if unknown := set(times) - {"due", "remind", "give_up", "escalate_to"}:
        raise TypeError(f"{title!r}: {min(unknown)!r} is none of due, remind, give_up and escalate_to")
    if escalated and not times.get("due"):
        raise TypeError(f"{title!r}: it is escalated once it is due, so say when: due='4h'")
    kept: dict[str, Any] = {name: str(_duration(value, title)) for name, value in times.items() if name != "escalate_to" and value}
    kept |= {"apart_from": sorted(apart_from)} if apart_from else {}
    arguments = {"kind": kind, "who": names, "title": title, "text": text, **kept, "escalate_to": escalated, **more}
    return HumanStep(ASK, arguments)


def _duration(value: str, title: str) -> Duration:
    try:
        found = Duration.parse(value)
    except ValueError as error:
        raise TypeError(f"{title!r}: {error}") from None
    if not found:
        raise TypeError(f"{title!r}: leave people some time, for instance '4h'")
    return found


def _checked(questions: Sequence[Input], given: Mapping[str, Any]) -> dict[str, str]:
    """Every question's answer, empty where none was given that may be left out."""
    if unknown := set(given) - {one.name for one in questions}:
        raise BadArgument(str(min(unknown))[:40], "is not asked for")
    return {one.name: _answer(one, given.get(one.name, one.initial)) for one in questions}


def _answer(question: Input, value: Any) -> str:
    text = written(value).strip() if isinstance(value, str | int | float | bool | None) else ""
    if not text and question.required:
        raise BadArgument(question.name, "is required")
    if problem := problem_of(text):
        raise BadArgument(question.name, problem)
    if len(text) > LONGEST:
        raise BadArgument(question.name, f"should have at most {LONGEST} characters")
    if text and question.choices and text not in question.choices:
        raise BadArgument(question.name, f"should be {alternatives(question.choices)}")
    return text


def _kept(before: Any, answer: str) -> Any:
    """A cell that nobody changed keeps its type; one that was changed is read as what it was, or is text."""
    if answer == written(before):
        return before
    if isinstance(before, bool) and answer in ("yes", "no"):
        return answer == "yes"
    if isinstance(before, int | float) and not isinstance(before, bool):
        try:
            return type(before)(answer)
        except ValueError:
            return answer
    return answer
