"""A database of MongoDB: filled under another name; its collections move."""

from __future__ import annotations

from otobotctl.agent.backup.course import Item
from otobotctl.agent.backup.kinds.kind import Alone, Around
from otobotctl.agent.backup.mongodb import Mongo


class Collections(Alone):
    """See Kind."""

    PARTS = ("/databases/{}.archive", "/databases/{}.archive.gz")
    GROWS = 1.5  # indexes
    SERVED = True

    def __init__(self, around: Around, item: Item) -> None:
        super().__init__(around, item)
        self._server = Mongo(around.hands, item.service)

    def fill(self) -> None:
        """An archive from before dumps came as they are is packed."""
        packed = self.part["name"].endswith(".gz")
        self._server.fill(self.item.name, self.item.beside, self.stream(), packed=packed)

    def exchange(self) -> None:
        """Noted in the journal: from outside it cannot be seen whose collections are where."""
        self._server.exchange(self.item, self.around.course)

    def back(self) -> None:
        """As far as the journal says."""
        self._server.back(self.item, self.around.course)

    def drop(self, *, former: bool) -> None:
        """Databases that are not there are fine."""
        self._server.drop(*((self.item.beside, self.item.before) if former else (self.item.beside,)))
