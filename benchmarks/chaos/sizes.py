"""How much of everything: the short storm of `make test` and the long one of `make long`."""

from dataclasses import asdict, dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """`seconds` are those over which the runs are asked for and the faults are spread; everything else is a number of times.

    `mines` is the share of commits at which a process dies. `interrupted` is the share of runs that may end up in front of a person, and
    `recovered` the seconds within which 95 in 100 runs of dead workers go on: of so few as in the short storm more than 5 in 100 may fall
    into one outage of Postgres, so that it leaves room for that.
    """

    name: str
    seconds: float
    runs: int
    kills: int
    pauses: int
    redis_losses: int
    redis_hangs: int
    redis_fills: int
    postgres_stops: int
    postgres_slow: int
    disk_fills: int
    lost_replies: int
    cuts: int
    mines: float
    interrupted: float
    recovered: float
    lease: int = 3

    def part(self, of: int) -> "Size":
        """A storm as fierce as this one that is shorter by this factor."""
        numbers = {name: value // of for name, value in asdict(self).items() if isinstance(value, int) and name not in ("lease", "seconds")}
        return replace(self, name=f"{self.name} / {of}", seconds=self.seconds / of, **numbers)


SHORT: Final = Size(
    name="short",
    seconds=40,
    runs=1_000,
    kills=60,
    pauses=12,
    redis_losses=3,
    redis_hangs=1,
    redis_fills=1,
    postgres_stops=1,
    postgres_slow=1,
    disk_fills=1,
    lost_replies=25,
    cuts=5,
    mines=0.000_3,
    interrupted=0.03,
    recovered=20.0,
)
LONG: Final = Size(
    name="long",
    seconds=780,
    runs=10_000,
    kills=1_010,
    pauses=205,
    redis_losses=20,
    redis_hangs=10,
    redis_fills=10,
    postgres_stops=10,
    postgres_slow=10,
    disk_fills=5,
    lost_replies=300,
    cuts=60,
    mines=0.000_3,
    interrupted=0.01,
    recovered=10.0,
)
