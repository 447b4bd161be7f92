"""What an operator may write, and the sentence for everything else: file, line, key and fix."""

import os
from pathlib import Path
from typing import Any

import pytest

from countersign import Approval, Duration, Percent, Risk, Secret, ZonedTime
from countersign.errors import BadArgument, MissingArguments
from integrations.processes import RunbookError, load_runbooks
from tests.integrations.processes.folders import MINIMAL, Folder, planned

WHOLE = """
command: restart-service
help: |
  Restart one service and wait until it answers.
  The second line is for the long help.
permission: ops:restart
risk: medium
owner: team-platform
slash: true
visibility: private
may_loosen: true
approval: {by: "ops:approve", count: 2, when: {env: [prod]}, expires: 2h, asker_may: true}
arguments:
  service: {type: choice, choices: [api, web], help: which one}
  env: {type: choice, choices: [staging, prod], default: staging}
  token: {type: secret, required: false}
  note: {type: text, dash: true, required: false}
run: [./restart.sh, "{service}", "--env={env}", "{note}", "{{literal}}"]
stdin_secrets: [token]
undo: [./restart.sh, --back, "{service}"]
preview: [./plan.sh, "{service}"]
idempotent: false
timeout: 5m
files: [lib.sh]
environment: {LANG: C.UTF-8}
rehearsal: {service: web}
"""


@pytest.fixture
def filled(folder: Folder) -> Folder:
    folder.script("true")
    folder.script("echo plan", "plan.sh")
    folder.script("x", "lib.sh", mode=0o644)
    return folder


async def test_every_key_reaches_the_command(filled: Folder) -> None:
    filled.runbook(WHOLE)
    one = filled.load()
    assert (one.name, one.permission, one.risk, one.owner, one.slash) == (
        "restart-service", "ops:restart", Risk.medium, "team-platform", True,
    )  # fmt: skip
    assert one.summary == "Restart one service and wait until it answers."
    assert (one.visibility, one.may_loosen, one.origin) == ("private", True, "runbook:restart.yaml")
    assert one.approval == Approval(by="ops:approve", count=2, when={"env": ["prod"]}, expires="2h", asker_may=True)
    assert one.usage == "/restart-service <service> [env=staging] [token=] [note=]"
    assert one.schema.inputs({})[0].hint == "which one"
    assert one.schema.secrets == {"token"}
    assert one.rehearsal == {"service": "web"}
    plan = await planned(one, service="api", note="-v")
    assert plan.steps[0].arguments["argv"] == ["./restart.sh", "api", "--env=staging", "-v", "{literal}"]
    assert str(plan.steps[0].function.timeout) == "5m"


def test_an_empty_folder_has_no_commands_and_a_missing_one_is_told(folder: Folder) -> None:
    assert load_runbooks(folder.path) == []
    with pytest.raises(RunbookError, match="nowhere: should be a folder with runbooks"):
        load_runbooks(folder.path / "nowhere")


def test_commands_come_in_the_order_of_their_files(filled: Folder) -> None:
    for name in ("c", "a", "b"):
        filled.runbook(MINIMAL.replace("restart-service", f"do-{name}"), name=f"{name}.yml")
    assert [one.name for one in load_runbooks(filled.path)] == ["do-a", "do-b", "do-c"]


def test_what_is_not_said_is_strict(filled: Folder) -> None:
    filled.runbook()
    one = filled.load()
    assert (one.risk, one.approval, one.slash, one.visibility) == (Risk.high, None, False, "staff")


def test_the_version_is_that_of_the_bytes_the_command_consists_of(filled: Folder) -> None:
    filled.runbook(WHOLE)
    versions = [filled.load().code_version]
    filled.script("true ", "restart.sh")
    versions.append(filled.load().code_version)
    filled.script("y", "lib.sh", mode=0o644)
    versions.append(filled.load().code_version)
    filled.script("y", "lib.sh", mode=0o755)
    versions.append(filled.load().code_version)
    filled.runbook(WHOLE, "# a comment")
    versions.append(filled.load().code_version)
    (filled.path / "restart.yaml").rename(filled.path / "other.yaml")
    versions.append(filled.load().code_version)
    assert len(set(versions)) == 6
    filled.script("not listed", "unlisted.sh")
    assert filled.load().code_version == versions[-1]


