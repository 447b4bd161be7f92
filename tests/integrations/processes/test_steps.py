"""Real scripts, run as a worker runs them."""

import asyncio
import json
import os
import time

import pytest

from countersign import PlanRefused, Secret, StepFailed
from countersign.plans import plan_digest
from integrations.processes import run_script, run_script_again, scripts, steps
from integrations.processes.guards import GRACE_SECONDS
from integrations.processes.leavings import VARIABLE
from tests.integrations.processes.folders import MINIMAL, Folder, Worker, alive, exists

ASKING = MINIMAL.replace("[./restart.sh]", '[./restart.sh, "{service}", "--env={env}"]') + (
    """
arguments:
  service: {type: choice, choices: [api, web]}
  env: {type: choice, choices: [staging, prod], default: staging}
"""
)


async def test_a_script_gets_its_arguments_and_its_lines_reach_the_log(folder: Folder, worker: Worker) -> None:
    folder.script('echo "restarting $1 in $2"; echo careful >&2; echo "::result {\\"pods\\": 3}"')
    folder.runbook(ASKING)
    plan = await folder.plan(service="api", env="prod")
    assert plan.summary == "restart-service service=api env=prod"
    assert plan.warning == "Countersign cannot show what this script will do."
    assert plan.steps[0].title == "./restart.sh api --env=prod"
    assert await worker.carry_out(plan.steps[0]) == {"pods": 3}
    assert sorted(worker.lines) == ["careful", "restarting api in --env=prod"]


async def test_an_exit_code_is_a_failure_with_the_last_line(folder: Folder, worker: Worker) -> None:
    folder.script("echo fine; echo no such host >&2; exit 3")
    folder.runbook()
    with pytest.raises(StepFailed, match=r"^restart\.sh ended with exit code 3: no such host$"):
        await worker.carry_out((await folder.plan()).steps[0])


async def test_a_script_that_cannot_start_says_why(folder: Folder, worker: Worker) -> None:
    folder.script("#!/nowhere/sh\n")
    folder.runbook()
    with pytest.raises(StepFailed, match=r"exit code 126: \./restart\.sh cannot be started: No such file or directory"):
        await worker.carry_out((await folder.plan()).steps[0])


