"""A runbook's YAML, read strictly: what is not known or does not fit is refused with file, line, key and what to write instead."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from countersign.arguments import Duration
from countersign.errors import CountersignError
from countersign.labels import LABEL

MAX_YAML_BYTES = 64 * 1024

Kind = Literal["text", "integer", "number", "boolean", "choice", "duration", "percent", "person", "channel", "secret", "time"]
Word = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
ArgumentName = Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]
VariableName = Annotated[str, StringConstraints(max_length=80, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class RunbookError(CountersignError):
    """A runbook cannot be used; the sentence names the file, the line, the key and the fix."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ApprovalDeclaration(_Strict):
    by: str
    count: int = 1
    when: dict[ArgumentName, Any] | None = None
    expires: str = "24h"
    asker_may: bool = False


class ArgumentDeclaration(_Strict):
    """One argument. `dash: true` lets values begin with '-'; `required: false` without a default puts an empty word in its place."""

    type: Kind = "text"
    choices: list[Word] = []
    default: Any = None
    required: bool | None = None
    help: str = ""
    dash: bool = False


class Declaration(_Strict):
    """The keys of a runbook. `idempotent` speaks of `run` and of `undo`: both may be repeated without a person."""

    command: str
    help: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    permission: str
    risk: Literal["read", "low", "medium", "high", "critical"] = "high"
    owner: str = ""
    slash: bool = False
    visibility: Literal["staff", "private"] = "staff"
    may_loosen: bool = False
    approval: ApprovalDeclaration | None = None
    arguments: dict[ArgumentName, ArgumentDeclaration] = {}
    run: Annotated[list[Word], Field(min_length=1)]
    undo: Annotated[list[Word], Field(min_length=1)] | None = None
    preview: Annotated[list[Word], Field(min_length=1)] | None = None
    stdin_secrets: list[ArgumentName] = []
    idempotent: bool = False
    timeout: Duration = Duration(minutes=10)
    files: list[Word] = []
    environment: dict[VariableName, Word] = {}
    priority: Literal["low", "normal", "high"] = "normal"
    runs_on: Annotated[str, StringConstraints(pattern=rf"^({LABEL})?$")] = ""
    saves: Duration | None = None
    rehearsal: dict[ArgumentName, Any] | None = None
    deprecated: str = ""
    retired: str = ""


class Source:
    """One runbook's bytes with its parsed YAML, which still knows on which line each key stands."""

    def __init__(self, path: Path, content: bytes, node: yaml.Node, data: Any) -> None:
        self.path = path
        self.content = content
        self._node = node
        self._data = data

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises RunbookError for what is not one YAML mapping without doubled keys."""
        content = path.read_bytes()
        if len(content) > MAX_YAML_BYTES:
            raise RunbookError(path.name, f"is longer than {MAX_YAML_BYTES // 1024} KiB; move data to a file that the script reads")
        try:
            loader = yaml.SafeLoader(content)
            node = loader.get_single_node()
            _refuse_doubles(node, path)
            data = loader.construct_document(node) if node else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise RunbookError(f"{path.name}, line {line}", f"is not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise RunbookError(path.name, f"is not YAML: {str(error).splitlines()[0]}") from None
        if not isinstance(node, yaml.MappingNode):
            raise RunbookError(path.name, "should be a mapping that begins with 'command: NAME'")
        return cls(path, content, node, data)

    def declaration(self) -> Declaration:
        """The validated keys; raises RunbookError."""
        try:
            return Declaration.model_validate(self._data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            keys = tuple(one for one in first["loc"] if one != "[key]")
            self.refuse(keys, _explained(first["type"], first["msg"], keys))

    def refuse(self, keys: tuple[str | int, ...], problem: str) -> NoReturn:
        """Raises RunbookError for the key at this path, such as `("arguments", "env", "type")`."""
        path = ".".join(map(str, keys))
        raise RunbookError(f"{self.path.name}, line {self._line(keys)}" + (f", {path}" if path else ""), problem)

    def _line(self, keys: tuple[str | int, ...]) -> int:
        node, line = self._node, self._node.start_mark.line + 1
        for key in keys:
            found = next((pair for pair in _pairs(node) if pair[0] == key), None)
            if found is None:
                break
            _, line, node = found
        return line


def _pairs(node: yaml.Node) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """Key, line and value of everything directly below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield position, value.start_mark.line + 1, value


def _refuse_doubles(node: yaml.Node | None, path: Path) -> None:
    """YAML itself would let the last of two equal keys win without a word."""
    seen: set[str | int] = set()
    for key, line, value in _pairs(node) if node else ():
        if key in seen:
            raise RunbookError(f"{path.name}, line {line}", f"the key {key!r} is there twice; keep one")
        seen.add(key)
        _refuse_doubles(value, path)


def _explained(kind: str, message: str, keys: tuple[str | int, ...]) -> str:
    if kind == "extra_forbidden":
        known = _known_keys(keys)
        near = difflib.get_close_matches(str(keys[-1]), known, 1)
        return f"is not a key here; did you mean {near[0]!r}?" if near else f"is not a key here; the keys are {', '.join(known)}"
    if kind == "missing":
        return "is missing; add it"
    if kind == "string_type":
        return "should be text; write it in quotes"
    if kind == "string_pattern_mismatch" and keys[0] in ("arguments", "stdin_secrets", "approval"):
        return "an argument's name is lower-case letters, digits and _, for instance dry_run"
    if kind == "string_pattern_mismatch" and keys[0] == "environment" and "A-Z" in message:
        return "a variable's name is letters, digits and _, for instance LANG"
    return message.removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")


def _known_keys(keys: tuple[str | int, ...]) -> list[str]:
    below: dict[str | int, type[BaseModel]] = {"arguments": ArgumentDeclaration, "approval": ApprovalDeclaration}
    model = below.get(keys[0], Declaration) if len(keys) > 1 else Declaration
    return list(model.model_fields)
