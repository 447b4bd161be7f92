"""How tests share two cores: the stories, which start many processes and mind the clock, never run beside each other."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
CROWDED = ("tests/stories/", "tests/bot/cli/up/", "tests/rules/test_image.py", "tests/benchmarks/")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Crowded files first and on one worker, each other file whole on either."""
    items.sort(key=lambda one: not _is_crowded(one))
    for one in items:
        one.add_marker(pytest.mark.xdist_group("crowded" if _is_crowded(one) else _file(one)))


def _is_crowded(one: pytest.Item) -> bool:
    return _file(one).startswith(CROWDED)


def _file(one: pytest.Item) -> str:
    return one.path.relative_to(ROOT).as_posix()