async def test_nothing_of_the_workers_environment_is_passed_on(folder: Folder, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", "postgresql://canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "canary")
    folder.script("env | sort; pwd; ls -la /proc/self/fd | wc -l")
    folder.runbook(more="environment: {REGION: eu, LANG: C}")
    await worker.carry_out((await folder.plan()).steps[0])
    told = dict(line.split("=", 1) for line in worker.lines if "=" in line)
    assert set(told) - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG", "REGION", VARIABLE}
    assert (told["PATH"], told["LANG"], told["REGION"]) == ("/usr/bin:/bin", "C", "eu")
    assert told["HOME"] in worker.lines
    assert not exists(told["HOME"])


async def test_no_descriptor_of_the_worker_is_passed_on(folder: Folder, worker: Worker) -> None:
    folder.script("readlink /proc/$$/fd/* || true")
    folder.runbook()
    with (folder.path / "restart.yaml").open() as secret_file:
        os.set_inheritable(secret_file.fileno(), True)
        await worker.carry_out((await folder.plan()).steps[0])
    assert sorted({line.partition(":")[0].rpartition("/")[2] for line in worker.lines}) == ["null", "pipe", "restart.sh"]


async def test_the_copy_is_read_only_and_private(folder: Folder, worker: Worker) -> None:
    folder.script("rmdir artifacts-*; stat -c '%a %n' . ./* lib/*; cat lib/data")
    folder.script("said by data", "lib/data", mode=0o644)
    folder.script("", "lib/more.sh", mode=0o755)
    folder.runbook(more="files: [lib/data, ./lib/more.sh]")
    await worker.carry_out((await folder.plan()).steps[0])
    assert worker.lines[:3] == ["700 .", "700 ./lib", "500 ./restart.sh"]
    assert sorted(worker.lines[3:5]) == ["400 lib/data", "500 lib/more.sh"]
    assert worker.lines[-1] == "said by data"


async def test_what_was_planned_is_what_runs_although_the_file_changed_since(folder: Folder, worker: Worker) -> None:
    folder.script("echo approved")
    folder.runbook()
    before = folder.load()
    plan = await folder.plan()
    folder.script("echo something else")
    after = folder.load()
    await worker.carry_out(plan.steps[0])
    assert worker.lines == ["approved"]
    assert before.code_version != after.code_version
    assert plan.steps[0].arguments["code"] == before.code_version


async def test_a_version_that_is_not_here_is_refused(folder: Folder, worker: Worker) -> None:
    folder.script("echo never")
    folder.runbook()
    folder.load()
    with pytest.raises(StepFailed, match=r"restart\.sh is not here in the approved version 000000000000; nothing was started"):
        await worker.carry_out(run_script(argv=["./restart.sh"], code="0" * 64))


async def test_bytes_that_do_not_match_their_version_are_refused(folder: Folder, worker: Worker) -> None:
    folder.script("echo approved")
    folder.runbook()
    plan = await folder.plan()
    bundle = scripts.held(plan.steps[0].arguments["code"], script="x")
    assert isinstance(bundle.files, dict)
    bundle.files["restart.sh"] = scripts.File(b"#!/bin/sh\necho tampered\n", executable=True)
    with pytest.raises(StepFailed, match="nothing was started"):
        await worker.carry_out(plan.steps[0])
    assert worker.lines == []


@pytest.mark.parametrize("argv", [["/bin/sh", "-c", "echo"], ["../x"], ["sh"], ["./data"], []])
async def test_only_a_program_of_the_runbook_is_ever_started(folder: Folder, worker: Worker, argv: list[str]) -> None:
    folder.script("echo never")
    folder.script("data", "data", mode=0o600)
    folder.runbook(more="files: [data]")
    with pytest.raises(StepFailed, match="is not a program of this runbook"):
        await worker.carry_out(run_script(argv=argv, code=folder.load().code_version))


async def test_secrets_go_to_standard_input_and_nowhere_else(folder: Folder, worker: Worker) -> None:
    folder.script("while IFS='=' read -r name value; do echo \"$name is ${#value} long: $value\"; done; exit 1")
    folder.runbook(MINIMAL, "arguments: {token: {type: secret}, other: {type: secret, required: false}}\nstdin_secrets: [token, other]")
    plan = await folder.plan(token="canary-4711")
    assert "canary" not in plan.summary + plan.steps[0].title + str(plan.as_json())
    with pytest.raises(StepFailed) as failed:
        await worker.carry_out(plan.steps[0])
    assert worker.lines == ["token is 11 long: ••••••"]
    assert "canary" not in str(failed.value)
    assert plan.steps[0].arguments["stdin"] == Secret("token=canary-4711\n")


async def test_a_script_may_leave_its_secrets_unread(folder: Folder, worker: Worker) -> None:
    folder.script("exec 0<&-; echo done")
    folder.runbook(MINIMAL, "arguments: {token: {type: secret}}\nstdin_secrets: [token]")
    await worker.carry_out((await folder.plan(token="x" * 8_000)).steps[0])
    assert worker.lines == ["done"]


async def test_progress_lines_move_the_bar_and_do_not_fill_the_log(folder: Folder, worker: Worker) -> None:
    folder.script(
        'echo "::progress 3/10 draining"; echo "::progress 10/10"; echo "::progress x/1"; echo "::progress 1/0"; echo "::result [1]"'
    )
    folder.runbook()
    assert await worker.carry_out((await folder.plan()).steps[0]) is None
    assert worker.steps == [(3, 10, "draining"), (10, 10, "")]
    assert worker.lines == ["::progress x/1", "::progress 1/0", "::result [1]"]


async def test_a_script_that_may_be_repeated_is_the_other_step_with_its_own_time_limit(folder: Folder) -> None:
    folder.script("true")
    folder.runbook(MINIMAL, "idempotent: true\ntimeout: 5m\nundo: [./restart.sh, --back]")
    plan = await folder.plan()
    (data,) = plan.as_json()["steps"]
    assert (data["name"], data["idempotent"], data["timeout"]) == (run_script_again.name, True, "5m")
    assert (data["undo"]["name"], data["undo"]["arguments"]["argv"]) == (run_script_again.name, ["./restart.sh", "--back"])
    assert plan.steps[0].undo is not None
    assert plan.steps[0].undo.title == "./restart.sh --back"


async def test_a_time_limit_ends_the_script_and_keeps_its_last_words(folder: Folder, worker: Worker) -> None:
    folder.script("trap 'echo tidied up; exit 0' TERM; echo working; while :; do sleep 0.05; done")
    folder.runbook(MINIMAL, "timeout: 1s")
    with pytest.raises(TimeoutError, match=r"restart\.sh was ended because it took longer than 1s"):
        await worker.carry_out((await folder.plan()).steps[0])
    assert {"working", "tidied up"} <= set(worker.lines)


async def test_cancel_ends_it_within_a_second(folder: Folder, worker: Worker) -> None:
    folder.script("echo working; sleep 60")
    folder.runbook()

    async def cancel(_: str) -> None:
        worker.asked = True

    worker.heard = cancel
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError, match=r"restart\.sh was ended because the run was cancelled: working"):
        await worker.carry_out((await folder.plan()).steps[0])
    assert time.monotonic() - began < GRACE_SECONDS, "it ended when it was asked to"


