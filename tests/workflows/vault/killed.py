"""Runs `vault rotate-key` against a stand-in and kills itself, as kill -9 does, at a named point."""

from __future__ import annotations

import os
import signal
import sys
from functools import wraps

import pytest

from otobotctl.cli import main as cli
from otobotctl.workflows import converging
from otobotctl.workflows.vault import rotation
from tests.workflows.vault.standin import SLUG, StandIn

# Point: the method behind whose n-th return it dies.
POINTS = {
    "minted": ("_mint", 1),
    "deployed": ("_deploy", 1),
    "rewrapping": ("_heard", 1),
    "proved": ("_rewrap", 1),
    "retired": ("_change", 1),
    "deployed without": ("_deploy", 1),
    "checked": ("_check", 1),
}


def die():
    """Nothing runs after this."""
    os.kill(os.getpid(), signal.SIGKILL)


def deploys(standin, between=lambda: None):
    """In place of a deploy over SSH: the same of the vault alone."""

    def deploy(_fleet, slug, _listener, _password=None):
        assert slug == SLUG
        changed = ("acme",) if standin.deploy(between) else ()
        return converging.HostRun("vps-1", 2, changed, 1.0)

    return deploy


def _dying(method, times):
    left = [times]

    @wraps(method)
    def call(*arguments, **named):
        answer = method(*arguments, **named)
        left[0] -= 1
        if not left[0]:
            die()
        return answer

    return call


if __name__ == "__main__":
    where, point = sys.argv[1:]
    here = StandIn.at(where)
    patch = pytest.MonkeyPatch()
    here.lead_here(patch)
    patch.setattr(converging, "deploy", deploys(here, die if point == "migrated" else lambda: None))
    if point in POINTS:
        name, number = POINTS[point]
        patch.setattr(rotation.Rotation, name, _dying(getattr(rotation.Rotation, name), number))
    sys.exit(cli.main(["vault", "rotate-key", SLUG, "--yes", "--fleet", str(here.fleet.root)]))
