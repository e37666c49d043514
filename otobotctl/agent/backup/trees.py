"""The files of a volume beside each other, exchanged by two renames."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Sequence

from otobotctl.agent.backup.course import Item
from otobotctl.agent.backup.hands import Hands


class Tree:
    """A volume and the two directories that are beside it during a restore. Raises RestoreError, OSError."""

    def __init__(self, hands: Hands, item: Item, here: str) -> None:
        """`here` is where the volume's files are; between two renames Docker could not say so."""
        self._hands = hands
        self.here = here
        self.beside = self.here + item.beside[len(item.name) :]
        self.before = self.here + item.before[len(item.name) :]

    def fill(self, stream: "subprocess.Popen[bytes]", kept: Sequence[str]) -> None:
        """Unpack a tar beside; the files `kept`, which no archive has, come from what is there."""
        self._hands.remove(self.beside)
        os.mkdir(self.beside, 0o700)
        shutil.copystat(self.here, self.beside)
        words = ("--extract", "--file=-", "--numeric-owner", "--preserve-permissions", "--delay-directory-restore")
        self._hands.flow(stream, ["tar", *words, "--directory=" + self.beside], os.path.basename(self.here))
        for name in kept:
            source = os.path.join(self.here, name)
            if os.path.isfile(source) and not os.path.islink(source):
                shutil.copy2(source, os.path.join(self.beside, name))
                found = os.stat(source)
                os.chown(os.path.join(self.beside, name), found.st_uid, found.st_gid)

    def exchange(self) -> None:
        """What was restored in its place, what was there kept."""
        self._hands.rename(self.here, self.before)
        self._hands.rename(self.beside, self.here)

    def back(self) -> None:
        """What was there in its place, whatever has become of it since."""
        if not os.path.isdir(self.before):
            return
        if os.path.isdir(self.here):
            self._hands.remove(self.beside)
            self._hands.rename(self.here, self.beside)
        self._hands.rename(self.before, self.here)

    def drop(self, *paths: str) -> None:
        """Delete what is not needed any more."""
        for path in paths:
            self._hands.remove(path)
