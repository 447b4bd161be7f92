"""Ways to have a critical run carried out without its passkey holders. Each is tried many times, a little differently each time."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from commands.passkeys import NewKey, written_key
from countersign.invocations import Door
from countersign.plans import plan_digest
from store.databases import reading
from store.passkeys import find_passkeys
from tests.fakes.authenticators import UP, UV, Authenticator, Key, encoded, request
from tests.stories.raids import SITE, Attempt, Mark, Raid, garbage, spoiled

HOLDERS: Final = ("lin", "kim")


async def say_queued(raid: Raid, mark: Mark) -> None:
    await raid.push(mark)


async def say_running(raid: Raid, mark: Mark) -> None:
    await raid.push(mark, raid.dice.choice(["running", "undoing"]))
    await raid.change(mark, choice=raid.dice.choice([None, "again", "happened", "undo"]))


async def say_submitted_then_queued(raid: Raid, mark: Mark) -> None:
    await raid.push(mark, raid.dice.choice(["submitted", "planning", "stale"]))
    await raid.hint(mark)
    await raid.push(mark)


async def hints_alone(raid: Raid, mark: Mark) -> None:
    await raid.hint(mark, raid.dice.randrange(1, 4))
    await raid.change(mark, due_at=None)
    await raid.push(mark)


async def votes_without_proof(raid: Raid, mark: Mark) -> None:
    for name in (*HOLDERS, "max", "moe", "eve", "ada"):
        await raid.vote(mark, name)
    await raid.push(mark)


async def votes_with_garbage(raid: Raid, mark: Mark) -> None:
    for name in HOLDERS:
        await raid.vote(mark, name, garbage(raid.dice))
    await raid.push(mark)


async def votes_with_a_spoiled_proof(raid: Raid, mark: Mark) -> None:
    """One of two proofs is genuine, the other nearly."""
    first, second = raid.dice.sample(HOLDERS, 2)
    await raid.vote(mark, first, await raid.signed(mark, first))
    await raid.vote(mark, second, spoiled(await raid.signed(mark, second), raid.dice))
    await raid.push(mark)


async def votes_of_another_run(raid: Raid, mark: Mark) -> None:
    """The other run asks for exactly the same, so the digest is the same."""
    twin = await raid.asked("erase", "ada", where=mark.where, what="everything")
    assert twin is not None
    assert twin.digest == mark.digest
    for name in HOLDERS:
        await raid.vote(mark, name, await raid.signed(twin, name))
    await raid.push(mark)


async def votes_of_what_was_done_before(raid: Raid, mark: Mark) -> None:
    for name, proof in raid.loot["done"].items():
        await raid.vote(mark, name, proof)
    await raid.push(mark)


async def denials_as_approvals(raid: Raid, mark: Mark) -> None:
    for name in HOLDERS:
        await raid.vote(mark, name, await raid.signed(mark, name, "deny"))
    await raid.push(mark)


async def one_vote_for_two(raid: Raid, mark: Mark) -> None:
    name = raid.dice.choice(HOLDERS)
    proof = await raid.signed(mark, name)
    await raid.vote(mark, name, proof)
    for other in ("kim", "lin", "moe"):
        await raid.vote(mark, other, proof)
    await raid.push(mark)


async def one_vote_twice(raid: Raid, mark: Mark) -> None:
    name = raid.dice.choice(HOLDERS)
    for _ in range(2):
        await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.push(mark)


async def swapped_credentials(raid: Raid, mark: Mark) -> None:
    """Kim's signature under the id of Lin's key, and the other way round."""
    proofs = {name: await raid.signed(mark, name) for name in HOLDERS}
    for name, other in (("lin", "kim"), ("kim", "lin")):
        theirs = {**proofs[other], "id": proofs[name]["id"], "rawId": proofs[name]["rawId"]}
        response = {part: one for part, one in theirs["response"].items() if part != "userHandle" or raid.dice.random() < 0.5}
        await raid.vote(mark, name, {**theirs, "response": response})
    await raid.push(mark)


async def a_key_of_ones_own(raid: Raid, mark: Mark) -> None:
    """Signed by the raider's key, said to be the holder's."""
    for name in HOLDERS:
        holder = await raid.lodge.holder(name)
        options = await raid.options(mark, name)
        theirs = holder.authenticator.keys
        key = Key("localhost", next(iter(theirs.values())).handle, id=raid.dice.choice([next(iter(theirs)), raid.dice.randbytes(32)]))
        await raid.vote(mark, name, raid.own.sign(options, key=key))
    await raid.push(mark)


async def others_who_hold_keys(raid: Raid, mark: Mark) -> None:
    """Eve and Max have passkeys and help; they may not approve this."""
    for name in ("eve", "max"):
        await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.vote(mark, "lin", await raid.signed(mark, "lin"))
    await raid.push(mark)


async def the_asker_signs_too(raid: Raid, mark: Mark) -> None:
    """Ada may approve what others ask for; the raider says that somebody else has asked for this."""
    await raid.vote(mark, "ada", await raid.signed(mark, "ada"))
    await raid.vote(mark, "kim", await raid.signed(mark, "kim"))
    await raid.change(mark, asker=raid.dice.choice(["ada", "eve", "zoe", "zoe"]))
    await raid.push(mark)


async def signed_elsewhere(raid: Raid, mark: Mark) -> None:
    """The holders were led to another site, or did not touch or unlock their keys."""
    wrong: list[dict[str, Any]] = [
        {"origin": "https://countersign.example"},
        {"origin": "http://localhost:8001"},
        {"origin": "https://localhost:8000"},
        {"rp_id": "evil.example"},
        {"crossOrigin": True},
        {"flags": UP},
        {"flags": UV},
        {"flags": 0},
        {"type": "webauthn.create"},
        {"challenge": encoded(raid.dice.randbytes(32))},
    ]
    for name in HOLDERS:
        await raid.vote(mark, name, await raid.signed(mark, name, **raid.dice.choice(wrong)))
    await raid.push(mark)


async def revoked_keys(raid: Raid, mark: Mark) -> None:
    for name in HOLDERS:
        old: Key = raid.loot["revoked"][name]
        challenge = (await raid.options(mark, name))["publicKey"]["challenge"]
        options = {"publicKey": {"challenge": challenge, "allowCredentials": []}}
        await raid.vote(mark, name, raid.own.sign(options, key=old))
    await raid.sql("UPDATE passkeys SET revoked_at = NULL, revoked_by = NULL")
    await raid.push(mark)


async def copied_keys(raid: Raid, mark: Mark) -> None:
    """Copies of both holders' keys, made before they signed what was done."""
    for name in HOLDERS:
        key: Key = raid.loot["copies"][name]
        options = await raid.options(mark, name)
        await raid.vote(mark, name, raid.own.sign(options, key=key, count=raid.dice.randrange(key.count + 1)))
    await raid.push(mark)


