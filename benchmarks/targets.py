"""What the numbers have to be, as ratios of the same rounds wherever there is somebody to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import acks, approvals, audit_verify, handovers, hooks, results, sleeps, steps, storms
from benchmarks.hubs import OURS
from benchmarks.rounds import Figure, shown
from benchmarks.sides.blmove import Blmove


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on our median (`over` is None) or on the median of our ratio to another side; the bound itself is good enough."""

    figure: str
    bound: str
    limit: float
    over: str | None = None

    def row(self, figures: Sequence[Figure]) -> tuple[str, str, str, str]:
        """Figure, what is asked, what was measured, and whether that is met."""
        asked = f"{self.bound} {shown(self.limit)}" + (f"x {self.over}" if self.over else "")
        value = self._value(figures)
        if value is None:
            return self.figure, asked, "-", ": ".join(filter(None, ["not measured", self._why(figures)]))
        met = value >= self.limit if self.bound == "at least" else value <= self.limit
        return self.figure, asked, shown(value) + ("x" if self.over else ""), "met" if met else "MISSED"

    def _value(self, figures: Sequence[Figure]) -> float | None:
        for figure in figures:
            if figure.name == self.figure and {OURS, self.over or OURS} <= figure.rounds.keys():
                spread = figure.ratio(OURS, over=self.over) if self.over else figure.spread(OURS)
                return spread.median if spread else None
        return None

    def _why(self, figures: Sequence[Figure]) -> str:
        """Why the other side is missing, if somebody said so."""
        return next((one.missing.get(self.over or "", "") for one in figures if one.name == self.figure), "")


TARGETS = (
    # Our ack comes after a commit; Bolt's keeps nothing.
    Target(acks.RATE, "at least", 0.5, over=acks.DIRECT),
    Target(acks.IDLE, "at most", 0.5, over=acks.DEFAULT),
    Target(acks.NOT_OK, "at most", 0),
    Target(handovers.P50, "at most", 8, over=Blmove.name),
    Target(handovers.TAIL, "at most", 5),
    Target(handovers.CPU, "at most", 1),
    Target(results.IDLE, "at most", 1 / 12, over=results.NAIVE),
    Target(results.RATE, "at least", 4, over=results.NAIVE),
    Target(results.MISSING, "at most", 0),
    Target(audit_verify.RATE, "at least", 0.7, over=audit_verify.BARE),
    Target(approvals.P99, "at most", 50),
    Target(approvals.INBOX_P99, "at most", 50),
    Target(approvals.EDITED, "at most", 2),
    Target(approvals.NOT_OK, "at most", 0),
    Target(steps.WHOLE, "at most", 0.9, over=steps.DBOS),
    Target(steps.WHOLE, "at most", 0.1, over=steps.PREFECT),
    *(Target(sleeps.as_steps(places), "at least", 0.95, over=sleeps.CEILING) for places in sleeps.PLACES),
    *(Target(sleeps.as_runs(places), "at least", 0.95, over=sleeps.CEILING) for places in sleeps.PLACES),
    Target(hooks.RATE, "at least", 300),
    Target(f"{hooks.P99}{hooks.WITH_WORKERS}", "at most", 100),
    Target(hooks.NOT_OK, "at most", 0),
    Target(storms.POSTS, "at most", storms.GROUPS),
    Target(storms.WHOLE, "at least", storms.GROUPS),
    Target(storms.LOST, "at most", 0),
    Target(storms.GIVEN_UP, "at most", 0),
    Target(storms.APPROVAL, "at most", 5),
)


def verdict(figures: Sequence[Figure]) -> str:
    """The table of all targets, met or not."""
    rows = [("Figure", "Target", f"{OURS}", "Verdict"), *(target.row(figures) for target in TARGETS)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