async def test_a_log_that_cannot_be_written_ends_the_script(folder: Folder, worker: Worker) -> None:
    folder.script("echo $$; sleep 60")
    folder.runbook()

    async def broken(_: str) -> None:
        raise ConnectionError("fenced")

    worker.heard = broken
    with pytest.raises(ConnectionError, match="fenced"):
        await worker.carry_out((await folder.plan()).steps[0])
    assert not alive(int(worker.lines[0]))


async def test_a_preview_is_shown_and_its_digest_is_watched(folder: Folder) -> None:
    folder.script("true")
    plan_script = folder.script('echo "would restart $1"; echo noise >&2; pwd', "plan.sh")
    folder.runbook(ASKING, 'preview: [./plan.sh, "{service}"]')
    first, again = await folder.plan(service="api"), await folder.plan(service="api")
    assert (first.preview, first.warning) == ("would restart api\n.", "")
    assert set(first.watched) == {"preview"}
    assert len(first.watched["preview"]) == 64
    assert first.as_json() == again.as_json()
    version = folder.load().code_version
    text = plan_script.read_text()
    folder.script(text.replace("would", "WOULD"), "plan.sh")
    changed = await folder.plan(service="api")
    assert changed.watched != first.watched
    digests = {plan_digest(one.as_json(), command="r", code_version=version, arguments={}) for one in (first, again, changed)}
    assert len(digests) == 2


async def test_a_long_preview_is_cut_and_says_so_but_all_of_it_is_watched(folder: Folder) -> None:
    folder.script("true")
    folder.runbook(more="preview: [./plan.sh]")
    plans = []
    for last in ("a", "b"):
        folder.script(f"yes line | head -n 2000; echo {last}", "plan.sh")
        plans.append(await folder.plan())
    assert len(plans[0].preview) == 3_000
    assert plans[0].preview == plans[1].preview
    assert plans[0].warning == "The preview is longer than what is shown here."
    assert plans[0].watched != plans[1].watched


async def test_a_preview_gets_no_secret(folder: Folder) -> None:
    folder.script("true")
    folder.script('echo "heard: $(cat)"', "plan.sh")
    folder.runbook(MINIMAL, "arguments: {token: {type: secret}}\nstdin_secrets: [token]\npreview: [./plan.sh]")
    assert (await folder.plan(token="canary")).preview == "heard:"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo no access >&2; exit 4", r"the preview failed: plan\.sh ended with exit code 4: no access"),
        ("yes | head -c 2000000", r"the preview failed: plan\.sh printed more than 1024 KiB"),
        ("sleep 60", r"the preview failed: plan\.sh was ended because it took longer than 0\.3s"),
    ],
)
async def test_a_failing_preview_refuses_the_plan(folder: Folder, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str) -> None:
    if "sleep" in script:
        monkeypatch.setattr(steps, "PREVIEW_SECONDS", 0.3)
    folder.script("true")
    folder.script(script, "plan.sh")
    folder.runbook(more="preview: [./plan.sh]")
    with pytest.raises(PlanRefused, match=sentence):
        await folder.plan()


async def test_a_step_survives_the_way_through_the_database(folder: Folder, worker: Worker) -> None:
    folder.script('echo "$1"')
    folder.runbook(ASKING)
    (data,) = json.loads(json.dumps((await folder.plan(service="web")).as_json()))["steps"]
    await worker.carry_out(run_script(**data["arguments"]))
    assert worker.lines == ["web"]


async def test_files_that_a_script_leaves_are_kept_also_when_it_fails(folder: Folder, worker: Worker) -> None:
    folder.script(
        """
        cd "$COUNTERSIGN_ARTIFACTS_DIR"
        read -r line; secret="${line#token=}"
        echo "user $secret" > report.txt; printf 'a\\0%s' "$secret" > core; printf 'a\\0b' > dump.bin
        ln -s /etc/passwd passwd; mkfifo pipe; mkdir deep; echo x > deep/x; echo x > '.hidden'
        exit 3
        """
    )
    folder.runbook(more="stdin_secrets: [token]\narguments: {token: {type: secret}}")
    with pytest.raises(StepFailed, match="exit code 3"):
        await worker.carry_out((await folder.plan(token=Secret("hunter22"))).steps[0])
    assert worker.files == {"report.txt": "user ••••••\n".encode(), "dump.bin": b"a\0b"}
    assert [line.partition(" ")[0] for line in worker.lines] == ["An", "'core'", "'deep'", "'passwd'", "'pipe'"]
    assert "hunter22" not in "".join(worker.lines)


async def test_a_script_may_remove_the_folder_for_its_files(folder: Folder, worker: Worker) -> None:
    folder.script('rm -rf "$COUNTERSIGN_ARTIFACTS_DIR"')
    folder.runbook()
    await worker.carry_out((await folder.plan()).steps[0])
    assert (worker.files, worker.lines) == ({}, [])
