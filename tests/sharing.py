"""Which modules go to the same process when `scripts/test` runs two at a time: those that share something costly."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Each release of n8n takes fifteen seconds of a processor to start, and its package keeps it for all of its modules.
_NEWEST = ("test_exposing", "test_fetcher", "test_promise", "test_workflows")
_SEEDS = ("test_seeds", "test_workflows_seeds")
_TOGETHER = {
    f"tests/n8n/{name}.py": f"tests/n8n/{release}"
    for release, names in (("newest", _NEWEST), ("seeds", _SEEDS))
    for name in names
}


class BySharing(LoadFileScheduling):
    """As `--dist loadfile`: a module stays whole, and these stay together."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return _TOGETHER.get(module, module)
