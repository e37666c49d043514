"""The snapshots of one archive under way. A start of restic takes half a second and more: so none is waited for."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Callable, Dict, List, Optional, Sequence

from otobotctl.agent.backup.complaints import ResticError
from otobotctl.agent.backup.held import Held
from otobotctl.agent.backup.keeping import TAG
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.saving import Saved, Saving
from otobotctl.agent.backup.shapes import ARCHIVE_FILE, Part
from otobotctl.agent.dumps import Dump, DumpError

Tell = Callable[[Dict[str, Any]], None]


class UnderWay(contextlib.ExitStack):
    """At its end whatever still runs is ended, without a snapshot.

    What is small is saved while the first large part is. The restic of the part that comes next, and that of
    archive.json, start while the one before is still read.
    """

    def __init__(self, restic: Restic, ident: str, tell: Tell) -> None:
        super().__init__()
        self._restic, self._tell = restic, tell
        self._tags, self._host = [TAG + ident], socket.gethostname()
        self._ahead: Dict[str, Saving] = {}
        self._head: Optional[Held] = None
        self._small: List[Callable[[], Any]] = []  # each waits for a small part
        self.parts: List[Part] = []
        self.added = 0

    def ahead(self, name: str, *, beside: bool = False) -> None:
        """Start the restic of a part that is read later; of a small one `beside` the large ones. Raises DumpError."""
        self._ahead[name] = self._started(name, beside=beside)

    def begin_put(self, name: str, data: bytes, answer_s: Optional[float]) -> None:
        """Begin to save a small part; the target is given up where it has not taken it after `answer_s`."""
        self._tell({"part": name})
        putting = self._restic.putting(data, name, self._tags, self._host)
        self.callback(putting.close)
        self._small.append(lambda: self._saved(name, putting.finish(answer_s), "", None))

    def begin_small(self, dump: Dump) -> None:
        """Begin to save what a program prints, where that is little. Raises DumpError."""
        self.ahead("/" + dump.name, beside=True)
        saving = self.begin(dump)
        self._small.append(lambda: self.finish(dump, saving, None))

    def settle(self) -> None:
        """Wait for every small part. Raises DumpError, ResticError."""
        while self._small:
            self._small.pop(0)()

    def begin(self, dump: Dump, *words: str) -> Saving:
        """Begin to save what a program prints that is given these words more. Raises DumpError."""
        name = "/" + dump.name
        self._tell({"part": name})
        saving = self._ahead.pop(name, None) or self._started(name)
        try:
            saving.read([*dump.argv, *words], dump.stdin)
        except OSError as error:
            raise DumpError(dump.name, "{} cannot be run: {}".format(dump.argv[0], error.strerror)) from error
        return saving

    def finish(self, dump: Dump, saving: Saving, rows: Optional[Dict[str, int]]) -> bool:
        """Wait for it; return whether it changed while it was read. Raises DumpError, ResticError."""
        saved, status, said = saving.finish(dump.tolerated)
        said = said.replace(dump.secret, "***") if dump.secret else said
        if saved is None:
            raise DumpError(dump.name, "{} ended with {}: {}".format(dump.program, status, said or "no word why"))
        self._saved("/" + dump.name, saved, (said or "changed while it was read") if status else "", rows)
        return bool(status)

    def begin_head(self, tags: Sequence[str]) -> None:
        """Start the restic of archive.json, with these tags more; where it cannot be, `head` starts it."""
        with contextlib.suppress(OSError):
            self._head = self._restic.held(ARCHIVE_FILE, [*self._tags, *tags], self._host)
            self.callback(self._head.close)

    def head(self, data: bytes, tags: Sequence[str]) -> None:
        """Save archive.json, when all else has been. Raises ResticError."""
        try:
            if self._head:
                self.added += self._head.finish(data).added
                return
        except ResticError:  # it has waited for long: the line to the target may be another one by now
            self._head = None
        self.added += self._restic.put(data, ARCHIVE_FILE, [*self._tags, *tags], self._host).added

    def _started(self, name: str, *, beside: bool = False) -> Saving:
        try:
            saving = self._restic.saving(name, self._tags, self._host, beside=beside)
        except OSError as error:
            raise DumpError(name, "restic cannot be run: {}".format(error.strerror)) from error
        self.callback(saving.close)
        return saving

    def _saved(self, name: str, saved: Saved, note: str, rows: Optional[Dict[str, int]]) -> None:
        self.added += saved.added
        self.parts.append(Part(name=name, snapshot=saved.snapshot, bytes=saved.bytes, note=note, rows=rows))
        self._tell({"saved": name, "bytes": saved.bytes, "added": saved.added})
