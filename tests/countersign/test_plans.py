import copy
import itertools
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign import CountersignError, Plan, Secret, Step, ask_review, step
from countersign.canonical import canonical
from countersign.plans import REF_KEY, Ref, plan_digest, resolved
from countersign.replies import Field
from countersign.tasks import Asked


class Env(Enum):
    staging = "st"
    prod = "production"


@step(idempotent=True, timeout="5m")
async def release(ctx: Any, service: str, env: Env, version: str, note: str = "") -> str:
    return version


@step(idempotent=True, timeout="6m")
async def release_slowly(ctx: Any, service: str, env: Env, version: str, note: str = "") -> str:
    return version


@step()
async def reserve(ctx: Any, hosts: list[str], labels: dict[str, str] = {}) -> dict[str, Any]:  # noqa: B006
    return {"ids": hosts}


@step()
async def login(ctx: Any, token: Secret) -> None: ...


def planned(**changes: Any) -> Plan:
    steps = changes.pop("steps", (release("api", Env.prod, "v2").undone_by(release("api", Env.prod, "v1")),))
    return Plan(changes.pop("summary", "api: v1 → v2"), *steps, **changes)


def digest(plan: Plan, *, command: str = "deploy", code: str = "c1", arguments: dict[str, Any] | None = None) -> str:
    return plan_digest(plan.as_json(), command=command, code_version=code, arguments=arguments or {"service": "api"})


def test_equal_plans_have_equal_digests() -> None:
    assert digest(planned()) == digest(planned())


@given(st.text(), st.text())
def test_the_summary_and_what_is_only_shown_are_not_signed(summary: str, preview: str) -> None:
    shown = planned(summary=summary, preview=preview, warning=preview, fields=(Field(label="a", value="b"),))
    assert digest(shown) == digest(planned())


def test_everything_that_is_approved_is_signed() -> None:
    old = release("api", Env.prod, "v1")
    new = release("api", Env.prod, "v2")
    digests = [
        digest(planned()),
        digest(planned(), command="release"),
        digest(planned(), code="c2"),
        digest(planned(), arguments={"service": "web"}),
        digest(planned(watched={"replicas": 3})),
        digest(planned(watched={"replicas": 4})),
        digest(planned(steps=(new,))),
        digest(planned(steps=(new.undone_by(release("api", Env.prod, "v0")),))),
        digest(planned(steps=(release("api", Env.prod, "v3").undone_by(old),))),
        digest(planned(steps=(release("api", Env.prod, "v2", "now").undone_by(old),))),
        digest(planned(steps=(release_slowly("api", Env.prod, "v2").undone_by(old),))),
        digest(planned(steps=(new.undone_by(release_slowly("api", Env.prod, "v1")),))),
        digest(planned(steps=(new.undone_by(old), new))),
        digest(planned(steps=(new, new.undone_by(old)))),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("option", ["name", "idempotent", "timeout"])
@pytest.mark.parametrize("of_undo", [False, True])
def test_each_option_of_a_step_is_signed(option: str, of_undo: bool) -> None:
    data = planned().as_json()
    changed = copy.deepcopy(data)
    (changed["steps"][0]["undo"] if of_undo else changed["steps"][0])[option] = "other"
    signed = [plan_digest(one, command="deploy", code_version="c1", arguments={}) for one in (data, changed)]
    assert signed[0] != signed[1]


FACTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.sampled_from(["0", "1"]) | st.booleans())


@given(FACTS, FACTS)
def test_watched_facts_change_the_digest_exactly_when_they_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = canonical(one) == canonical(other)
    assert (digest(planned(watched=one)) == digest(planned(watched=other))) is same


def test_a_plan_is_plain_data() -> None:
    data = planned(watched={"env": Env.prod, "hosts": {"b", "a"}}).as_json()
    assert data["watched"] == {"env": "prod", "hosts": ["a", "b"]}
    first = data["steps"][0]
    assert first["arguments"] == {"service": "api", "env": "prod", "version": "v2", "note": ""}
    assert (first["idempotent"], first["timeout"]) == (True, "5m")
    assert first["title"] == "release(service=api, env=prod, version=v2, note=)"
    assert first["undo"]["arguments"]["version"] == "v1"
    canonical(data)


def test_a_step_checks_its_arguments_when_it_is_described() -> None:
    assert release("api", "production", version="v2").arguments["env"] is Env.prod  # type: ignore[arg-type]
    with pytest.raises(CountersignError, match="env: should be 'staging' or 'prod'"):
        release("api", "qa", "v2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        (("api", Env.prod, "v2", "", 5), {}, "too many positional arguments"),
        (("api",), {"service": "web"}, "multiple values for argument 'service'"),
        (("api",), {"verson": "v2"}, "unexpected keyword argument 'verson'"),
    ],
)
def test_a_call_that_python_would_refuse_is_refused_with_the_steps_name(args: Any, kwargs: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=f"release: .*{problem}"):
        release(*args, **kwargs)


