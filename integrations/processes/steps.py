"""The two steps every runbook's plan is made of, and the preview that runs while planning."""

import asyncio
import hashlib
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from countersign import Context, PlanRefused, Secret, Step, StepFailed, step
from integrations.processes.leavings import VARIABLE, keep_all
from integrations.processes.outputs import Output, Stream, cleaned
from integrations.processes.running import Ended, run
from integrations.processes.scripts import Bundle, held, laid_out

PREVIEW_SECONDS: Final = 60.0
MAX_PREVIEW: Final = 3_000
_MAX_PREVIEW_BYTES: Final = 1024 * 1024


# The plan carries each runbook's own time limit; one day is only the longest that any of them may ask for.
@step(timeout="1d")
async def run_script(ctx: Context, argv: list[str], code: str, stdin: Secret | None = None) -> dict[str, Any] | None:
    """Runs one script of the runbook version `code`; returns what it said with `::result`. Never repeated without a person.

    Raises StepFailed for an exit code, TimeoutError after the time limit and CancelledError when the run was cancelled.
    `stdin` is what `fed` made of the secrets: they are one secret here because a step's secrets are arguments of their own.
    """
    return await _run(ctx, argv, code, stdin.reveal() if stdin else "")


@step(idempotent=True, timeout="1d")
async def run_script_again(ctx: Context, argv: list[str], code: str, stdin: Secret | None = None) -> dict[str, Any] | None:
    """The same for a runbook that says `idempotent: true`: it may be repeated when a worker died in between."""
    return await _run(ctx, argv, code, stdin.reveal() if stdin else "")


@dataclass(frozen=True, eq=False)
class ScriptStep(Step):
    """A step that people read as the command line it is."""

    @property
    def title(self) -> str:
        text = cleaned(shlex.join(self.arguments["argv"]))
        return text if len(text) <= 300 else text[:299] + "…"


@dataclass(frozen=True)
class Preview:
    """What a preview script printed: as much as is shown, whether that is all, and the digest of all of it."""

    text: str
    complete: bool
    digest: str


def fed(secrets: Mapping[str, Secret]) -> Secret | None:
    """What a script reads from standard input: one line `name=value` for each secret that was given, in the order of `stdin_secrets`."""
    return Secret("".join(f"{name}={one.reveal()}\n" for name, one in secrets.items())) if secrets else None


async def previewed(bundle: Bundle, argv: Sequence[str]) -> Preview:
    """Runs a preview script, without secrets because nobody has approved anything yet.

    Its standard output is the preview; its standard error only explains a failure. Raises PlanRefused with a sentence.
    """
    errors, printed = Output(_Silent()), bytearray()

    async def heard(stream: Stream, data: bytes) -> None:
        if stream == "stderr":
            await errors.heard(stream, data)
        elif len(printed) <= _MAX_PREVIEW_BYTES:
            printed.extend(data)

    with laid_out(_runnable(bundle, argv)) as home:
        ended = await run(argv, home=home, environment=bundle.environment, seconds=PREVIEW_SECONDS, heard=heard)
        # The folder is another one each time; its name would make every preview different from the one that was approved.
        whole = bytes(printed).replace(str(home).encode(), b".")
    if problem := _problem(argv, ended, limit=f"{PREVIEW_SECONDS:g}s", last_line=errors.last_line):
        raise PlanRefused(f"the preview failed: {problem}")
    if len(printed) > _MAX_PREVIEW_BYTES:
        raise PlanRefused(f"the preview failed: {_name(argv)} printed more than {_MAX_PREVIEW_BYTES // 1024} KiB")
    text = "\n".join(map(cleaned, whole.decode(errors="replace").rstrip().split("\n")))
    return Preview(text[:MAX_PREVIEW], len(text) <= MAX_PREVIEW, hashlib.sha256(whole).hexdigest())


async def _run(ctx: Context, argv: list[str], code: str, stdin: str) -> dict[str, Any] | None:
    bundle = _runnable(held(code, script=_name(argv)), argv)
    secrets = [line.partition("=")[2] for line in stdin.split("\n")]
    output = Output(ctx, secrets)
    with laid_out(bundle) as home:
        left = Path(tempfile.mkdtemp(prefix="artifacts-", dir=home))
        ended = await run(
            argv,
            home=home,
            environment={**bundle.environment, VARIABLE: str(left)},
            seconds=bundle.timeout.total_seconds(),
            heard=output.heard,
            feed=stdin.encode(),
            cancelled=ctx.cancelled,
        )
        await keep_all(ctx, left, secrets)
    problem = _problem(argv, ended, limit=str(bundle.timeout), last_line=output.last_line)
    # A script that was ended may have had part of its effect: these say so to the worker, where StepFailed would promise a clean failure.
    if ended.because == "cancelled":
        raise asyncio.CancelledError(problem)
    if ended.because == "too long":
        raise TimeoutError(problem)
    if problem:
        raise StepFailed(problem)
    return dict(output.result) if output.result is not None else None


def _runnable(bundle: Bundle, argv: Sequence[str]) -> Bundle:
    """The bundle, if the program is one of its own; a step that was tampered with must not reach the system's programs."""
    program = bundle.files.get(str(PurePosixPath(argv[0]))) if argv else None
    if program is None or not program.executable:
        raise StepFailed(f"{_name(argv)} is not a program of this runbook; nothing was started")
    return bundle


def _problem(argv: Sequence[str], ended: Ended, *, limit: str, last_line: str) -> str:
    name, said = _name(argv), f": {last_line}" if last_line else ""
    if ended.because == "cancelled":
        return f"{name} was ended because the run was cancelled{said}"
    if ended.because == "too long":
        return f"{name} was ended because it took longer than {limit}{said}"
    return f"{name} ended with exit code {ended.code}{said}" if ended.code else ""


def _name(argv: Sequence[str]) -> str:
    return PurePosixPath(argv[0]).name if argv else "an empty command line"


class _Silent:
    async def log(self, line: str) -> None:
        """A preview has no log."""

    async def progress(self, done: float, total: float, note: str = "") -> None:
        """A preview has no progress."""
