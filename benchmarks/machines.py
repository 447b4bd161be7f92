"""What the numbers were measured on, and the CPU time that processes take."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import psycopg
from redis import Redis
from sqlalchemy import make_url

from benchmarks.errors import BenchmarkError

PACKAGES = ("slack-bolt", "fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "psycopg", "dramatiq", "redis")


def machine_line(*, database_url: str, redis_url: str, folder: Path) -> str:
    """Cores, kernel, disk and versions, for under a table. `folder` is where Postgres keeps its data."""
    with psycopg.connect(libpq_url(database_url)) as connection:
        postgres = connection.info.parameter_status("server_version")
    with Redis.from_url(redis_url) as client:
        redis = client.info("server")["redis_version"]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Machine: {os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}, data on {_filesystem(folder)}, "
        f"load average {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, Postgres {postgres} (synchronous_commit=on, "
        f"fsync=on), Redis {redis}; {packages}"
    )


def require_durable(database_urls: Iterable[str]) -> None:
    """Raise BenchmarkError unless each of these roles commits to the disk before it is answered."""
    for url in database_urls:
        with psycopg.connect(libpq_url(url)) as connection:
            for name in ("synchronous_commit", "fsync", "full_page_writes"):
                (value,) = connection.execute(f"SHOW {name}").fetchone() or ("nothing",)
                if value != "on":
                    raise BenchmarkError(f"{connection.info.user} has {name}={value}, so its commits are not those we compare.")


def libpq_url(url: str) -> str:
    """An SQLAlchemy URL as psycopg itself takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time taken so far by these processes, in seconds to the nanosecond (proc(5): schedstat), their children not included."""
    spent = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def busy_seconds() -> float:
    """Time that all processors have spent on anything, and not idle or waiting for a disk (proc(5): stat), in seconds."""
    told = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(told) - told[3] - told[4]) / os.sysconf("SC_CLK_TCK")


def processors() -> int:
    """How many there are for us."""
    return len(os.sched_getaffinity(0))


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _filesystem(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {Path(point): kind for point, kind in mounts if folder.is_relative_to(point)}
    return kinds[max(kinds, key=lambda point: len(point.parts))] if kinds else "an unknown filesystem"
