"""All programs in order, then the table of targets: about twenty minutes."""

from benchmarks import acks, approvals, audit_verify, handovers, hooks, programs, results, sleeps, steps, storms
from benchmarks.targets import verdict

if __name__ == "__main__":
    programs.main(
        acks.measure,
        handovers.measure,
        results.measure,
        audit_verify.measure,
        approvals.measure,
        steps.measure,
        sleeps.measure,
        hooks.measure,
        storms.measure,
        closing=verdict,
    )
