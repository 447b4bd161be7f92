import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.canonical import canonical, digest_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def marked(value: Any) -> Any:
    """The value as JSON means it: truth is not the number one, and lists are lists."""
    if isinstance(value, bool):
        return ("truth", value)
    if isinstance(value, list):
        return [marked(one) for one in value]
    if isinstance(value, dict):
        return {key: marked(one) for key, one in value.items()}
    return value


@given(VALUES, VALUES)
def test_two_values_have_the_same_bytes_exactly_when_they_are_equal(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (marked(one) == marked(other))
    assert (digest_of(one) == digest_of(other)) == (marked(one) == marked(other))


@given(VALUES)
def test_what_is_read_back_is_the_value_and_has_the_same_bytes(value: Any) -> None:
    read = json.loads(canonical(value))
    assert marked(read) == marked(value)
    assert canonical(read) == canonical(value)


@given(st.dictionaries(TEXT, VALUES, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_bytes_are_short_sorted_utf8() -> None:
    assert canonical({"b": [1.0, True, None], "a": "é→"}) == '{"a":"é→","b":[1,true,null]}'.encode()


def test_a_digest_is_sha256_in_hexadecimal() -> None:
    assert digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: "a"}, {None: 1}, {1, 2}, b"x", object(), "\ud800", pytest.param(10**5000, id="huge")]
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical({"inside": [value]})


def test_a_value_inside_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="not canonical JSON"):
        canonical(circle)
