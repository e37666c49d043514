"""One module a kind of what is restored. A new kind is its module and its line here."""

from __future__ import annotations

from typing import Dict, Type

from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.kinds.cluster import WholeCluster
from otobotctl.agent.backup.kinds.kind import Kind
from otobotctl.agent.backup.kinds.mongo import Collections
from otobotctl.agent.backup.kinds.postgres import Database
from otobotctl.agent.backup.kinds.volume import Volume

# In this order they take their places; a restore that is undone goes the other way.
KINDS: Dict[str, Type[Kind]] = {
    "postgres": Database, "cluster": WholeCluster, "mongo": Collections, "volume": Volume
}  # fmt: skip


def of(name: str) -> Type[Kind]:
    """The kind of this name, as sources and journals have it. Raises RestoreError: there is none."""
    if name not in KINDS:
        raise RestoreError("this host does not know how to restore a {}; deploy the client first".format(name))
    return KINDS[name]
