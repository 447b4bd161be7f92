"""Rates as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.rates import MOST, Rate


@pytest.mark.parametrize(
    ("written", "shown", "seconds"),
    [
        ("30/minute", "30 a minute", 60),
        (" 5 / Second ", "5 a second", 1),
        ("100/10m", "100 in 10m", 600),
        ("2/h", "2 an hour", 3_600),
        ("1/1d", "1 a day", 86_400),
        ("7/1m30s", "7 in 1m30s", 90),
    ],
)
def test_rates_are_read_and_shown(written: str, shown: str, seconds: int) -> None:
    rate = Rate.parse(written)
    assert (str(rate), rate.per.total_seconds()) == (shown, seconds)


@pytest.mark.parametrize(
    "written", ["", "30", "30/", "/minute", "0/minute", "-1/minute", "1.5/minute", "30/month", "30/0s", "5/100d", f"{MOST + 1}/day"]
)
def test_what_is_no_rate_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match=r"30/minute|such as 90s"):
        Rate.parse(written)


@given(st.text(max_size=20))
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError:
        return
    assert 1 <= rate.count <= MOST
