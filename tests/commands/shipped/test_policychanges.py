"""The policy changes only by an approved run whose plan is the difference."""

import pytest

from kit.bots import Bot, Member
from store.databases import reading
from store.policies import find_policy

People = tuple[Member, Member, Member, Member]


async def in_force(crew: Bot) -> str:
    async with reading(crew.services.engine) as session:
        found = await find_policy(session)
    assert found is not None
    return found.body


async def test_another_admin_approves_the_difference_and_it_is_in_force(crew: Bot, people: People) -> None:
    ada, lin, max_, _ = people
    assert (await ada.say("cart how='all well'")).succeeded
    new = (await in_force(crew)) + "rules:\n- {name: closed, command: cart, deny: The shop is closed.}\n"
    run = await max_.submit("policy apply", text=new)
    assert run.status == "awaiting_approval"
    card = await crew.card(run)
    assert "+- {name: closed, command: cart, deny: The shop is closed.}" in card.code
    (lately,) = [one.value for one in card.fields if one.label == "Asked lately"]
    assert lately.startswith("Of ")
    assert lately.endswith(" would be decided differently.")
    assert (await ada.say("cart how='all well'")).succeeded
    await max_.approve(run, expect="someone else must approve your request")
    await lin.approve(run)
    assert run.succeeded, run.outcome
    assert "policy:applied" in run.trail
    assert await in_force(crew) == new
    refused = await ada.say("cart how='all well'")
    assert (refused.status, refused.outcome) == ("refused", "The shop is closed.")


async def test_what_was_approved_under_another_policy_is_asked_again(crew: Bot, people: People) -> None:
    _, lin, max_, _ = people
    await max_.ask("whoami")
    old = await in_force(crew)
    first = await max_.submit("policy apply", text=old + "# first\n")
    second = await max_.submit("policy apply", text=old + "# second\n")
    await lin.approve(first)
    assert first.succeeded
    await lin.approve(second)
    assert second.status == "awaiting_approval"
    assert "run:stale" in second.trail
    assert any("policy in force" in line for line in second.changed)
    await lin.approve(second)
    assert await in_force(crew) == old + "# second\n"


BROKEN = "rules:\n- {name: r, command: cart, when: {hw: x}, deny: No.}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("profil: team", "policy line 1: profil is not a key that is known here"),
        ("a: [", "policy line 1: not YAML: "),
        (BROKEN, "The policy has problems: line 2: rule 'r' looks at the argument 'hw', which cart does not have"),
        (
            "profile: strict\npeople: {max: {}}\nroles: {admin: ['*:*']}",
            "Nobody would be an admin under this policy, so nobody could change it",
        ),
        ("profile: team", "Nobody would be an admin under this policy, so nobody could change it again."),
        (
            "people: {max: {groups: [g]}}\nroles: {r: ['countersign:audit']}\ngroups: {g: [r]}",
            "Nobody would be an admin under this policy, so nobody could change it again.",
        ),
        (
            "people: {max: {groups: [g]}}\nroles: {r: ['*:*']}\ngroups: {g: [r]}\nservice_accounts: {ada: {groups: [g]}}",
            "ada was a person until now, and stays one; choose another name.",
        ),
    ],
)
async def test_a_policy_that_cannot_be_lived_with_is_refused(people: People, text: str, sentence: str) -> None:
    _, _, max_, _ = people
    run = await max_.submit("policy apply", text=text)
    assert run.status == "failed"
    assert run.outcome.startswith(sentence)


async def test_the_one_in_force_is_not_applied_again(crew: Bot, people: People) -> None:
    _, _, max_, _ = people
    await max_.ask("whoami")
    run = await max_.submit("policy apply", text=await in_force(crew))
    assert (run.status, run.outcome) == ("failed", "This policy is in force already.")
