"""Sides measured in turn, round after round, so that a busy minute of the machine hits all of them alike."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Sampler = Callable[[], Awaitable[Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of one value for each round, and how far the rounds lay apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """From one value for each round."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, unit included in its name: for each side that has it, one value for each round; for each `missing` side, why."""

    name: str
    rounds: Mapping[str, Sequence[float]]
    missing: Mapping[str, str] = field(default_factory=dict)

    def spread(self, side: str) -> Spread:
        """The values of one side."""
        return Spread.of(self.rounds[side])

    def ratio(self, side: str, *, over: str) -> Spread | None:
        """How many times the value of `over` the value of `side` is, compared within each round; None where one was ever zero."""
        pairs = list(zip(self.rounds[side], self.rounds[over], strict=True))
        if any(below <= 0 for _, below in pairs):
            return None
        return Spread.of([above / below for above, below in pairs])

    def line(self) -> str:
        """One line for a table: every side with its spread, and the ratio of the first side to each other one."""
        first, *others = self.rounds
        cells = [f"{first} {_shown(self.spread(first))}"]
        for other in others:
            ratio = self.ratio(first, over=other)
            cells.append(f"{other} {_shown(self.spread(other))}" + (f" = {_shown(ratio)}x" if ratio else ""))
        cells += [f"{other} not measured: {why}" for other, why in self.missing.items()]
        return f"{self.name}: " + " | ".join(cells)


async def interleaved(samplers: Mapping[str, Sampler], *, rounds: int) -> list[Figure]:
    """Sample A B A B …; a sampler returns its figures by name. Not every side has to have every figure."""
    values: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for side, sample in samplers.items():
            for name, value in (await sample()).items():
                values.setdefault(name, {}).setdefault(side, []).append(value)
    return [Figure(name, by_side) for name, by_side in values.items()]


def shown(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _shown(spread: Spread) -> str:
    return f"{shown(spread.median)} [{shown(spread.low)}-{shown(spread.high)}]"
