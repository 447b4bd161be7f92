"""A run as a card: short, with nothing on it that its reader may not see."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.stories import FALLBACK_LENGTH, MOST_LINES, Facts, asked, card_of
from countersign import RunStatus
from countersign.approvals import Approval
from countersign.replies import Card
from countersign.runs import FINISHED
from store.approvals import ApprovalRequestRow, DecisionRow
from store.journals import Phase, StepRow, StepState
from store.runs import RunRow
from store.targets import Earlier

ID = UUID("01978a7e-0000-7000-8000-000000000001")
UNTIL = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)


def run_of(status: RunStatus = RunStatus.awaiting_approval, **more: Any) -> RunRow:
    fields: dict[str, Any] = {
        "id": ID,
        "number": 7,
        "command": "deploy",
        "status": status.value,
        "risk": 3,
        "visibility": "staff",
        "owner": "",
        "asker": "ada",
        "arguments": {"service": "api", "note": "two words", "force": True, "code": {"$secret": "f" * 64}, "none": None},
        "reason": "",
        "dry_run": False,
        "plan": plan_of(1),
        "digest": "d" * 64,
        "revision": 1,
        "outcome": "",
    }
    return RunRow(**fields | more)


def plan_of(steps: int, **more: Any) -> dict[str, Any]:
    one = {"title": "move(api)", "undo": None}
    return {"summary": "api moves to v2", "steps": [one] * steps, "fields": [], "preview": "", "warning": "", "watched": {}} | more


def request_of(count: int = 2) -> ApprovalRequestRow:
    rule = Approval(by="deploy:approve", count=count).as_json()
    return ApprovalRequestRow(id=ID, run_id=ID, digest="d" * 64, rule=rule, expires_at=UNTIL, state="open")


def decision(person: str, verdict: str = "approve", reason: str = "") -> DecisionRow:
    return DecisionRow(person=person, verdict=verdict, reason=reason)


def step(state: StepState, *, phase: Phase = Phase.do, position: int = 0, **more: Any) -> StepRow:
    return StepRow(position=position, phase=phase.value, state=state.value, **{"error": "", "progress": None} | more)


def facts_of(run: RunRow, **more: Any) -> Facts:
    return Facts(**{"run": run, "request": None, "decisions": [], "steps": [], "lines": []} | more)


def lines_of(card: Card) -> int:
    """How many lines a reader sees; short fields stand two in a row, as Slack and the browser set them."""
    return 1 + len(card.text.splitlines()) + (len(card.fields) + 1) // 2 + len(card.code.splitlines())


def test_a_card_that_waits_says_who_what_and_until_when() -> None:
    card = card_of(facts_of(run_of(), request=request_of(), decisions=[decision("lin")]))
    assert card.title == '#7 deploy service=api note="two words" force=yes code=••••••'
    assert [(one.label, one.value) for one in card.fields] == [
        ("Asked by", "ada"),
        ("State", "waiting for approval"),
        ("Approvals", "1 of 2: lin"),
        ("Until", "2026-11-24 22:00 UTC"),
    ]
    assert card.text.splitlines() == ["api moves to v2", "Cannot be undone: move(api)"]
    assert [(one.label, one.digest, bool(one.confirm)) for one in card.buttons] == [
        ("Approve", "d" * 64, True),
        ("Deny", "d" * 64, False),
        ("Edit", "", False),
        ("Details", "", False),
        ("Cancel", "", False),
    ]
    assert card.buttons[0].confirm.startswith("Approve deploy service=api")
    assert card.fallback == "ada asks: deploy: api moves to v2 · until 22:00 UTC"


@pytest.mark.parametrize("status", list(RunStatus))
@pytest.mark.parametrize("details", [False, True])
def test_every_status_has_words_and_only_fitting_buttons(status: RunStatus, details: bool) -> None:
    card = card_of(facts_of(run_of(status), request=request_of()), details=details)
    labels = {one.label for one in card.buttons}
    assert ("Approve" in labels) == (status is RunStatus.awaiting_approval)
    assert ("Cancel" in labels) == (status not in FINISHED and status is not RunStatus.interrupted)
    assert ("Undo" in labels) == (status is RunStatus.interrupted)
    assert ("Details" in labels) != details
    assert all(one.target == str(ID) for one in card.buttons)
    assert len(card.fallback) <= FALLBACK_LENGTH


TEXTS = st.text(max_size=400) | st.just("x" * 3_000) | st.just("a\nb\r\nc " * 50)
ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=12), TEXTS | st.booleans() | st.none() | st.lists(TEXTS, max_size=3), max_size=8)


@given(
    st.sampled_from(RunStatus),
    ARGUMENTS,
    st.integers(1, 40),
    st.lists(TEXTS, max_size=20),
    TEXTS,
    TEXTS,
    TEXTS,
    st.booleans(),
)
def test_a_card_is_short_whatever_it_tells(
    status: RunStatus, arguments: dict[str, Any], steps: int, lines: list[str], summary: str, outcome: str, preview: str, dry: bool
) -> None:
    plan = plan_of(steps, summary=" ".join(summary.split())[:300], preview=preview)
    run = run_of(status, arguments=arguments, plan=plan, outcome=outcome, dry_run=dry)
    journal = [
        step(StepState.done, position=0),
        step(StepState.calling, position=1, progress={"done": 1, "total": 4, "note": summary[:80]}),
    ]
    card = card_of(facts_of(run, request=request_of(), steps=journal, lines=lines))
    assert len(card.fallback) <= FALLBACK_LENGTH
    assert len(card.fallback.splitlines()) <= 1
    assert len(card.title) <= 150
    assert len(card.code) <= 2_800
    assert all(len(one.label) <= 75 for one in card.buttons)


@given(st.sampled_from(RunStatus), st.integers(1, 40), st.lists(st.just("one line of the log"), max_size=20), st.integers(0, 60))
def test_a_card_has_at_most_ten_lines(status: RunStatus, steps: int, lines: list[str], previewed: int) -> None:
    plan = plan_of(steps, preview="\n".join(["- a line"] * previewed), warning="It never ran there.", changed=["now: v3 → v2"] * 9)
    journal = [step(StepState.done, position=one) for one in range(steps)]
    run = run_of(status, plan=plan, reason="it is due", outcome="Something was said.")
    card = card_of(facts_of(run, request=request_of(), decisions=[decision("lin")], steps=journal, lines=lines))
    assert lines_of(card) <= MOST_LINES == 10
    if status is RunStatus.awaiting_approval and previewed:
        assert "changed since it was approved: now: v3 → v2" in card.code or "more" in card.code
    if lines and status is RunStatus.failed:
        assert card.code.endswith(lines[-1])


def test_details_tell_the_rest() -> None:
    plan = plan_of(
        12, preview="\n".join(f"- line {one}" for one in range(12)), fields=[{"label": f"F{one}", "value": "v"} for one in range(9)]
    )
    facts = facts_of(run_of(plan=plan), request=request_of(), lines=[f"log {one}" for one in range(12)])
    short, whole = card_of(facts), card_of(facts, details=True)
    assert "… and" in short.code
    assert len(short.fields) == 6
    assert whole.code.splitlines() == [
        *["· move(api)"] * 12,
        *(f"- line {one}" for one in range(12)),
        *(f"log {one}" for one in range(12)),
    ]
    assert len(whole.fields) == 4 + 9


def test_approvers_see_which_steps_are_watched_and_which_are_looked_up_when_nobody_knows() -> None:
    guard, lookup = {"check": {"title": "is_well()"}, "for": "10m"}, {"check": {"title": "find(api)"}, "after": "5s"}
    more = [{}, {"lookup": lookup}, {"guard": guard}, {"lookup": lookup, "guard": guard}]
    plan = plan_of(1) | {"steps": [{"title": "move(api)", "undo": None} | one for one in more]}
    lines = ["· move(api)", "  ◷ looked up if in doubt", "  ◷ watched for 10m", "  ◷ watched for 10m, looked up if in doubt"]
    card = card_of(facts_of(run_of(plan=plan), request=request_of()))
    assert card.code.splitlines() == [lines[0], *(lines[0] + one for one in lines[1:])]
    journal = [step(StepState.done, position=n) for n in range(4)]
    assert card_of(facts_of(run_of(RunStatus.succeeded, plan=plan), steps=journal)).code.splitlines() == ["✓ move(api)"] * 4


@given(st.text(min_size=5, alphabet="abcdefghijk"), st.sampled_from(RunStatus))
def test_a_private_run_shows_on_a_shared_card_only_that_it_exists(word: str, status: RunStatus) -> None:
    hidden = f"zz{word}zz"
    plan = plan_of(1, summary=hidden, preview=hidden, warning=hidden, fields=[{"label": hidden, "value": hidden}])
    run = run_of(status, visibility="private", arguments={"service": hidden}, plan=plan, outcome=hidden, reason=hidden)
    facts = facts_of(
        run, request=request_of(), decisions=[decision("lin", "deny", hidden)], lines=[hidden], steps=[step(StepState.failed, error=hidden)]
    )
    card = card_of(facts, shared=True)
    assert hidden not in card.model_dump_json()
    assert not card.buttons
    assert card.title == "#7 deploy"
    assert hidden in card_of(facts).model_dump_json()


def test_a_run_of_staff_is_shown_whole_in_a_channel() -> None:
    facts = facts_of(run_of(), request=request_of())
    assert card_of(facts, shared=True) == card_of(facts)


@pytest.mark.parametrize(
    ("journal", "line"),
    [
        ([], "· move(api)"),
        ([step(StepState.calling)], "▸ move(api)"),
        ([step(StepState.calling, progress={"done": 1, "total": 4, "note": "pods"})], "▸ move(api)  ██░░░░░░░░ 25% pods"),
        ([step(StepState.calling, progress={"done": 9, "total": 4, "note": ""})], "▸ move(api)  ██████████ 100%"),
        ([step(StepState.calling, progress={"done": 0, "total": 4, "note": ""})], "▸ move(api)  ░░░░░░░░░░ 0%"),
        ([step(StepState.calling, progress={"done": 1, "total": 0, "note": ""})], "▸ move(api)"),
        ([step(StepState.calling, progress={"done": 0, "total": 0, "note": "its turn"})], "▸ move(api)  its turn"),
        ([step(StepState.done)], "✓ move(api)"),
        ([step(StepState.failed, error="No.")], "✗ move(api): No."),
        ([step(StepState.not_done)], "· move(api)"),
        ([step(StepState.done), step(StepState.calling, phase=Phase.undo)], "✓ move(api) ↩ undoing"),
        ([step(StepState.done), step(StepState.done, phase=Phase.undo)], "✓ move(api) ↩ undone"),
        ([step(StepState.done), step(StepState.failed, phase=Phase.undo)], "✓ move(api) ↩ undo failed"),
    ],
)
def test_how_far_a_step_is(journal: list[StepRow], line: str) -> None:
    assert card_of(facts_of(run_of(RunStatus.running), steps=journal)).code == line


def test_who_denied_and_a_self_approval_are_said() -> None:
    denied = card_of(facts_of(run_of(RunStatus.denied), request=request_of(), decisions=[decision("kim", "deny", "not today")]))
    assert ("Denied by", "kim: not today") in [(one.label, one.value) for one in denied.fields]
    alone = card_of(facts_of(run_of(), request=request_of(1), decisions=[decision("ada")]))
    assert ("Approvals", "1 of 1: ada (self-approved)") in [(one.label, one.value) for one in alone.fields]


def test_what_the_world_changed_is_said_before_people_are_asked_again() -> None:
    card = card_of(facts_of(run_of(plan=plan_of(1, changed=["current: v1 → v3"])), request=request_of()))
    assert card.code.splitlines() == ["· move(api)", "changed since it was approved: current: v1 → v3"]


def test_secrets_are_dots_in_what_was_asked() -> None:
    assert asked(run_of(arguments={"code": {"$secret": "f" * 64}})) == "deploy code=••••••"


def stepped_up(how: str, address: str = "https://ops.example.test") -> Card:
    rule = Approval(by="deploy:approve", step_up=how).as_json()  # type: ignore[arg-type]
    request = ApprovalRequestRow(id=ID, run_id=ID, digest="d" * 64, rule=rule, expires_at=UNTIL, state="open")
    return card_of(facts_of(run_of(), request=request, address=address))


def test_where_a_passkey_signs_chats_have_the_way_to_the_browser_and_the_browser_the_buttons() -> None:
    card = stepped_up("passkey")
    signed = [one.intent for one in card.buttons if one.signed]
    assert (signed, {one.only for one in card.buttons if one.signed}) == (["approve", "deny"], {"browser"})
    assert [(one.intent, one.link) for one in card.buttons if not one.only] == [
        ("open", "https://ops.example.test/runs/7"),
        ("edit", ""),
        ("details", ""),
        ("cancel", ""),
    ]
    assert ("Decide", "in the browser, signed with a passkey: https://ops.example.test/runs/7") in [
        (one.label, one.value) for one in card.fields
    ]


def test_after_a_fresh_login_the_buttons_work_in_the_browser_alone() -> None:
    card = stepped_up("login")
    assert [(one.intent, one.only) for one in card.buttons][:3] == [("approve", "browser"), ("deny", "browser"), ("open", "")]
    assert "open" not in {one.intent for one in stepped_up("login", address="").buttons}, "nobody knows where"


def test_what_is_not_used_does_not_show() -> None:
    text = card_of(facts_of(run_of(), request=request_of(), address="https://ops.example.test")).model_dump_json()
    assert "browser" not in text.replace('"only":""', "")
    assert "passkey" not in text


def test_where_an_argument_came_from_is_said_unless_somebody_typed_it() -> None:
    arguments = {"service": "api", "version": "v2", "env": "prod", "force": False}
    origins = {"service": "label", "version": "model", "env": "default", "force": "typed"}
    run = run_of(arguments=arguments, origins=origins, plan=plan_of(1, order=["service", "version", "env", "force"]))
    card = card_of(facts_of(run, request=request_of()))
    assert card.title == "#7 deploy service=api (from a label) version=v2 (proposed by a model) env=prod (default) force=no"
    assert "(default)" not in card.buttons[0].confirm


def test_where_there_is_no_room_defaults_go_unmarked_before_anything_is_cut() -> None:
    arguments = {"service": "x" * 40, "version": "y" * 45, "env": "prod"}
    run = run_of(arguments=arguments, origins={"service": "label", "version": "default", "env": "default"})
    title = card_of(facts_of(run)).title
    assert len(title) <= 150
    assert "(from a label)" in title
    assert "env=prod" in title
    assert "(default)" not in title


def test_who_asked_who_holds_it_and_who_changed_it() -> None:
    run = run_of(edited_by="lin", handed_to="kim")
    votes = [decision("lin"), DecisionRow(person="max", verdict="approve", reason="", on_behalf="eve")]
    shown = {one.label: one.value for one in card_of(facts_of(run, request=request_of(), decisions=votes)).fields}
    assert shown["Asked by"] == "ada (handed to kim, changed by lin)"
    assert shown["Approvals"] == "2 of 2: lin (changed it), max (for eve)"
    own = card_of(facts_of(run_of(edited_by="ada"), request=request_of(), decisions=[decision("ada")]))
    assert {one.label: one.value for one in own.fields}["Approvals"] == "1 of 2: ada (self-approved)"


def test_what_somebody_changed_is_told_apart_from_what_the_world_did() -> None:
    plan = plan_of(1, changed=["version: v2 → v3"], changed_by="lin")
    card = card_of(facts_of(run_of(plan=plan), request=request_of()))
    assert card.code.splitlines() == ["· move(api)", "changed by lin: version: v2 → v3"]


def test_everything_at_once_still_fits_ten_lines() -> None:
    plan = plan_of(9, changed=["a: b → c"] * 5, warning="Mind the gap.", fields=[{"label": "F", "value": "v"}] * 9, preview="- a\n- b")
    run = run_of(plan=plan, outcome="No one can approve this.", reason="it is due", edited_by="lin")
    earlier = Earlier(number=3, status="failed", asker="kim", at=UNTIL, visibility="staff")
    facts = facts_of(run, request=request_of(), decisions=[decision("lin", "deny", "no")], needed="stage 1 of 2: lin", earlier=earlier)
    card = card_of(facts)
    assert lines_of(card) <= MOST_LINES
    assert card.code.splitlines()
    assert {"Asked by", "State", "Approvals", "Still needed", "Until"} <= {one.label for one in card.fields}
    whole = {one.label: one.value for one in card_of(facts, details=True).fields}
    assert whole["Last time"] == "#3 by kim: failed, 2026-11-24 22:00 UTC"
    assert whole["Reason"] == "it is due"


@pytest.mark.parametrize(("status", "start_at"), [(RunStatus.awaiting_approval, None), (RunStatus.queued, UNTIL)])
def test_what_has_not_begun_may_be_changed(status: RunStatus, start_at: datetime | None) -> None:
    card = card_of(facts_of(run_of(status, start_at=start_at)))
    assert "Edit" in [one.label for one in card.buttons]
    nothing_to_change = card_of(facts_of(run_of(status, start_at=start_at, arguments={})))
    assert "Edit" not in [one.label for one in nothing_to_change.buttons]


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.awaiting_approval}))
def test_and_what_has_begun_may_not(status: RunStatus) -> None:
    assert "Edit" not in [one.label for one in card_of(facts_of(run_of(status))).buttons]