@pytest.mark.parametrize(
    ("declared", "given", "typed", "word"),
    [
        ("{type: text}", "a b", "a b", "a b"),
        ("{type: integer}", "5", 5, "5"),
        ("{type: number}", "2.50", 2.5, "2.5"),
        ("{type: boolean}", "yes", True, "yes"),
        ("{type: boolean}", False, False, "no"),
        ("{type: choice, choices: [api, web]}", "web", "web", "web"),
        ("{type: duration}", "90m", Duration(minutes=90), "1h30m"),
        ("{type: percent}", "25", Percent(25), "25%"),
        ("{type: person}", "@Ada", "ada", "ada"),
        ("{type: channel}", "#ops", "ops", "ops"),
        ("{type: time}", "2026-11-24 22:00 UTC", ZonedTime.parse("2026-11-24 22:00 UTC"), "2026-11-24 22:00:00 UTC"),
        ("{type: integer, dash: true}", "-5", -5, "-5"),
        ("{default: x y}", None, "x y", "x y"),
        ("{type: duration, default: 5m}", None, Duration(minutes=5), "5m"),
        ("{type: percent, default: 5%}", None, Percent(5), "5%"),
        ("{type: boolean, default: no}", None, False, "no"),
        ("{type: integer, default: 0}", None, 0, "0"),
        ("{type: number, required: false}", None, None, ""),
        ("{type: choice, choices: [a, b], required: false}", None, None, ""),
    ],
)
async def test_each_type_has_its_value_and_its_word(filled: Folder, declared: str, given: Any, typed: Any, word: str) -> None:
    filled.runbook(MINIMAL.replace("[./restart.sh]", '[./restart.sh, "{it}", "x={it}"]'), f"arguments: {{it: {declared}}}")
    one = filled.load()
    arguments = {} if given is None else {"it": given}
    assert one.schema.validate(arguments)["it"] == typed
    assert type(one.schema.validate(arguments)["it"]) is type(typed) or isinstance(typed, str)
    assert (await planned(one, **arguments)).steps[0].arguments["argv"] == ["./restart.sh", word, f"x={word}"]


