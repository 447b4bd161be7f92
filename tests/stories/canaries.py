"""Commands that do with a secret what an author should never do, and everything a secret can look like when it got out."""

import base64
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

COMMANDS = '''
"""Commands that mishandle what they are given."""

import base64, json
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from countersign import (
    Context, CountersignError, Field, Integration, Plan, PlanningContext, PlanRefused, Reply, Secret, StepFailed, command, reads, step,
)


class Vault(Integration):
    class Settings(BaseModel):
        code: Secret
        token: str

    @reads
    async def code(self) -> str:
        return self.settings.code.reveal()


@step(idempotent=True)
async def leak(ctx: Context, how: str, value: Secret) -> object:
    """Lets it out."""
    raw = value.reveal()
    if how == "log":
        await ctx.log(f"the value is {raw}.")
    elif how == "log url":
        await ctx.log("https://vault.example.test/?code=" + quote(raw) + "&again=" + quote_plus(raw))
    elif how == "log base64":
        for skipped in range(4):
            await ctx.log("Basic " + base64.b64encode(b"x" * skipped + raw.encode() + b"yz").decode())
        await ctx.log(base64.urlsafe_b64encode(b"user:" + raw.encode()).decode())
    elif how == "log json":
        await ctx.log(json.dumps({"value": raw, raw: 1}))
        await ctx.log(json.dumps({"value": raw}, ensure_ascii=False))
    elif how == "log repr":
        await ctx.log(repr({"value": raw}) + repr(raw.encode()) + raw.encode().hex())
    elif how == "log cut":
        for before in range(3_900, 4_000, 9):
            await ctx.log("x" * before + raw)
    elif how == "progress":
        await ctx.progress(1, 1, raw)
    elif how == "progress cut":
        await ctx.progress(1, 1, "x" * 60 + raw)
    elif how == "fail":
        raise StepFailed(f"the vault does not know {raw}")
    elif how == "fail cut":
        raise StepFailed("x" * 480 + raw)
    elif how == "raise":
        raise ValueError(f"bad value {raw!r}")
    elif how == "raise from":
        try:
            raise KeyError(raw)
        except KeyError as error:
            raise RuntimeError("again " + base64.b64encode(raw.encode()).decode()) from error
    elif how == "return":
        return raw
    elif how == "return data":
        return {"deep": [{raw: raw}], "json": json.dumps(raw)}
    elif how == "return secret":
        return value
    elif how == "return fresh":
        return {"password": Secret("fresh-" + raw)}
    return None


@step(idempotent=True)
async def nothing(ctx: Context, text: str = "") -> None:
    """Does nothing."""


@step(idempotent=True)
async def fail(ctx: Context) -> None:
    """Fails, so that what was done is undone."""
    raise StepFailed("on purpose")


@step(idempotent=True)
async def tell_settings(ctx: Context) -> str:
    """Tells what it is configured with."""
    vault = ctx.use(Vault)
    code = await vault.code()
    await ctx.log(f"{code} {vault.settings.token} {vault.settings!r}")
    await ctx.progress(1, 1, code)
    return f"code {code}, token {vault.settings.token}"


@command("leak", permission="vault:leak", risk="medium")
async def leak_it(ctx: PlanningContext, how: str, value: Secret) -> Plan | Reply:
    """Leak a secret in one of many ways."""
    raw = value.reveal()
    if how == "plan summary":
        return Plan(f"sets {raw}", leak("quiet", value))
    if how == "plan preview":
        return Plan("sets it", leak("quiet", value), preview="x" * 2_980 + raw + "\\n" + quote(raw), warning=f"Mind {raw}.")
    if how == "plan field":
        return Plan("sets it", leak("quiet", value), fields=(Field(label="Value", value=raw), Field(label=raw, value="x")))
    if how == "plan step":
        return Plan("sets it", nothing(f"value={raw}"))
    if how == "plan watched":
        ctx.watch("value", raw)
        return Plan("sets it", nothing())
    if how == "plan watched name":
        return Plan("sets it", nothing(), watched={raw: 1})
    if how == "plan raises":
        raise ValueError(raw)
    if how == "plan refuses":
        raise PlanRefused(f"there is {raw} already")
    if how == "plan answers":
        return Reply(text=f"it is {raw}", code=base64.b64encode(raw.encode()).decode())
    if how == "undo":
        return Plan("sets it", leak("quiet", value).undone_by(leak("fail", value)), fail())
    if how == "quiet undo":
        return Plan("sets it", leak("log", value).undone_by(leak("log json", value)), fail())
    return Plan("does something with a secret", leak(how, value))


@command("leak settings", permission="vault:leak", risk="medium")
async def leak_settings(ctx: PlanningContext) -> Plan:
    """Leak what a client is configured with."""
    vault = ctx.use(Vault)
    return Plan(f"tells {await vault.code()}", tell_settings(), preview=vault.settings.token)
'''

RUNBOOK = """
command: leak-script
help: A script that tells what it was given.
permission: vault:leak
risk: medium
arguments:
  name: {type: text}
  value: {type: secret}
  other: {type: secret}
run: [./leak.sh, "{name}"]
stdin_secrets: [value, other]
"""
SCRIPT = """#!/bin/sh
given="$(cat)"
echo "$given"
echo "$given" >&2
for one in $given; do echo "::progress 1/2 ${one#*=}"; printf %s "${one#*=}" | base64 -w0; echo; done
echo "::result {\\"given\\": \\"$(printf %s "$given" | base64 -w0)\\"}"
[ "$1" = fail ] && exit 3
exit 0
"""
WAYS = (
    *(
        "log",
        "log url",
        "log base64",
        "log json",
        "log repr",
        "log cut",
        "progress",
        "progress cut",
        "fail",
        "fail cut",
        "raise",
        "raise from",
    ),
    *("return", "return data", "return secret", "return fresh", "plan summary", "plan preview", "plan field", "plan step", "plan watched"),
    *("plan watched name", "plan raises", "plan refuses", "plan answers", "undo", "quiet undo", "dry run", "refused"),
)


@dataclass(frozen=True)
class Canary:
    """A secret nobody else has: a core that survives most encodings, in the company of characters that do not."""

    core: str
    tail: str = "/é\"\\ +=&%<ü>'☂"

    @property
    def value(self) -> str:
        return self.core + self.tail

    def seen_in(self, text: str) -> bool:
        """Whether the core, as it is, in base64 at any offset, or in hexadecimal digits, is in the text."""
        return any(form in text for form in self.forms())

    def forms(self) -> tuple[str, ...]:
        raw = self.core.encode()
        encoded = [base64.b64encode(b"\0" * skipped + raw).decode() for skipped in range(3)]
        return (self.core, quote(self.core), raw.hex(), encoded[0][:-4], encoded[1][2:-4], encoded[2][3:-4])


def write_commands(folder: Path) -> None:
    """The commands and the runbook, in the folders `commands` and `runbooks`."""
    (folder / "commands").mkdir()
    (folder / "commands" / "leaking.py").write_text(COMMANDS)
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "leak-script.yaml").write_text(RUNBOOK)
    (folder / "runbooks" / "leak.sh").write_text(SCRIPT)
    (folder / "runbooks" / "leak.sh").chmod(0o755)