async def a_rule_without_its_step_up(raid: Raid, mark: Mark) -> None:
    await raid.sql("UPDATE approval_requests SET rule = rule - 'step_up' WHERE id = :id", id=mark.request)
    for name in HOLDERS:
        await raid.vote(mark, name)
    await raid.push(mark)


async def a_rule_for_everybody(raid: Raid, mark: Mark) -> None:
    rule = {"by": raid.dice.choice(["countersign:use", "data:erase"]), "count": 1, "expires": "24h", "asker_may": True, "also": []}
    await raid.change_request(mark, rule=rule | raid.dice.choice([{}, {"step_up": "passkey"}, {"step_up": "login"}]))
    for name in ("eve", "ada"):
        await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.push(mark)


async def a_lower_count(raid: Raid, mark: Mark) -> None:
    await raid.sql("UPDATE approval_requests SET rule = jsonb_set(rule, '{count}', '1') WHERE id = :id", id=mark.request)
    name = raid.dice.choice(HOLDERS)
    await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.push(mark)


async def stages_that_were_skipped(raid: Raid, mark: Mark) -> None:
    sets = [{"of": ["group:leads"], "count": 2, "also": []}]
    stages = [
        {"sets": sets, "need": "all", "skip_after": "1m"},
        {"sets": [{"of": ["person:eve"]}], "need": "all", "fallback": ["person:eve"]},
    ]
    await raid.change_request(mark, rule={"stages": stages, "expires": "90d", "step_up": "passkey"})
    await raid.sql("UPDATE approval_requests SET opened_at = opened_at - interval '2 days' WHERE id = :id", id=mark.request)
    await raid.vote(mark, "eve", await raid.signed(mark, "eve"), stage=raid.dice.randrange(2))
    await raid.push(mark)


