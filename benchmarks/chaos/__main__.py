"""`python -m benchmarks.chaos`: one storm, its seed printed first, its report last; exit 1 when a promise was not kept."""

import argparse
import asyncio
import dataclasses
import sys
import time

from benchmarks.chaos.sizes import LONG, SHORT, Size
from benchmarks.chaos.storms import rage
from kit.servers import data_folder


def _asked() -> tuple[Size, int]:
    parser = argparse.ArgumentParser(
        description="Run a storm of faults over real processes and count what was lost, doubled or unapproved."
    )
    parser.add_argument("--size", choices=("short", "long"), default="short")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--lease", type=int, help="seconds until a claim ends by itself; a pause is 1.4 times as long")
    parser.add_argument("--part", type=int, default=1, help="of the storm's length and of how much of everything there is: 5 for a fifth")
    given = parser.parse_args()
    size = LONG if given.size == "long" else SHORT
    size = size.part(given.part) if given.part > 1 else size
    return (dataclasses.replace(size, lease=given.lease) if given.lease else size), given.seed


def main() -> int:
    """The exit code."""
    size, seed = _asked()
    print(f"storm {size.name}: seed {seed}", flush=True)
    with data_folder() as folder:
        report = asyncio.run(rage(folder / "chaos", size, seed=seed))
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
