"""Bodies that two parsers could read differently, and bodies meant to hurt one."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.api.bodies import DEEPEST, strict_json
from bot.api.problems import Problem
from tests.bot.webs import Web

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(JSON)
def test_whatever_is_json_is_read_as_it_is(data: Any) -> None:
    assert strict_json(json.dumps(data).encode()) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(Problem):
        strict_json(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"text":"help","text":"grant"}', "'text' is there twice"),
        (b'{"arguments":{"a":1,"a":2}}', "'a' is there twice"),
        (b'{"arguments":{"a":NaN}}', "NaN"),
        (b'{"arguments":{"a":-Infinity}}', "-Infinity"),
        (b'{"arguments":{"a":1e999}}', "too large"),
        (b"[" * 33 + b"]" * 33, "nested"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 40_000, "nested"),
        (b'\xef\xbb\xbf{"text":"help"}', "not JSON"),
        ('{"text":"help"}'.encode("utf-16"), "UTF-8"),
        (b'{"text":"\xff"}', "UTF-8"),
        (b'{"text":"\\ud800"}', "UTF-8"),
        (b'{"text":"a\\u0000b"}', "NUL"),
        (b'{"a\\u0000":1}', "NUL"),
        (b"", "not JSON"),
        (b'{"text":"help"} {"text":"grant"}', "not JSON"),
        (b"1" * 5_000, "not usable"),
    ],
)
async def test_bad_json_is_refused_in_one_sentence(web: Web, raw: bytes, said: str) -> None:
    async with await web.caller("ada") as ada:
        answer = await ada.post("/api/v1/runs", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_the_deepest_allowed_is_read() -> None:
    assert strict_json(b"[" * DEEPEST + b"]" * DEEPEST)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/json"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
async def test_one_content_type_and_no_other(web: Web, headers: dict[str, str]) -> None:
    async with await web.caller("ada") as ada:
        answer = await ada.post("/api/v1/runs", content=b'{"text":"help"}', headers=headers)
        right = await ada.post("/api/v1/runs", content=b'{"text":"help"}', headers={"content-type": "application/json; charset=UTF-8"})
    assert (answer.status_code, answer.json()["reason"]) == (415, "wrong_content_type")
    assert right.status_code == 200
