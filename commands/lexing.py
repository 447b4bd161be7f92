"""The words of an expression: a small, closed part of CEL, so that what it can call and what it can cost is known beforehand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 600
MACROS: Final = ("all", "exists", "exists_one")
FUNCTIONS: Final = ("contains", "double", "duration", "endsWith", "int", "matches", "size", "startsWith", "string", "timestamp")
_LITERAL_ONLY: Final = ("duration", "matches", "timestamp")
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<text>[rR]"[^"\n]*"|[rR]'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>[0-9][0-9A-Za-z.]*)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>&&|\|\||[=!<>]=|[-+*%/!<>?:()\[\],.])""",
    re.VERBOSE,
)
_VALUES: Final = ("true", "false", "null")


class ExpressionError(Exception):
    """The expression cannot be used; the message says why and what to write instead."""


@dataclass(frozen=True)
class Token:
    """A `name` such as `args.env`, a `call`, a `field` of something else, a `text`, a `number`, a `word` of the language or a `sign`."""

    kind: str
    written: str
    at: int

    @property
    def text(self) -> str:
        """What a text literal means, as far as choices go: of escapes only those of quotes and backslashes are undone."""
        if self.written[0] in "rR":
            return self.written[2:-1]
        return re.sub(r"\\(.)", r"\1", self.written[1:-1])


@dataclass(frozen=True)
class Reading:
    """An expression's tokens; `names` are what it looks at, without the names that `exists` and `all` make."""

    tokens: tuple[Token, ...]
    names: frozenset[str]
    made: frozenset[str]

    def compared(self) -> Iterator[tuple[str, str]]:
        """Each name that is compared with a text, and the text: `a == "x"`, `"x" != a`, `"x" in a` and `a in ["x", "y"]`."""
        for one, sign, other in zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False):
            if (one.kind, other.kind) == ("name", "text") and sign.written in ("==", "!="):
                yield one.written, other.text
            elif (one.kind, other.kind) == ("text", "name") and sign.written in ("==", "!=", "in"):
                yield other.written, one.text
            elif one.kind == "name" and (sign.written, other.written) == ("in", "["):
                yield from ((one.written, text) for text in self._listed(other))

    def literals(self) -> Iterator[tuple[str, str]]:
        """The functions that are given a literal, and the literal as it is written."""
        for one, _, other in zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False):
            if one.kind == "call" and one.written in _LITERAL_ONLY:
                yield one.written, other.written

    def _listed(self, bracket: Token) -> Iterator[str]:
        for one in self.tokens[self.tokens.index(bracket) + 1 :]:
            if one.written == "]":
                return
            if one.kind == "text":
                yield one.text


@lru_cache(maxsize=500)
def read(source: str, *, has: bool = False) -> Reading:
    """Reads an expression; raises ExpressionError for what is not part of the language or could take long.

    `has` lets `has(payload.name)` ask whether something is there, where what there is is not known beforehand.
    """
    if not source.strip():
        raise ExpressionError(
            "is empty; write a value such as payload.name" if has else 'is empty; write a condition such as args.env == "prod"'
        )
    if len(source) > LONGEST:
        raise ExpressionError(f"has {len(source)} characters; {LONGEST} are allowed, so make two rules of it")
    tokens = tuple(_joined(list(_split(source))))
    made = frozenset(_made_names(tokens))
    _check_calls(tokens, has=has)
    names = frozenset(one.written for one in tokens if one.kind == "name" and one.written.partition(".")[0] not in made)
    return Reading(tokens, names, made)


def _split(source: str) -> Iterator[Token]:
    at = 0
    if '"""' in source or "'''" in source:
        raise ExpressionError("text stands in single or double quotes, not in three")
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None or source.startswith("//", at):
            raise ExpressionError(f"cannot be read from character {at + 1} on: {source[at : at + 12]!r}")
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "word" and source[at : at + 1] in ('"', "'"):
            raise ExpressionError(f'{found[0]} stands before a text; only r"…" may, for a text without escapes')
        if kind != "space":
            yield Token(kind, found[0], found.start())


def _joined(tokens: Sequence[Token]) -> Iterator[Token]:
    """Words joined by dots are one name; a word before `(` is a call; a word after a dot that follows no name is a field."""
    i = 0
    while i < len(tokens):
        one = tokens[i]
        dotted = one.written == "." and i + 1 < len(tokens) and tokens[i + 1].kind == "word"
        if dotted:
            one, i = tokens[i + 1], i + 1
        elif one.kind != "word" or one.written in (*_VALUES, "in"):
            yield one
            i += 1
            continue
        parts = [one]
        while i + 2 < len(tokens) and tokens[i + 1].written == "." and tokens[i + 2].kind == "word":
            parts.append(tokens[i + 2])
            i += 2
        i += 1
        call = parts.pop() if i < len(tokens) and tokens[i].written == "(" else None
        if parts:
            yield Token("field" if dotted else "name", ".".join(part.written for part in parts), parts[0].at)
        if call:
            yield Token("call", call.written, call.at)


def _made_names(tokens: Sequence[Token]) -> Iterator[str]:
    for call, _, name, comma in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if call.kind == "call" and call.written in MACROS:
            if name.kind != "name" or "." in name.written or comma.written != ",":
                raise ExpressionError(f"{call.written} reads {call.written}(one, CONDITION), with a name of your own for each item")
            yield name.written


def _check_calls(tokens: Sequence[Token], *, has: bool) -> None:
    """Only what has a bounded cost: no loop inside a loop, nothing that grows in one, and patterns that stand in the policy."""
    opened: list[bool] = []
    for i, one in enumerate(tokens):
        if one.kind == "call":
            _check_call(one, tokens[i + 1 : i + 4], inside=any(opened), has=has)
        elif one.written == "+" and any(opened):
            raise ExpressionError(f"+ stands inside {' or '.join(MACROS)}, where it could make long texts; compare without it")
        elif one.written == "(":
            before = tokens[i - 1] if i else one
            opened.append(before.kind == "call" and before.written in MACROS)
        elif one.written == ")" and opened:
            opened.pop()


def _check_call(call: Token, after: Sequence[Token], *, inside: bool, has: bool) -> None:
    name = call.written
    if name == "has" and has:
        return
    if name == "has":
        raise ExpressionError("has(…) cannot be used here; given.NAME says whether the argument NAME was given")
    if name not in (*FUNCTIONS, *MACROS):
        raise ExpressionError(f"{name}(…) cannot be used here; there are {', '.join(sorted((*FUNCTIONS, *MACROS)))}")
    if name in MACROS and inside:
        raise ExpressionError(f"{name} stands inside another {' or '.join(MACROS)}; make two rules of it")
    if name in _LITERAL_ONLY and (len(after) < 3 or after[1].kind != "text" or after[2].written != ")"):
        raise ExpressionError(f"{name} takes a text that is written out, for instance {_EXAMPLES[name]}")


_EXAMPLES: Final = {
    "duration": 'duration("90m")',
    "matches": 'reason.matches("^OPS-[0-9]+")',
    "timestamp": 'timestamp("2026-12-24T00:00:00Z")',
}