async def a_rule_that_is_none(raid: Raid, mark: Mark) -> None:
    rules: list[Any] = [{}, [], {"by": "x"}, {"stages": []}, {"count": 0}, {"by": "data:approve", "count": -1}, {"stages": [{"sets": []}]}]
    await raid.change_request(mark, rule=raid.dice.choice(rules))
    await raid.vote(mark, "lin", await raid.signed(mark, "lin"))
    await raid.push(mark)


async def no_risk_at_all(raid: Raid, mark: Mark) -> None:
    await raid.change(mark, risk=raid.dice.randrange(4), owner="eve", visibility="staff")
    for name in HOLDERS:
        await raid.vote(mark, name)
    await raid.push(mark)


async def another_plan(raid: Raid, mark: Mark) -> None:
    """The holders sign what they see; the row says something else, with or without a digest that fits it."""
    row = await raid.one("SELECT plan, arguments, code_version FROM runs WHERE id = :id", id=UUID(mark.id))
    plan: Mapping[str, Any] = row.plan
    plan["steps"][0]["arguments"]["what"] = "even more"
    proofs = {name: await raid.signed(mark, name) for name in HOLDERS[: raid.dice.randrange(3)]}
    await raid.change(mark, plan=plan)
    digest = mark.digest
    if raid.dice.random() < 0.5:
        digest = plan_digest(plan, command="erase", code_version=row.code_version, arguments=row.arguments)
        await raid.change(mark, digest=digest)
        await raid.change_request(mark, digest=digest)
    for name, proof in proofs.items():
        await raid.vote(mark, name, proof, digest=digest)
    await raid.push(mark)


async def other_arguments(raid: Raid, mark: Mark) -> None:
    proofs = {name: await raid.signed(mark, name) for name in HOLDERS}
    await raid.change(mark, arguments={"where": mark.where, "what": "even more"})
    for name, proof in proofs.items():
        await raid.vote(mark, name, proof)
    await raid.push(mark)


async def the_votes_of_a_harmless_run(raid: Raid, mark: Mark) -> None:
    """The holders sign a dimming in good faith; the raider makes its request that of the erasing, or its command the critical one."""
    dimming = await raid.asked("dim", "ada", where=mark.where, what="everything")
    assert dimming is not None
    for name in HOLDERS:
        await raid.vote(mark, name, await raid.signed(dimming, name))
    await raid.change(dimming, command="erase")
    await raid.push(dimming)
    await raid.push(mark)


async def another_command(raid: Raid, mark: Mark) -> None:
    await raid.change(mark, command=raid.dice.choice(["dim", "erase ", "ERASE", "nothing", "policy apply"]))
    await raid.push(mark)
    await raid.hint(mark)
    await raid.change(mark, command="erase")
    await raid.push(mark)


async def other_code(raid: Raid, mark: Mark) -> None:
    await raid.change(mark, code_version=raid.dice.choice(["c" * 64, "", mark.digest]))
    for name in HOLDERS:
        await raid.vote(mark, name)
    await raid.push(mark)


async def a_request_of_ones_own(raid: Raid, mark: Mark) -> None:
    """A later revision, with a rule to the raider's liking, approved by whoever helps."""
    revision = raid.dice.choice([2, 3, 99])
    own = Mark(mark.id, mark.number, mark.digest, uuid4(), mark.where)
    await raid.sql(
        "INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, state, expires_at)"
        " SELECT :id, run_id, :revision, digest, cast(:rule AS jsonb), policy, 'approved', expires_at"
        " FROM approval_requests WHERE id = :old",
        rule='{"by": "countersign:use", "count": 1}',
        id=own.request,
        revision=revision,
        old=mark.request,
    )
    await raid.vote(own, "eve", await raid.signed(own, "eve"))
    await raid.change(mark, revision=revision)
    await raid.push(own)


