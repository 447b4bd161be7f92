"""DBOS: a resident process that runs the workflow of STEPS steps for each line it is given, and answers with the seconds that took."""

import os
import sys
import time

from dbos import DBOS

STEPS = int(os.environ["BENCH_STEPS"])


@DBOS.step()
def fibo(n: int) -> int:
    """The n-th Fibonacci number, slowly."""
    return plain(n)


def plain(n: int) -> int:
    """Without a step for each call."""
    return n if n < 2 else plain(n - 1) + plain(n - 2)


@DBOS.workflow()
def flow() -> int:
    """One step after the other."""
    return [fibo(10) for _ in range(STEPS)][-1]


def main() -> None:
    """Until there are no more lines."""
    DBOS(config={"name": "bench", "system_database_url": os.environ["BENCH_DATABASE_URL"], "log_level": "ERROR"})
    DBOS.launch()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        assert flow() == 55
        print(time.perf_counter() - began, flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
