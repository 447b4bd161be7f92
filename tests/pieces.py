"""Which process runs which tests, where `--dist loadfile` hands out whole files: none waits in line while another has nothing to do."""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

SPLIT: Final = ("tests/stories/test_database_trouble.py",)
"""Each test of these is a piece of its own: they share nothing that takes long to make, and mostly wait for the clock."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> "Pieces | None":
    return Pieces(config, log) if config.getoption("dist") == "loadfile" else None


class Pieces(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A process is given its next piece when it begins the last test of the one that it has, not two tests before; and none any more when
    the others can have one each.

    At the end, what minds the clock would otherwise stand behind its like in one process while the others had nothing to do.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in SPLIT else file

    def _reschedule(self, node: WorkerController) -> None:
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
            others = sum(not one.shutting_down for one in self.nodes if one is not node)
            if not node.shutting_down and len(self.workqueue) <= others:
                node.shutdown()