async def a_run_of_ones_own(raid: Raid, mark: Mark) -> None:
    """A copy of the run that was carried out, with its request and its votes, said to be waiting for a worker."""
    run, ask = uuid4(), uuid4()
    columns = "code_version, command, risk, visibility, asker, door, place, arguments, origins, policy, trace, plan, digest, revision"
    await raid.sql(
        f"INSERT INTO runs (id, status, due_at, {columns}) SELECT :id, 'queued', countersign_now(), {columns} FROM runs WHERE id = :old",  # noqa: S608
        id=run,
        old=UUID(raid.loot["mark"].id),
    )
    await raid.change_request(mark, state="denied")
    await raid.sql(
        "INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, state, expires_at) SELECT :id, :run, revision, digest,"
        " rule, policy, 'approved', expires_at FROM approval_requests WHERE id = :old",
        id=ask,
        run=run,
        old=raid.loot["mark"].request,
    )
    own = Mark(str(run), 0, raid.loot["mark"].digest, ask, mark.where)
    for name, proof in raid.loot["done"].items():
        await raid.vote(own, name, proof)
    await raid.hint(own)
    await raid.push(mark)


async def the_done_once_more(raid: Raid, mark: Mark) -> None:
    await raid.push(raid.loot["mark"], raid.dice.choice(["queued", "running", "undoing"]))
    await raid.hint(raid.loot["mark"])
    await raid.push(mark)


async def forbidden_writes(raid: Raid, mark: Mark) -> None:
    """Every table that decides who may: Postgres says no each time."""
    name, data = raid.dice.randbytes(32), raid.dice.randbytes(100)
    for statement in raid.dice.sample(FORBIDDEN, 4):
        given = {one: value for one, value in {"run": UUID(mark.id), "name": name, "data": data}.items() if f":{one}" in statement}
        await raid.sql(statement, **given)
    await raid.push(mark)


FORBIDDEN: Final = (
    "INSERT INTO passkeys SELECT gen_random_uuid(), :name, :data, 'lin', 'x', 'localhost', 0",
    "UPDATE passkeys SET data = :data WHERE person = 'kim'",
    "UPDATE passkeys SET person = 'lin' WHERE person = 'eve'",
    "DELETE FROM passkeys",
    "DELETE FROM passkey_uses",
    "INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker) SELECT :run, 1, -1, 'do', 'start', 'done', 1, 'w'",
    "UPDATE steps SET result = '1'",
    "INSERT INTO memberships (person, \"group\") VALUES ('eve', 'leads')",
    "INSERT INTO grants (id, subject, role) VALUES (gen_random_uuid(), 'eve', 'approver')",
    "UPDATE people SET active = true, service = false",
    "UPDATE policies SET in_force = false",
    "UPDATE decisions SET proof = NULL, verdict = 'approve'",
    "DELETE FROM decisions",
    "DELETE FROM approval_requests",
    "DELETE FROM runs",
    "UPDATE audit_events SET canonical = canonical",
    "UPDATE clock SET shift = '-1 day'",
    "ALTER TABLE decisions DISABLE TRIGGER ALL",
    "SET ROLE countersign_owner",
    "INSERT INTO standing_uses SELECT gen_random_uuid()",
    "INSERT INTO delegations SELECT gen_random_uuid(), 'lin', 'eve', now(), now() + interval '1 day'",
)


async def an_enrolment_by_a_row(raid: Raid, mark: Mark) -> None:
    """A key of the raider's asked for in a holder's name, approved in the admins' names, and then used."""
    victim = raid.dice.choice(HOLDERS)
    key = Key("localhost", b"")
    asked = await raid.asked("passkey add", victim, label="new phone", key=written_key(NewKey(key.data, 0), SITE))
    assert asked is not None
    for name in ("max", "moe"):
        proof = await raid.signed(asked, "eve") if raid.dice.random() < 0.3 else raid.loot["done"]["lin"]
        await raid.vote(asked, name, raid.dice.choice([None, proof, garbage(raid.dice)]))
    await raid.change_request(
        asked, rule=raid.dice.choice([{"by": "countersign:use", "count": 1}, {"by": "countersign:admin", "count": 1}])
    )
    await raid.push(asked)
    await raid.hint(asked, 2)
    async with reading(raid.web) as session:
        assert key.id not in {one.credential for one in await find_passkeys(session, [victim])}, "the raider's key is enrolled"
    options = await raid.options(mark, victim)
    await raid.vote(mark, victim, raid.own.sign(options, key=key))
    await raid.push(mark)


