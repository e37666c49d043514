"""Which module goes to which process when `scripts/test` runs several at a time, and when."""

from __future__ import annotations

import os
from pathlib import Path

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# Each release of n8n takes fifteen seconds of a processor to start, and its package keeps it for all of its modules.
_NEWEST = ("test_exposing", "test_fetcher", "test_promise", "test_workflows")
_SEEDS = ("test_seeds", "test_workflows_seeds")
_TOGETHER = {
    f"tests/n8n/{name}.py": f"tests/n8n/{release}"
    for release, names in (("newest", _NEWEST), ("seeds", _SEEDS))
    for name in names
}
_WITH_HOSTS = frozenset({"gw0", "gw1"})


class BySharing(LoadFileScheduling):
    """As `--dist loadfile`: a module stays whole, and those of `_TOGETHER` stay together.

    What takes longest, with hosts of the lab, is in front. Two processes take from there once the lab's bases are made,
    which the file $OTOBOT_TESTS_LAB tells of; until then they, and any further one all the time, take from the back,
    where no hosts are needed. So there are no more than two large hosts at once, and no processor waits for a host.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return _TOGETHER.get(module, module)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node.gateway.id not in _WITH_HOSTS or not _lab_is_there():
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def _lab_is_there() -> bool:
    told = os.environ.get("OTOBOT_TESTS_LAB")
    return told is None or Path(told).exists()
