"""`gpu export`: the hosts of one name, for an engine of many more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.render import growth
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu.hosts import gpu_of

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Export:
    """What was made of which hosts: `text` is YAML, and no secret is in it."""

    kind: str
    hosts: tuple[str, ...]
    text: str


def export(fleet: Fleet, name: str, kind: str) -> Export:
    """The hosts that answer at the same name as this one. Raises UsageError: none runs vLLM, or no such kind."""
    loaded = load(fleet)
    gpu_of(loaded, name)
    names = tuple(peer.name for peer in loaded.manifest.host(name).pool) or (name,)
    text = growth.exported(kind, [loaded.manifest.host(each) for each in names], loaded.catalog)
    return Export(kind, names, text)