async def a_policy_of_ones_own(raid: Raid, mark: Mark) -> None:
    """Forged clicks of admins, for a policy in which Eve approves everything, or for a role for her."""
    text = raid.loot["policy"].replace("eve: {groups: [staff]}", "eve: {groups: [staff, leads, admins]}")
    if raid.dice.random() < 0.5:
        asked = await raid.asked("policy apply", "max", text=text)
    else:
        asked = await raid.asked("grant", "max", person="eve", role=raid.dice.choice(["approver", "admin"]))
    assert asked is not None
    await raid.vote(asked, "moe", raid.dice.choice([None, garbage(raid.dice)]))
    await raid.push(asked)
    await raid.hint(asked, 2)
    for name in ("eve", "kim"):
        await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.push(mark)


async def something_in_their_place(raid: Raid, mark: Mark) -> None:
    """A standing approval, or broken glass."""
    await raid.sql(
        "INSERT INTO breaks (run_id, revision, digest, person, reason, door, broken_at, until)"
        " VALUES (:run, 1, :digest, :who, 'an emergency', 'slack', countersign_now(), countersign_now() + interval '1 hour')",
        run=UUID(mark.id),
        digest=mark.digest,
        who=raid.dice.choice(["ada", "max", "lin"]),
    )
    await raid.change_request(mark, via=raid.dice.choice(["break-glass", "standing:1", "policy"]))
    await raid.change(mark, badge="break-glass", risk=raid.dice.choice([1, 4]))
    await raid.push(mark)


async def a_vote_that_was_taken_back(raid: Raid, mark: Mark) -> None:
    """Lin signed and thought better of it."""
    proof = await raid.signed(mark, "lin")
    await raid.vote(mark, "lin", proof)
    await raid.sql("UPDATE decisions SET withdrawn_at = countersign_now() WHERE request_id = :id", id=mark.request)
    await raid.sql("UPDATE decisions SET withdrawn_at = NULL WHERE request_id = :id", id=mark.request)
    await raid.vote(mark, "lin", proof)
    await raid.vote(mark, "kim", await raid.signed(mark, "kim"))
    await raid.push(mark)


async def an_approval_after_a_denial(raid: Raid, mark: Mark) -> None:
    """Lin signed an approval that was never sent, and then a denial; the raider has both."""
    approval = await raid.signed(mark, "lin")
    await raid.vote(mark, "lin", await raid.signed(mark, "lin", "deny"), verdict="deny")
    await raid.sql("UPDATE decisions SET withdrawn_at = countersign_now() WHERE request_id = :id", id=mark.request)
    await raid.vote(mark, "lin", approval)
    await raid.vote(mark, "kim", await raid.signed(mark, "kim"))
    await raid.push(mark)


async def a_run_that_has_ended(raid: Raid, mark: Mark) -> None:
    """Both holders signed; then Ada cancelled, and that is the end."""
    for name in HOLDERS:
        holder = await raid.lodge.holder(name)
        await holder.decide(mark.id)
    ada = await raid.lodge.holder("ada")
    assert (await ada.client.post(f"/api/v1/runs/{mark.id}/cancel")).status_code == 200
    await raid.push(mark, raid.dice.choice(["queued", "running"]))


async def other_times(raid: Raid, mark: Mark) -> None:
    """Votes said to be older than the request, requests said to be open for ever."""
    await raid.sql(
        "UPDATE approval_requests SET opened_at = opened_at - interval '1 year', expires_at = expires_at + interval '1 year',"
        " valid_until = expires_at + interval '2 years' WHERE id = :id",
        id=mark.request,
    )
    moment = (await raid.one("SELECT countersign_now() - interval '1 month' AS at")).at
    for name in HOLDERS:
        await raid.vote(mark, name, raid.loot["done"][name], decided_at=moment)
    await raid.push(mark)


