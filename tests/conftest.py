"""Fixtures for every test: the lab's hosts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import again
from tests.lab import fixtures
from tests.lab.fixtures import bare_host, docker_host, lab, light_host, light_hosts, make_host, module_host, warm_host

__all__ = ["bare_host", "docker_host", "lab", "light_host", "light_hosts", "make_host", "module_host", "warm_host"]


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background makes Ctrl-C be ignored, and every child would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    fixtures.configure(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.sharing import BySharing

    return BySharing(config, log)


# `scripts/test` runs several modules at a time, from both ends (tests/sharing.py): what takes longest begins first, or the
# others wait for it at the end.
_LONGEST_WITH_HOSTS = (
    *("e2e/test_full_stack", "e2e/test_doctor", "e2e/test_deploy", "e2e/test_backup", "e2e/test_client"),
    *("e2e/test_rotation", "e2e/test_certificates", "e2e/test_hardening", "e2e/test_caddy", "e2e/test_backup_drill"),
    *("e2e/test_gpu", "e2e/test_gpu_pool", "render/test_host"),
)
_LONGEST_WITHOUT = (
    *("vault_api/test_drill", "backup/test_proofs", "backup/test_restoring", "backup/test_pitr"),
    *("backup/test_pitr_drill", "backup/test_faults", "leaks/test_leaks", "n8n/test_workflows"),
    *("n8n/test_workflows_seeds", "n8n/test_queue_seeds", "vault/test_rotation", "rotation/test_exchange"),
    *("backup/test_destroy",),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    fixtures.mark(items)
    items.sort(key=_when)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if getattr(item, "execution_count", 1) > 1:
        fixtures.limit(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with fixtures.second_try(item):
        yield


def _when(item: pytest.Item) -> int:
    """Those with hosts of the lab before those without; at both ends the longest. Within that they keep their order."""
    name = f"{item.path.parent.name}/{item.path.stem}"
    if name in _LONGEST_WITH_HOSTS:
        return -len(_LONGEST_WITH_HOSTS) + _LONGEST_WITH_HOSTS.index(name)
    if name in _LONGEST_WITHOUT:
        return 2 + len(_LONGEST_WITHOUT) - _LONGEST_WITHOUT.index(name)
    return int(item.get_closest_marker("lab") is None and "e2e" not in item.path.parts)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    fixtures.summarise(terminalreporter)
    again.note(terminalreporter)
    again.tell(terminalreporter)
