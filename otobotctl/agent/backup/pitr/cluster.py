"""A whole PostgreSQL at a moment: its data directory beside the live one, then in its place, as a volume's files."""

from __future__ import annotations

import os
import time
from typing import NamedTuple, Sequence

from otobotctl.agent.backup import erasures
from otobotctl.agent.backup.course import Item
from otobotctl.agent.backup.hands import Hands
from otobotctl.agent.backup.pitr.here import Names
from otobotctl.agent.backup.pitr.moments import Found
from otobotctl.agent.backup.pitr.recovery import LOG, Recovery
from otobotctl.agent.backup.pitr.segments import BASE_FILE, SIZE, WAL_FILE, Wal, number
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.trees import Tree
from otobotctl.agent.running import running

_UNPACK = ("tar", "--extract", "--file=-", "--numeric-owner", "--preserve-permissions", "--delay-directory-restore")
_BEHIND = 2.0  # the log of a base that is being replayed is written anew, and so are checkpoints


class Point(NamedTuple):
    """A moment in Unix seconds, what leads to it, and what replays that: an image of the client's release.

    Not `exact`, all that there is of the log is replayed; the moment is what it covers at least.
    """

    found: Found
    moment: float
    exact: bool
    names: Names
    image: str


class Cluster:
    """`item` is the volume of the data directory, `here` where that is. Raises RestoreError, ProbeError, OSError."""

    def __init__(self, hands: Hands, client: str, item: Item, here: str, image: str) -> None:
        self._hands, self._item = hands, item
        self._tree = Tree(hands, item, here)
        self._recovery = Recovery(hands, client, image, self._tree.beside)

    @staticmethod
    def room(found: Found) -> int:
        """The bytes that it needs beside what is there."""
        return found.chain.base.bytes + int(_BEHIND * SIZE * sum(_segments(each) for each in found.chain.wal))

    def fill(self, point: Point) -> None:
        """The base and its log beside; then brought to the moment."""
        found = point.found
        beside, base = self._tree.beside, found.chain.base
        self._recovery.clear()
        self._hands.remove(beside)
        os.mkdir(beside, 0o700)
        owner = os.stat(self._tree.here)
        os.chown(beside, owner.st_uid, owner.st_gid)
        self._hands.say(
            "base {} of {}, and {} pieces of the log".format(base.id, found.restic.name, len(found.chain.wal))
        )
        words = [*_UNPACK, "--directory=" + beside]
        self._hands.flow(found.restic.dump(base.snapshot, BASE_FILE), words, "the base")
        log = os.path.join(beside, LOG)
        os.mkdir(log, 0o700)
        for each in found.chain.wal:
            self._hands.flow(found.restic.dump(each.snapshot, WAL_FILE), [*_UNPACK, "--directory=" + log], "the log")
        with open(os.path.join(beside, "recovery.signal"), "wb"):
            pass
        for path in (
            log,
            *(os.path.join(log, name) for name in os.listdir(log)),
            os.path.join(beside, "recovery.signal"),
        ):
            os.chown(path, owner.st_uid, owner.st_gid)
        self._recovery.run(_sql_time(point.moment) if point.exact else "")
        self._hands.remove(log)

    def erase(self, databases: Sequence[str], known: erasures.Known) -> int:
        """Tell each vault in it whom it has to erase again; return how many people that are."""
        live, restored = Postgres(self._hands, self._item.service), Postgres(self._recovery.hands, "")
        there = set(restored.databases())
        return sum(erasures.carry(live, each, each, known, into=restored) for each in databases if each in there)

    def exchange(self) -> None:
        """The restored one in the place of the live one; both are stopped first."""
        self._recovery.stop()
        self._rest()
        self._tree.exchange()

    def back(self) -> None:
        """The live one in its place again."""
        self._recovery.clear()
        if os.path.isdir(self._tree.before):
            self._rest()
        self._tree.back()

    def drop(self, *, former: bool) -> None:
        """Let go of what is beside, and of the former one."""
        self._recovery.clear()
        tree = self._tree
        tree.drop(*((tree.beside, tree.before) if former else (tree.beside,)))

    def _rest(self) -> None:
        mine = (self._item.service, self._item.service + "-wal")
        self._hands.stop([each for each in running(self._hands.project.name) if each.service in mine])


def _segments(each: Wal) -> int:
    return (number(each.last) - number(each.first) + 1 if each.last else 0) + bool(each.partial)


def _sql_time(moment: float) -> str:
    whole, thousandths = divmod(int(moment * 1000), 1000)
    return "{}.{:03d}+00".format(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole)), thousandths)
