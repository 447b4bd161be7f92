"""Prefect: a resident process that runs the flow of STEPS tasks for each line it is given, and answers with the seconds that took."""

import os
import sys
import time

from prefect import flow, task

STEPS = int(os.environ["BENCH_STEPS"])


@task
def fibo(n: int) -> int:
    """The n-th Fibonacci number, slowly."""
    return plain(n)


def plain(n: int) -> int:
    """Without a task for each call."""
    return n if n < 2 else plain(n - 1) + plain(n - 2)


@flow
def walk() -> int:
    """One task after the other."""
    return [fibo(10) for _ in range(STEPS)][-1]


def main() -> None:
    """Until there are no more lines."""
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        assert walk() == 55
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
