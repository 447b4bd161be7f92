"""Runbooks: a script and some lines of YAML become a command like any other, with arguments, plan, preview, approval and undo."""

import inspect
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from countersign import Approval, Command, Plan, PlanningContext, Secret, Step, command
from countersign.schemas import Schema, written
from countersign.steps import StepFunction
from integrations.processes import scripts, steps
from integrations.processes.declarations import Declaration, RunbookError, Source
from integrations.processes.leavings import VARIABLE
from integrations.processes.templates import filled, names_in
from integrations.processes.values import parameter

NO_PREVIEW = "Countersign cannot show what this script will do."
CUT_PREVIEW = "The preview is longer than what is shown here."


def load_runbooks(folder: Path) -> list[Command]:
    """The commands of every `*.yaml` and `*.yml` directly in the folder, by file name; a script's data belongs in folders below.

    The scripts' bytes are read now and exactly these are run later. Raises RunbookError naming file, line, key and fix; one wrong runbook
    refuses the folder, so that nobody misses a command without being told.
    """
    if not folder.is_dir():
        raise RunbookError(str(folder), "should be a folder with runbooks")
    taken: dict[str, str] = {}
    commands = []
    for path in sorted(one for one in folder.iterdir() if one.suffix in (".yaml", ".yml")):
        source = Source.read(path)
        made = _command(source)
        if made.name in taken:
            source.refuse(("command",), f"{made.name!r} is the command of {taken[made.name]} too; choose another name")
        taken[made.name] = path.name
        commands.append(made)
    return commands


@dataclass(frozen=True)
class _Runbook:
    """What a planner needs to know."""

    declared: Declaration
    bundle: scripts.Bundle
    code: str
    function: StepFunction[..., Any]

    def step(self, words: Sequence[str], arguments: dict[str, Any]) -> Step:
        secrets = {name: arguments[name] for name in self.declared.stdin_secrets if arguments[name] is not None}
        made = self.function(argv=self.argv(words, arguments), code=self.code, stdin=steps.fed(secrets))
        return steps.ScriptStep(made.function, made.arguments)

    def argv(self, words: Sequence[str], arguments: dict[str, Any]) -> list[str]:
        return filled(words, {name: written(value) for name, value in arguments.items() if not isinstance(value, Secret)})

    def summary(self, arguments: dict[str, Any]) -> str:
        shown = (
            f"{name}={str(value) if isinstance(value, Secret) else written(value)}"
            for name, value in arguments.items()
            if value is not None
        )
        return " ".join((self.declared.command, *shown))


def _command(source: Source) -> Command:
    declared = source.declaration()
    parameters = [parameter(source, name, one) for name, one in declared.arguments.items()]
    _check_words(source, declared)
    _check_secrets(source, declared)
    if declared.rehearsal is not None and not declared.undo:
        source.refuse(("rehearsal",), "tries the undo, and there is none; say how it is taken back with undo")
    if declared.timeout.total_seconds() < 1 or declared.timeout > steps.run_script.timeout:
        source.refuse(("timeout",), f"should be from 1s to {steps.run_script.timeout}")
    bundle = scripts.Bundle(
        source.path.name, source.content, dict(_files(source, declared)), timeout=declared.timeout, environment=declared.environment
    )
    if sum(len(one.content) for one in bundle.files.values()) > scripts.MAX_BYTES:
        source.refuse(
            ("files",), f"the files together are larger than {scripts.MAX_BYTES // 1024**2} MiB; fetch data in the script instead"
        )
    base = steps.run_script_again if declared.idempotent else steps.run_script
    runbook = _Runbook(declared, bundle, scripts.hold(bundle), replace(base, timeout=declared.timeout))
    try:
        made = _made(runbook, parameters)
    except TypeError as error:
        source.refuse((), str(error))
    return replace(made, origin=f"runbook:{source.path.name}", code_version=runbook.code, schema=_with_hints(made.schema, declared))