@pytest.mark.parametrize(
    ("declared", "given", "sentence"),
    [
        ("{}", None, "it: is required"),
        ("{}", "-rf", "it: should not begin with '-', which a script could read as an option"),
        ("{type: integer}", -5, "it: should not begin with '-'"),
        ("{type: number}", "-1.5", "it: should not begin with '-'"),
        ("{type: channel}", "#-x", "it: should not begin with '-'"),
        ("{type: number}", "nan", "it: should be a finite number"),
        ("{}", "a\0b", "it: should be text without NUL characters"),
        ("{}", "\ud800", "it: should be text without NUL characters or broken Unicode"),
        ("{}", "x" * 8_001, "it: should be at most 8,000 characters"),
        ("{type: choice, choices: [api, web]}", "db", "it: should be 'api' or 'web'"),
        ("{type: person}", "$(id)", "it: should be a person"),
        ("{type: secret}", "two\nlines", "it: should be one line"),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence(filled: Folder, declared: str, given: Any, sentence: str) -> None:
    more = f"arguments: {{it: {declared}}}" + ("\nstdin_secrets: [it]" if "secret" in declared else "")
    filled.runbook(MINIMAL, more)
    with pytest.raises(BadArgument) as refused:
        filled.load().schema.validate({"it": given})
    assert str(refused.value).startswith(sentence)


def test_a_required_secret_is_required_and_an_optional_one_is_not(filled: Folder) -> None:
    filled.runbook(MINIMAL, "arguments: {a: {type: secret}, b: {type: secret, required: false}}\nstdin_secrets: [b, a]")
    schema = filled.load().schema
    with pytest.raises(MissingArguments):
        schema.validate({"b": "x"})
    assert schema.validate({"a": "x"}) == {"a": Secret("x"), "b": None}


REFUSED = [
    ("", "", "restart.yaml: should be a mapping that begins with 'command: NAME'"),
    ("- a", "", "restart.yaml: should be a mapping"),
    ("a: [", "", "restart.yaml, line 3: is not YAML:"),
    ("a: 2026-13-45", "", "restart.yaml: is not YAML: month must be in 1..12"),
    ("a: !!python/object:os.system x", "", "restart.yaml, line 1: is not YAML: could not determine a constructor"),
    ("a: b\x07", "", "restart.yaml: is not YAML:"),
    ("help: x\npermission: a:b\nrun: [./restart.sh]", "", "restart.yaml, line 1, command: is missing; add it"),
    (MINIMAL, "idempotant: true", "restart.yaml, line 5, idempotant: is not a key here; did you mean 'idempotent'?"),
    (MINIMAL, "xyzzy: true", "restart.yaml, line 5, xyzzy: is not a key here; the keys are command, help, permission"),
    (MINIMAL, "risk: low\nrisk: high", "restart.yaml, line 6: the key 'risk' is there twice; keep one"),
    (MINIMAL, "arguments:\n  env:\n    typ: text", "restart.yaml, line 7, arguments.env.typ: is not a key here; did you mean 'type'?"),
    (MINIMAL, "arguments: {a: {}, a: {}}", "restart.yaml, line 5: the key 'a' is there twice"),
    (MINIMAL, "arguments: {Env: {}}", "arguments.Env: an argument's name is lower-case letters, digits and _"),
    (MINIMAL, "arguments: {class: {}}", "arguments.class: is a word of Python's own; choose another name"),
    (MINIMAL, "arguments: {a: {type: file}}", "arguments.a.type: should be 'text', 'integer'"),
    (MINIMAL, "arguments: {a: {type: choice}}", "arguments.a: a choice needs a list of different choices"),
    (MINIMAL, "arguments: {a: {type: choice, choices: []}}", "arguments.a: a choice needs a list"),
    (MINIMAL, "arguments: {a: {type: choice, choices: [x, x]}}", "arguments.a.choices: a choice needs a list of different"),
    (MINIMAL, "arguments: {a: {type: choice, choices: [on, off]}}", "arguments.a.choices.0: should be text; write it in quotes"),
    (MINIMAL, "arguments: {a: {type: choice, choices: [-x]}}", "arguments.a.choices.0: should not begin with '-'"),
    (MINIMAL, "arguments: {a: {choices: [x]}}", "arguments.a.choices: only an argument of type choice has choices"),
    (MINIMAL, "arguments: {a: {type: choice, choices: [x], default: y}}", "arguments.a.default: should be 'x'"),
    (MINIMAL, "arguments: {a: {type: integer, default: many}}", "arguments.a.default: should be a valid integer"),
    (MINIMAL, "arguments: {a: {type: duration, default: 5}}", "arguments.a.default: should be a duration"),
    (MINIMAL, "arguments: {a: {default: -x}}", "arguments.a.default: should not begin with '-'"),
    (MINIMAL, "arguments: {a: {type: time, default: 2026-11-24}}", "arguments.a.default: should be one value; write it in quotes"),
    (MINIMAL, "arguments: {a: {default: x, required: true}}", "arguments.a.required: an argument with a default is never missing"),
    (MINIMAL, "arguments: {a: {type: secret, default: x}}\nstdin_secrets: [a]", "arguments.a.default: a secret cannot stand in a file"),
    (MINIMAL, "arguments: {a: {type: secret}}", "arguments.a: no script receives this secret; add 'stdin_secrets: [a]'"),
    (MINIMAL, "arguments: {a: {}}\nstdin_secrets: [a]", "line 6, stdin_secrets.0: 'a' should be an argument with 'type: secret'"),
    (MINIMAL, "stdin_secrets: [b]", "stdin_secrets.0: 'b' should be an argument with 'type: secret'"),
    (MINIMAL, "undo: [./restart.sh, '{env}']", "line 5, undo.1: names {env}, which is not an argument; declare it"),
    (MINIMAL, "undo: [./restart.sh, '{ env }']", "undo.1: has a brace that is not '{argument}'; write '{{' for a plain '{'"),
    (MINIMAL, "undo: [./restart.sh, 'a}']", "undo.1: has a brace that is not '{argument}'; write '}}'"),
    (MINIMAL, "undo: [./restart.sh, '{a.__class__}']", "undo.1: has a brace that is not"),
    (MINIMAL, "undo: ['./{a}.sh']\narguments: {a: {}}", "undo.0: the program is fixed and names no argument"),
    (MINIMAL, "undo: []", "undo: List should have at least 1 item"),
    (MINIMAL, "undo: ./restart.sh", "undo: should be a valid list"),
    (MINIMAL, "undo: [./restart.sh, 5]", "undo.1: should be text; write it in quotes"),
    (MINIMAL, 'undo: [./restart.sh, "a\\0b"]', "undo.1: should match"),
    (MINIMAL, "undo: [./restart.sh, '{a}']\narguments: {a: {type: secret}}\nstdin_secrets: [a]", "names the secret {a}, which anybody"),
    (MINIMAL, "undo: [/bin/sh, -c, x]", "undo.0: '/bin/sh' should be a file in the runbook's folder, written relative to it"),
    (MINIMAL, "undo: [../restart.sh]", "undo.0: '../restart.sh' should be a file in the runbook's folder"),
    (MINIMAL, "undo: [lib/../../x]", "undo.0: 'lib/../../x' should be a file in the runbook's folder"),
    (MINIMAL, "undo: ['']", "undo.0: '' should be a file in the runbook's folder"),
    (MINIMAL, "undo: [.]", "undo.0: '.' should be a file in the runbook's folder"),
    (MINIMAL, "undo: [./gone.sh]", "undo.0: './gone.sh' cannot be read (No such file or directory); create it beside the runbook"),
    (MINIMAL, "undo: [lib.sh]", "undo.0: lib.sh is not executable; run 'chmod +x lib.sh'"),
    (MINIMAL, "undo: [outside]", "undo.0: 'outside' is a link that leads out of the runbook's folder"),
    (MINIMAL, "undo: [folder]", "undo.0: 'folder' should be a file; list each file of a folder"),
    (MINIMAL, "undo: [bare]", "undo.0: bare should begin with '#!' and its interpreter, for instance '#!/bin/sh'"),
    (MINIMAL, "files: [folder]", "files.0: 'folder' should be a file; list each file of a folder"),
    (MINIMAL, "files: [pipe]", "files.0: 'pipe' should be a file"),
    (MINIMAL, "files: [lib.sh, /etc/hostname]", "files.1: '/etc/hostname' should be a file in the runbook's folder"),
    (MINIMAL, "files: [huge]", "files: the files together are larger than 16 MiB"),
    (MINIMAL, "timeout: 300", "timeout: should be a duration such as 90s, 5m"),
    (MINIMAL, "timeout: 0s", "timeout: should be from 1s to 1d"),
    (MINIMAL, "timeout: 2d", "timeout: should be from 1s to 1d"),
    (MINIMAL, "risk: huge", "risk: should be 'read', 'low', 'medium', 'high' or 'critical'"),
    (MINIMAL, "slash: 'yes'", "slash: should be a valid boolean"),
    (MINIMAL, "environment: {HOME: x}", "environment.HOME: is always the fresh folder"),
    (MINIMAL, "environment: {'A=B': x}", "environment.A=B: a variable's name is letters, digits and _"),
    (MINIMAL, "environment: {A: 1}", "environment.A: should be text; write it in quotes"),
    (MINIMAL, "rehearsal: {}", "line 5, rehearsal: tries the undo, and there is none; say how it is taken back with undo"),
    (MINIMAL, "undo: [./restart.sh]\nrehearsal: {colour: red}", "rehearsal: colour"),
    (MINIMAL, "approval: {by: nobody}", "permission 'nobody' should read 'bundle:verb'"),
    (MINIMAL, "approval: {by: a:b, count: 0}", "count should be at least 1"),
    (MINIMAL, "approval: {by: a:b, when: {env: prod}}", "its approval names 'env', which is not an argument"),
    (MINIMAL, "approval: {by: a:b, cound: 1}", "approval.cound: is not a key here; did you mean 'count'?"),
    (MINIMAL, "approval: {by: a:b, when: {env: prd}}\narguments: {env: {type: choice, choices: [prod]}}", "its approval can never apply"),
    (MINIMAL.replace("ops:restart", "restart"), "", "permission 'restart' should read 'bundle:verb'"),
    (MINIMAL.replace("restart-service", "Restart Service"), "", "a name is one or two lower-case words"),
    (MINIMAL.replace("Restart one service.", "' '"), "", "help: should have at least 1 character"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "more", "sentence"), REFUSED)
def test_a_wrong_runbook_is_refused_with_file_line_key_and_fix(filled: Folder, text: str, more: str, sentence: str) -> None:
    (filled.path / "folder").mkdir()
    (filled.path / "outside").symlink_to(Path(__file__))
    (filled.path / "bare").write_text("echo x")
    (filled.path / "bare").chmod(0o755)
    os.mkfifo(filled.path / "pipe")
    if "huge" in more and "files" in more:
        with (filled.path / "huge").open("wb") as huge:
            huge.truncate(17 * 1024 * 1024)
    filled.runbook(text, more)
    with pytest.raises(RunbookError) as refused:
        filled.load()
    assert sentence in str(refused.value)
    assert str(refused.value).startswith("restart.yaml")
    assert "\n" not in str(refused.value)


def test_two_runbooks_cannot_be_one_command(filled: Folder) -> None:
    filled.runbook(name="a.yaml")
    filled.runbook(name="b.yml")
    with pytest.raises(RunbookError, match=r"b\.yml, line 1, command: 'restart-service' is the command of a\.yaml too; choose another"):
        load_runbooks(filled.path)


def test_a_script_that_is_missing_names_the_runbook(folder: Folder) -> None:
    folder.runbook()
    with pytest.raises(RunbookError, match=r"restart\.yaml, line 4, run\.0: '\./restart\.sh' cannot be read"):
        folder.load()


def test_a_file_too_long_for_a_runbook_is_refused_unread(filled: Folder) -> None:
    filled.runbook(MINIMAL, "# " + "x" * 70_000)
    with pytest.raises(RunbookError, match="is longer than 64 KiB; move data to a file"):
        filled.load()


def test_a_link_inside_the_folder_is_followed(filled: Folder) -> None:
    """Kubernetes mounts configuration as links within the mounted folder."""
    filled.script("true", "data/real.sh")
    (filled.path / "linked.sh").symlink_to("data/real.sh")
    filled.runbook(MINIMAL.replace("./restart.sh", "./linked.sh"))
    assert filled.load().code_version