async def other_columns(raid: Raid, mark: Mark) -> None:
    await raid.push(mark)
    await raid.change(mark, dry_run=raid.dice.random() < 0.5, worker="w1", attempt=raid.dice.randrange(5), failures=raid.dice.randrange(20))


async def through_the_doors(raid: Raid, mark: Mark) -> None:
    """With tokens made for the holders: their clicks, and decisions without their keys."""
    for name in HOLDERS:
        holder = await raid.lodge.holder(name)
        proof = raid.dice.choice([None, {}, raid.loot["done"][name], await raid.signed(mark, name, "deny")])
        answer = await holder.send(mark.id, {"verdict": "approve", "digest": mark.digest, "assertion": proof})
        assert answer.status_code >= 400, answer.text
        press = {"intent": "approve", "target": mark.id, "digest": mark.digest}
        await holder.client.post("/api/v1/room/press", json=press)
        await holder.client.post("/api/v1/runs", json={"text": f"approve {mark.number}"})
    await raid.push(mark)


async def somebody_elses_signature(raid: Raid, mark: Mark) -> None:
    """Challenges of the raider's making: for another person, verdict or request."""
    holder = await raid.lodge.holder("eve")
    challenge = (await raid.options(mark, "lin"))["publicKey"]["challenge"]
    options = {"publicKey": {"challenge": challenge, "allowCredentials": [{"id": encoded(one)} for one in holder.authenticator.keys]}}
    proof = holder.authenticator.sign(options)
    await raid.vote(mark, raid.dice.choice(["lin", "eve"]), proof)
    own = Key("localhost", b"")
    await raid.vote(mark, "kim", Authenticator().sign(request(raid.dice.randbytes(32), own), key=own))
    await raid.push(mark)


async def on_behalf_of_a_holder(raid: Raid, mark: Mark) -> None:
    for name, chief in (("eve", "lin"), ("max", "kim")):
        await raid.vote(mark, name, await raid.signed(mark, name), on_behalf=chief)
    await raid.push(mark)


async def a_log_that_says_so(raid: Raid, mark: Mark) -> None:
    """Events about things that did not happen: they are sealed like others, and move nothing."""
    for kind in ("decision:approve", "run:queued", "run:awaiting_approval", "passkey:added", f"door:{Door.browser}"):
        canonical = f'{{"kind":"{kind}","actor":"lin","run":"{mark.id}","detail":{{"digest":"{mark.digest}","revision":1}}}}'
        await raid.sql("INSERT INTO audit_events (id, canonical) VALUES (:id, :canonical)", id=uuid4(), canonical=canonical)
    await raid.push(mark)


ATTEMPTS: Final[tuple[Attempt, ...]] = (
    say_queued,
    say_running,
    say_submitted_then_queued,
    hints_alone,
    votes_without_proof,
    votes_with_garbage,
    votes_with_a_spoiled_proof,
    votes_of_another_run,
    votes_of_what_was_done_before,
    denials_as_approvals,
    one_vote_for_two,
    one_vote_twice,
    swapped_credentials,
    a_key_of_ones_own,
    others_who_hold_keys,
    the_asker_signs_too,
    signed_elsewhere,
    revoked_keys,
    copied_keys,
    a_rule_without_its_step_up,
    a_rule_for_everybody,
    a_lower_count,
    stages_that_were_skipped,
    a_rule_that_is_none,
    no_risk_at_all,
    another_plan,
    other_arguments,
    the_votes_of_a_harmless_run,
    another_command,
    other_code,
    a_request_of_ones_own,
    a_run_of_ones_own,
    the_done_once_more,
    forbidden_writes,
    an_enrolment_by_a_row,
    a_policy_of_ones_own,
    something_in_their_place,
    a_vote_that_was_taken_back,
    an_approval_after_a_denial,
    a_run_that_has_ended,
    other_times,
    other_columns,
    through_the_doors,
    somebody_elses_signature,
    on_behalf_of_a_holder,
    a_log_that_says_so,
)
