"""All programs in order, then the table of targets."""

from benchmarks import acks, approvals, audit_verify, handovers, programs, results
from benchmarks.targets import verdict

if __name__ == "__main__":
    programs.main(acks.measure, handovers.measure, results.measure, audit_verify.measure, approvals.measure, closing=verdict)
