"""A whole PostgreSQL at a moment, in the place of its databases in an archive; see pitr/cluster.py."""

from __future__ import annotations

from typing import List

from otobotctl.agent.backup.erasures import Known
from otobotctl.agent.backup.kinds.kind import Alone
from otobotctl.agent.backup.pitr import here as log
from otobotctl.agent.backup.pitr.cluster import Cluster


class WholeCluster(Alone):
    """See Kind. Its `item` is the volume of the data directory and the service that has it."""

    def room(self) -> int:
        """The base and its log."""
        return Cluster.room(self.around.point.found) if self.around.point else 0

    def fill(self) -> None:
        """The base, brought to the moment."""
        if self.around.point:
            self._cluster.fill(self.around.point)

    def erase(self, known: Known) -> int:
        """In each vault of the server."""
        return self._cluster.erase(self.vaults(), known)

    def vaults(self) -> List[str]:
        """All databases of the server that a client's services have."""
        mine = ("postgres", self.item.service)
        return [each["name"] for each in self.around.job["sources"] if (each["kind"], each["service"]) == mine]

    def exchange(self) -> None:
        """Both servers are stopped for it."""
        self._cluster.exchange()

    def back(self) -> None:
        """Both servers are stopped for it."""
        self._cluster.back()

    def drop(self, *, former: bool) -> None:
        """Also what ran to bring it to its moment."""
        self._cluster.drop(former=former)

    def finish(self) -> None:
        """The log of what was there before goes, too."""
        super().finish()
        names = log.names(self.around.job)
        if names:
            log.Spool(self.around.hands.mountpoint(names.spool)).clear()

    @property
    def _cluster(self) -> Cluster:
        around, point = self.around, self.around.point
        place = around.course.about["places"][self.item.name]
        return Cluster(around.hands, around.job["client"], self.item, place, point.image if point else "")
