"""A volume: its files are unpacked into a directory beside its own; two renames exchange them."""

from __future__ import annotations

from otobotctl.agent.backup.kinds.kind import Alone
from otobotctl.agent.backup.trees import Tree


class Volume(Alone):
    """See Kind."""

    PARTS = ("/volumes/{}.tar",)

    def fill(self) -> None:
        """What no archive has of it, such as a key, comes from what is there."""
        mine = ("volume", self.item.name)
        same = [each for each in self.around.job["sources"] if (each["kind"], each["name"]) == mine]
        self._tree.fill(self.stream(), [name for source in same for name in source.get("exclude") or ()])

    def exchange(self) -> None:
        """Two renames."""
        self._tree.exchange()

    def back(self) -> None:
        """Two renames."""
        self._tree.back()

    def drop(self, *, former: bool) -> None:
        """The directories beside it."""
        tree = self._tree
        tree.drop(*((tree.beside, tree.before) if former else (tree.beside,)))

    @property
    def _tree(self) -> Tree:
        return Tree(self.around.hands, self.item, self.around.course.about["places"][self.item.name])
