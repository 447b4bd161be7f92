"""Secrets taken out of text, whatever they look like by then."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.redactions import DOTS, Redactor, secrets_of_environment

SECRETS = st.text(min_size=4, max_size=40).filter(lambda one: len(one.strip()) >= 4 and len(set(one)) > 2)
AROUND = st.text(alphabet="xyz ", max_size=7)
SHAPES: list[Any] = [
    str,
    lambda one: quote(one, safe=""),
    quote,
    quote_plus,
    lambda one: json.dumps(one)[1:-1],
    lambda one: json.dumps(one, ensure_ascii=False)[1:-1],
    lambda one: repr(one)[1:-1],
    lambda one: one.encode().hex(),
]


@given(SECRETS, AROUND, AROUND, st.sampled_from(SHAPES))
def test_no_shape_of_a_secret_stays(secret: str, before: str, after: str, shape: Any) -> None:
    shaped = shape(secret)
    cleaned = Redactor([secret]).clean(before + shaped + after)
    assert DOTS in cleaned
    assert shaped not in cleaned


@given(st.text(min_size=8, max_size=40), st.binary(max_size=5), st.binary(max_size=5), st.booleans())
def test_no_base64_of_a_secret_stays_wherever_it_begins(secret: str, before: bytes, after: bytes, url_safe: bool) -> None:
    raw = secret.encode()
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    whole = encode(before + raw + after).decode()
    cleaned = Redactor([secret]).clean(whole)
    assert DOTS in cleaned
    assert len(cleaned.replace(DOTS, "")) <= len(whole) - len(raw)


def test_a_secret_inside_another_leaves_nothing_of_either() -> None:
    assert Redactor(["hunter", "hunter2-long"]).clean("a hunter2-long b hunter c") == f"a {DOTS} b {DOTS} c"


def test_lines_of_a_key_are_secrets_too() -> None:
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n  short\n-----END KEY-----"
    cleaned = Redactor([key]).clean("found MIIEpAIBAAKCAQEA in a file, and short")
    assert cleaned == f"found {DOTS} in a file, and short"


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert Redactor(["abc", ""]).clean("abc abcd") == "abc abcd"
    assert Redactor().clean("anything") == "anything"


def test_data_is_cleaned_to_its_keys() -> None:
    found = Redactor(["s3cret"]).clean_data({"s3cret": ["a s3cret", {"deep": ("s3cret", 1, None, True)}], "n": 1.5})
    assert found == {DOTS: [f"a {DOTS}", {"deep": [DOTS, 1, None, True]}], "n": 1.5}


def test_an_errors_whole_story_is_cleaned() -> None:
    try:
        try:
            raise KeyError("s3cret-1")
        except KeyError as error:
            raise ValueError("again s3cret-1") from error
    except ValueError as error:
        told = Redactor(["s3cret-1"]).clean_error(error)
    assert "direct cause" in told
    assert "s3cret-1" not in told


def test_variables_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COUNTERSIGN_SLACK_BOT_TOKEN", "COUNTERSIGN_DATABASE_URL", "COUNTERSIGN_X__API_KEY", "DB_PASSWORD"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("COUNTERSIGN_PORT", "value-of-port")
    monkeypatch.setenv("COUNTERSIGN_PIN_SECRET", "123")
    found = secrets_of_environment()
    assert {"value-of-COUNTERSIGN_SLACK_BOT_TOKEN", "value-of-COUNTERSIGN_X__API_KEY", "value-of-DB_PASSWORD"} <= set(found)
    assert "value-of-port" not in found
    assert "123" not in found