def test_a_later_step_may_use_an_earlier_result() -> None:
    first = reserve(["a", "b"])
    second = release("api", Env.prod, first.result["ids"][0]).undone_by(release("api", Env.prod, "v1"))  # type: ignore[arg-type]
    data = Plan("two", first, second).as_json()
    stored = data["steps"][1]["arguments"]
    assert stored == {"service": "api", "env": "prod", "version": {REF_KEY: 0, "path": ["ids", 0]}, "note": ""}
    assert data["steps"][1]["title"] == "release(service=api, env=prod, version=result of reserve, note=)"
    assert resolved(stored, {0: {"ids": ["v7"]}}) == {"service": "api", "env": "prod", "version": "v7", "note": ""}


def test_a_result_inside_a_list_or_mapping_is_found_too() -> None:
    first = reserve(["a"])
    second = reserve([first.result["ids"][0], "b"], {"owner": first.result["by"]})  # type: ignore[list-item, dict-item]
    data = Plan("two", first, second).as_json()["steps"][1]
    assert data["title"] == "reserve(hosts=result of reserve, b, labels=owner: result of reserve)"
    assert resolved(data["arguments"], {0: {"ids": ["x"], "by": "ada"}}) == {"hosts": ["x", "b"], "labels": {"owner": "ada"}}


def test_the_other_arguments_are_checked_even_when_one_is_not_known_yet() -> None:
    first = reserve(["a"])
    with pytest.raises(CountersignError, match="env: should be"):
        release("api", "qa", first.result)  # type: ignore[arg-type]
    with pytest.raises(CountersignError, match="service, env: are required"):
        release(version=first.result)  # type: ignore[call-arg, arg-type]


def test_an_undo_may_use_the_result_of_its_own_step() -> None:
    first = reserve(["a"])
    undone = first.undone_by(reserve([first.result["ids"]]))  # type: ignore[list-item]
    assert Plan("one", undone).as_json()["steps"][0]["undo"]["arguments"]["hosts"] == [{REF_KEY: 0, "path": ["ids"]}]


def test_a_result_of_a_later_or_foreign_step_is_refused() -> None:
    first, second = reserve(["a"]), reserve(["b"])
    early = reserve([second.result["ids"]])  # type: ignore[list-item]
    for steps in ((early, second), (first, early)):
        with pytest.raises(TypeError, match="can only be used by a later step of the same plan"):
            Plan("wrong", *steps).as_json()


@pytest.mark.parametrize("path", [["missing"], [5], ["ids", "x"]])
def test_a_result_without_the_part_is_an_error_and_not_a_guess(path: list[Any]) -> None:
    with pytest.raises((KeyError, IndexError, TypeError)):
        resolved({"version": {REF_KEY: 0, "path": path}}, {0: {"ids": []}})


def test_an_undo_of_an_undo_is_refused() -> None:
    one = reserve(["a"])
    with pytest.raises(TypeError, match="an undo cannot have an undo of its own"):
        one.undone_by(reserve(["b"]).undone_by(reserve(["c"])))


def test_a_plan_needs_steps_that_are_steps() -> None:
    with pytest.raises(TypeError, match="needs at least one step; return a Reply"):
        Plan("nothing to do")
    with pytest.raises(TypeError, match="a Plan's steps are calls of @step functions, not StepFunction"):
        Plan("forgot to call it", release)  # type: ignore[arg-type]


def test_a_secret_is_not_in_the_title_and_stays_to_be_sealed() -> None:
    data = Plan("log in", login(Secret("hunter2"))).as_json()
    assert data["steps"][0]["title"] == "login(token=••••••)"
    assert data["steps"][0]["arguments"] == {"token": Secret("hunter2")}
    assert "hunter2" not in repr(data)
    with pytest.raises(ValueError, match="Secret"):
        plan_digest(data, command="login", code_version="c1", arguments={})


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_title_is_one_short_line(version: str) -> None:
    title = release("api", Env.prod, version).title
    assert len(title.splitlines()) == 1
    assert len(title) < 200


def test_a_summary_is_the_first_line_or_else_the_first_step() -> None:
    assert planned(summary=" one\ntwo ").summary == "one"
    assert planned(summary="  ").summary == "release(service=api, env=prod, version=v2, note=)"


@given(st.lists(st.integers(0, 4), max_size=4))
def test_references_keep_their_path(path: list[int]) -> None:
    reference = Ref(reserve(["a"]))
    for part in itertools.chain(path):
        reference = reference[part]
    assert reference.path == tuple(path)


def test_steps_compare_by_identity() -> None:
    one: Step = reserve(["a"])
    assert one != reserve(["a"])
    assert len({one, one, reserve(["a"])}) == 2


@pytest.mark.parametrize(
    "asks",
    [
        ask_review("lin", "Who keeps what", [{"who": "ada", "has": "a role"}]),
        ask_review("lin", "Who keeps what", reserve(["a"]).result, columns=["who"]),
    ],
    ids=["rows", "an earlier result"],
)
def test_a_table_has_its_columns_in_the_order_in_which_they_were_named(asks: Step) -> None:
    asked = Asked.of_json({**asks.arguments, "rows": [{"has": "a role", "who": "ada"}]})
    assert [one.label for one in asked.questions] == ["1. who: ada, has: a role"]
