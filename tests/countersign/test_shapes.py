"""The shape of a plan: what is laid out, what may refer to what, and what a branch leaves out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign import Plan, Retry, Step, StepFailed, branch, each, parallel, sequence, step, submit
from countersign.canonical import canonical
from countersign.plans import plan_digest
from countersign.retries import Retrying
from countersign.shapes import Branch, Group, Part, holds, last_result, left_out, outline, positions_in, shape_of
from countersign.values import REF_KEY


@step(idempotent=True)
async def put(ctx: Any, what: Any) -> Any:
    return what


@step(reads=True)
async def look(ctx: Any, what: Any = "") -> bool:
    return True


@step(idempotent=True, retry=Retry(attempts=4, wait="2s", on=(ConnectionError,)))
async def send(ctx: Any, what: str) -> None: ...


def data(*parts: Part) -> dict[str, Any]:
    return Plan("fills it", *parts).as_json()


def digest(*parts: Part) -> str:
    return plan_digest(data(*parts), command="cart", code_version="c", arguments={})


def test_a_plain_list_of_steps_has_no_shape_and_the_digest_it_always_had() -> None:
    plain = data(put("a"), put("b"))
    assert "shape" not in plain
    assert set(plain["steps"][0]) == {"name", "title", "arguments", "idempotent", "timeout", "undo"}
    assert plain == data(sequence(put("a"), sequence(put("b"))))
    assert digest(put("a")) == "ffb8d12e5066040b4f647c0ad4534aa26b60148f8d9a4b9d74f96507ac0d9186"
    assert shape_of(plain) == [0, 1]


def test_a_shape_names_positions_in_the_order_written() -> None:
    probe = look()
    plan = data(
        probe,
        parallel(put("a"), sequence(put("b"), put("c")), at_once=2),
        branch(probe.result["state"].equals("green"), put("d"), sequence(put("e"), put("f"))),
        each("gh", put),
        put("i"),
    )
    assert [one["arguments"]["what"] for one in plan["steps"]] == ["", *"abcdefghi"]
    assert plan["shape"] == [
        0,
        {"parallel": [1, {"sequence": [2, 3]}], "at_once": 2},
        {
            "branch": {REF_KEY: 0, "path": ["state"], "is": "green", "title": "result of look[state] is green"},
            "then": 4,
            "otherwise": {"sequence": [5, 6]},
        },
        7,
        8,
        9,
    ]
    assert [(line.depth, line.text or line.position) for line in outline(shape_of(plan))] == [
        (0, 0),
        (0, "2 in parallel:"),
        (1, 1),
        (1, "in order:"),
        (2, 2),
        (2, 3),
        (0, "if result of look[state] is green:"),
        (1, 4),
        (0, "otherwise:"),
        (1, "in order:"),
        (2, 5),
        (2, 6),
        (0, 7),
        (0, 8),
        (0, 9),
    ]
    canonical(plan)


HOW = st.sampled_from(["in order", "beside", "if"])
PARTS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from("abcdef"),
    lambda inner: st.tuples(HOW, st.lists(inner, min_size=1, max_size=4)),
    max_leaves=12,
)


def part_of(drawn: Any, probe: Step) -> Part:
    if isinstance(drawn, str):
        return put(drawn)
    how, inner = drawn
    parts = [part_of(one, probe) for one in inner]
    if how == "if":
        return branch(probe.result.is_true(), parts[0], sequence(*parts[1:]) if parts[1:] else None)
    return Group(tuple(parts), at_once=1 if how == "in order" else 3)


@given(PARTS, st.booleans())
def test_each_step_has_one_place_and_a_result_says_what_is_left_out(drawn: Any, green: bool) -> None:
    probe = look()
    plan = data(probe, part_of(drawn, probe), put("z"))
    nodes = shape_of(plan)
    assert list(positions_in(nodes)) == list(range(len(plan["steps"])))
    assert [line.position for line in outline(nodes) if line.position is not None] == list(range(len(plan["steps"])))
    out, other = left_out(nodes, {0: green}), left_out(nodes, {0: not green})
    assert not left_out(nodes, {})
    assert not {0, len(plan["steps"]) - 1} & (out | other)
    assert last_result(nodes, {0: green, len(plan["steps"]) - 1: "z"}) == "z"


@given(PARTS, PARTS)
def test_another_shape_is_another_digest(one: Any, other: Any) -> None:
    probe, again = look(), look()
    first, second = (probe, part_of(one, probe)), (again, part_of(other, again))
    assert (digest(*first) == digest(*second)) is (canonical(data(*first)) == canonical(data(*second)))


def test_a_result_may_only_be_used_where_it_is_sure_to_be_there() -> None:
    first, beside = put("a"), put("b")
    wrong: list[list[Part]] = [
        [parallel(first, put(first.result))],
        [look(), branch(look().result.is_true(), put("x"))],
        [parallel(put(beside.result), beside)],
    ]
    probe = look()
    wrong.append([probe, branch(probe.result.is_true(), first), put(first.result)])
    for parts in wrong:
        with pytest.raises(TypeError, match="can only be used by a later step of the same plan"):
            data(*parts)
    data(probe, branch(probe.result.is_true(), sequence(first, put(first.result))))
    data(parallel(first, beside), put(first.result).undone_by(put(beside.result)))


@pytest.mark.parametrize(
    ("result", "state", "expected"),
    [
        ({"s": "green"}, {"is": "green"}, True),
        ({"s": True}, {"is": 1}, False),
        ({"s": "a"}, {"in": ["a", "b"]}, True),
        ({"s": []}, {"true": True}, False),
    ],
)
def test_a_condition_is_a_question_about_a_result(result: Any, state: dict[str, Any], expected: bool) -> None:
    condition = {REF_KEY: 0, "path": ["s"], **state}
    assert holds(condition, {0: result}) is expected
    assert holds(condition | {"not": True}, {0: result}) is not expected
    with pytest.raises((KeyError, IndexError, TypeError)):
        holds(condition, {0: "nothing like it"})


def test_what_only_python_could_decide_is_refused() -> None:
    probe = look()
    condition = ~probe.result["n"].is_in([1, 2])
    assert condition.title == "result of look[n] is not one of 1, 2"
    with pytest.raises(TypeError, match="not known while planning"):
        assert condition
    with pytest.raises(TypeError, match="a branch asks an earlier result"):
        branch(True, put("a"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not StepFunction"):
        parallel(put)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="at_once"):
        parallel(put("a"), at_once=0)
    with pytest.raises(TypeError, match="at most 2000 steps"):
        Plan("too much", each(range(2001), lambda n: put(str(n))))


def test_each_option_of_a_step_is_signed_where_it_is_used() -> None:
    whole = put("a").undone_by(put("b"))
    assert len({digest(whole), digest(whole.guarded(look("x"))), digest(whole.guarded(look("x"), for_="1h")), digest(send("a"))}) == 4
    (guarded,) = data(whole.guarded(look(whole.result), for_="5m", every="10s", failures=2))["steps"]
    assert guarded["guard"]["check"]["arguments"] == {"what": {REF_KEY: 0, "path": []}}
    assert (guarded["guard"]["for"], guarded["guard"]["every"], guarded["guard"]["failures"]) == ("5m", "10s", 2)
    (sent,) = data(send("a"))["steps"]
    assert sent["retry"]["on"] == ["builtins.ConnectionError"]
    (child,) = data(submit("deploy", service="api"))["steps"]
    assert (child["submits"], child["title"]) == (True, "submit(command=deploy, arguments=service: api)")


def test_a_guard_only_looks() -> None:
    with pytest.raises(TypeError, match="only looks"):
        put("a").guarded(put("b"))
    with pytest.raises(TypeError, match="looks at least once"):
        put("a").guarded(look(), for_="10s", every="1m")
    with pytest.raises(TypeError, match="cannot be guarded"):
        put("a").undone_by(put("b").guarded(look()))


@step()
async def pay(ctx: Any, what: Any) -> Any: ...


def test_how_an_outcome_is_looked_up_is_signed_and_only_looks() -> None:
    paid = pay("a")
    asked = paid.looked_up_by(look("x"))
    assert len({digest(paid), digest(asked), digest(paid.looked_up_by(look("y"))), digest(paid.looked_up_by(look("x"), after="9s"))}) == 4
    (there,) = data(put("a").undone_by(asked))["steps"]
    assert (there["undo"]["lookup"]["check"]["name"], there["undo"]["lookup"]["after"]) == (look.name, "5s")
    with pytest.raises(TypeError, match="only looks"):
        paid.looked_up_by(put("a"))
    with pytest.raises(TypeError, match="may be repeated"):
        put("a").looked_up_by(look())
    for after in ("0s", "2m"):
        with pytest.raises(TypeError, match="more than nothing and at most 1m"):
            paid.looked_up_by(look(), after=after)


@pytest.mark.parametrize(
    "wrong", [{"attempts": 1}, {"attempts": 101}, {"factor": 0.5}, {"jitter": 2}, {"wait": "soon"}, {"within": "5"}, {"on": ("OSError",)}]
)
def test_a_retry_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Retry: "):
        Retry(**wrong)


@given(st.integers(1, 200), st.floats(0, 1))
def test_waits_grow_up_to_the_longest(tries: int, chance: float) -> None:
    one = Retrying.of_json(Retry(wait="2s", factor=3, longest="1m", jitter=0.5).as_json())
    assert 1 <= one.wait_after(tries, chance) <= 90
    assert one.wait_after(tries, 0.5) == min(60, 2 * 3 ** min(tries - 1, 64))


def test_exceptions_are_known_by_their_names() -> None:
    one = Retrying.of_json(Retry(on=(OSError, StepFailed)).as_json())
    assert [one.names(error) for error in (ConnectionResetError(), StepFailed("x"), ValueError())] == [True, True, False]


def test_a_branch_in_a_group_is_a_part_like_any_other() -> None:
    probe = look()
    assert isinstance(branch(probe.result.is_true(), parallel(put("a"), put("b"))), Branch)
