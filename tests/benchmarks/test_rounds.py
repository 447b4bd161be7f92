"""Rounds take turns, and ratios are taken within a round."""

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.hubs import OURS
from benchmarks.rounds import Figure, interleaved
from benchmarks.targets import TARGETS, Target, verdict


async def test_sides_take_turns() -> None:
    turns = []

    def side(name: str, value: float) -> Callable[[], Awaitable[Mapping[str, float]]]:
        async def sample() -> Mapping[str, float]:
            turns.append(name)
            return {"rate": value * len(turns)}

        return sample

    (figure,) = await interleaved({"A": side("A", 1), "B": side("B", 10)}, rounds=3)
    assert turns == ["A", "B"] * 3
    assert figure.rounds == {"A": [1, 3, 5], "B": [20, 40, 60]}


def test_the_ratio_compares_rounds_not_medians() -> None:
    figure = Figure("rate, 1/s", {"A": [10, 200, 3000], "B": [5, 100, 1000]})
    ratio = figure.ratio("A", over="B")
    assert ratio
    assert (ratio.median, ratio.low, ratio.high) == (2, 2, 3)
    assert figure.line() == "rate, 1/s: A 200 [10-3000] | B 100 [5-1000] = 2 [2-3]x"
    assert Figure("missing", {"A": [1], "B": [0]}).ratio("A", over="B") is None


def test_a_target_is_met_missed_or_not_measured() -> None:
    figures = [Figure("rate", {OURS: [30, 30, 30], "Bolt": [10, 10, 10]}), Figure("p99, ms", {"Bolt": [1]})]
    rows = [
        Target("rate", "at least", 3, over="Bolt").row(figures),
        Target("rate", "at least", 3.5, over="Bolt").row(figures),
        Target("rate", "at most", 29).row(figures),
        Target("p99, ms", "at most", 5).row(figures),
        Target("rate", "at least", 1, over="nobody").row(figures),
    ]
    assert rows[0] == ("rate", "at least 3x Bolt", "3x", "met")
    assert [row[3] for row in rows] == ["met", "MISSED", "MISSED", "not measured", "not measured"]


def test_a_missing_side_is_named_with_the_reason() -> None:
    figure = Figure("rate", {OURS: [30]}, missing={"Bolt": "it could not be installed"})
    assert figure.line() == f"rate: {OURS} 30 [30-30] | Bolt not measured: it could not be installed"
    assert Target("rate", "at least", 3, over="Bolt").row([figure])[2:] == ("-", "not measured: it could not be installed")


def test_without_our_side_no_target_is_called_met() -> None:
    table = verdict([])
    assert table.count("not measured") == len(TARGETS)