def _made(runbook: _Runbook, parameters: list[inspect.Parameter]) -> Command:
    declared = runbook.declared

    async def planner(_ctx: PlanningContext, /, **arguments: Any) -> Plan:
        undo = [runbook.step(declared.undo, arguments)] if declared.undo else []
        step = runbook.step(declared.run, arguments)
        step = step.undone_by(undo[0]) if undo else step
        if declared.preview is None:
            return Plan(runbook.summary(arguments), step, warning=NO_PREVIEW)
        preview = await steps.previewed(runbook.bundle, runbook.argv(declared.preview, arguments))
        warning = "" if preview.complete else CUT_PREVIEW
        return Plan(runbook.summary(arguments), step, watched={"preview": preview.digest}, preview=preview.text, warning=warning)

    first = inspect.Parameter("_ctx", inspect.Parameter.POSITIONAL_ONLY, annotation=PlanningContext)
    planner.__signature__ = inspect.Signature([first, *parameters], return_annotation=Plan)  # type: ignore[attr-defined]
    planner.__annotations__ = {one.name: one.annotation for one in (first, *parameters)} | {"return": Plan}
    planner.__doc__ = declared.help
    return command(
        declared.command,
        permission=declared.permission,
        risk=declared.risk,
        approval=Approval(**declared.approval.model_dump()) if declared.approval else None,
        slash=declared.slash,
        owner=declared.owner,
        visibility=declared.visibility,
        may_loosen=declared.may_loosen,
        priority=declared.priority,
        runs_on=declared.runs_on,
        saves=str(declared.saves or ""),
        rehearsal=declared.rehearsal,
        deprecated=declared.deprecated,
        retired=declared.retired,
    )(planner)


def _with_hints(schema: Schema, declared: Declaration) -> Schema:
    return replace(schema, parameters=tuple(replace(one, hint=declared.arguments[one.name].help or one.hint) for one in schema.parameters))


def _check_words(source: Source, declared: Declaration) -> None:
    for key, words in _lines(declared):
        for position, word in enumerate(words):
            try:
                names = names_in(word)
            except ValueError as error:
                source.refuse((key, position), str(error))
            if position == 0 and names:
                source.refuse((key, 0), "the program is fixed and names no argument")
            for name in sorted(names):
                if name not in declared.arguments:
                    source.refuse((key, position), f"names {{{name}}}, which is not an argument; declare it under arguments")
                if declared.arguments[name].type == "secret":
                    source.refuse((key, position), f"names the secret {{{name}}}, which anybody could read in a list of processes; "
                                  "remove it here and list it under stdin_secrets")  # fmt: skip


def _check_secrets(source: Source, declared: Declaration) -> None:
    for position, name in enumerate(declared.stdin_secrets):
        if name not in declared.arguments or declared.arguments[name].type != "secret":
            source.refuse(("stdin_secrets", position), f"{name!r} should be an argument with 'type: secret'")
    for name, one in declared.arguments.items():
        if one.type == "secret" and name not in declared.stdin_secrets:
            source.refuse(("arguments", name), f"no script receives this secret; add 'stdin_secrets: [{name}]'")
    if "HOME" in declared.environment:
        source.refuse(("environment", "HOME"), "is always the fresh folder that the script runs in; remove it")
    if VARIABLE in declared.environment:
        source.refuse(("environment", VARIABLE), "is always the fresh folder for files to keep; remove it")


def _files(source: Source, declared: Declaration) -> Iterator[tuple[str, scripts.File]]:
    for key, words in _lines(declared):
        name, file = _file(source, (key, 0), words[0])
        if not file.executable:
            source.refuse((key, 0), f"{name} is not executable; run 'chmod +x {name}'")
        if not file.content.startswith(b"#!") and b"\x00" not in file.content[:1024]:
            source.refuse((key, 0), f"{name} should begin with '#!' and its interpreter, for instance '#!/bin/sh'")
        yield name, file
    for position, word in enumerate(declared.files):
        yield _file(source, ("files", position), word)


def _file(source: Source, keys: tuple[str | int, ...], word: str) -> tuple[str, scripts.File]:
    folder, relative = source.path.parent.resolve(), PurePosixPath(word)
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        source.refuse(keys, f"{word!r} should be a file in the runbook's folder, written relative to it, for instance ./restart.sh")
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder):
        source.refuse(keys, f"{word!r} is a link that leads out of the runbook's folder; copy the file here")
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            source.refuse(keys, f"{word!r} should be a file; list each file of a folder")
        return str(relative), scripts.File(path.read_bytes(), executable=bool(mode & 0o111))
    except OSError as error:
        _unreadable(source, keys, word, error)


def _unreadable(source: Source, keys: tuple[str | int, ...], word: str, error: OSError) -> NoReturn:
    source.refuse(keys, f"{word!r} cannot be read ({error.strerror}); create it beside the runbook or correct the name")


def _lines(declared: Declaration) -> Iterator[tuple[str, list[str]]]:
    for key, words in (("run", declared.run), ("undo", declared.undo), ("preview", declared.preview)):
        if words:
            yield key, words
