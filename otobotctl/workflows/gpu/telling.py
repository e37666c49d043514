"""What several GPU hosts are told at the same time: lists of keys, and where the others of their name are.

A host that is away keeps no other from knowing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from otobotctl.workflows import converging, peers
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otobotctl.converge.model import Listener, Password
    from otobotctl.workflows.converging import HostRun
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.parallel import Outcome

# Stages of playbooks/gpu.yaml.
KEYS = ("otobot", "ia")  # the list, and the folders above it where nothing was set up yet
MODELS = ("ia", "pool")  # which host has which model
POOL = (*KEYS, "front", "pool")  # and that there are others at all: with the first one the proxy is another


def tell(
    loaded: Loaded, hosts: Sequence[str], only: Sequence[str], listener: Listener, password: Password | None
) -> tuple[Outcome[HostRun], ...]:
    """Make these stages of GPU hosts what the fleet says, all at once; nothing else of them is touched."""

    def one(host: str, heard: Listener) -> HostRun:
        wanted = converging.desired_of(loaded, host)
        stages = tuple(stage for stage in wanted.stages if stage.name in only)
        return converging.converge(converging.opener(loaded, host), replace(wanted, stages=stages), heard, password)

    return each_host(tuple(hosts), one, Limits(), listener)


def tell_of(
    loaded: Loaded, name: str, only: Sequence[str], listener: Listener, password: Password | None, *, itself: bool
) -> tuple[str, ...]:
    """Tell the hosts of its name what they should know of a host, or none if it is alone; return who was not told."""
    host = loaded.manifest.host(name)
    hosts = [peer.name for peer in host.pool if itself or peer.name != name]
    if not hosts:
        return ()
    peers.mint(loaded, host)
    return tuple(
        f"{each.host} does not know yet how {name} is: {each.error.message}; then: otobotctl host apply {each.host}"
        for each in tell(loaded, hosts, only, listener, password)
        if each.error is not None
    )
