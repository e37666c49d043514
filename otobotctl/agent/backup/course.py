"""What a restore has begun, on disk before it begins it: who is killed is undone, or finished, by the next restore.

Phases: `filling` (beside the data, which nothing has touched), `stopped` (what writes is stopped), `exchanging`
(any of it may have its new or its former name), `proved` (the restored data stays; what was kept may go).
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from otobotctl.agent import files
from otobotctl.agent.lines import canonical, decode

FILLING, STOPPED, EXCHANGING, PROVED = "filling", "stopped", "exchanging", "proved"


class Item:
    """One thing that is restored. `kind` is postgres, mongo or volume; `service` the engine of a database.

    A database has three names: its own, and two that are there only during a restore.
    """

    def __init__(self, kind: str, name: str, service: str, mark: str) -> None:
        self.kind = kind
        self.name = name
        self.service = service
        self.beside = name + "_restoring"
        self.before = "{}_before_{}".format(name, mark)

    def told(self) -> List[str]:
        """What a journal holds of it."""
        return [self.kind, self.name, self.service]


class Course:
    """The journal of one client's restore at `path`. Every method raises OSError or StepError."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.about: Dict[str, Any] = {}

    @staticmethod
    def left(path: str) -> "Optional[Course]":
        """What a killed restore left; None: nothing. Raises ValueError: it cannot be read."""
        try:
            text = files.read(path)
        except FileNotFoundError:
            return None
        course = Course(path)
        course.about = dict(decode(text or b""))
        return course

    def begin(self, ident: str, mark: str, items: List[Item], **more: Any) -> None:
        """Write down what is about to be restored."""
        self.about = {"version": 1, "id": ident, "mark": mark, "phase": FILLING, "done": [], **more}
        self.about["items"] = [item.told() for item in items]
        self._write()

    def enter(self, phase: str, **more: Any) -> None:
        """Go on to a phase."""
        self.about.update(more, phase=phase)
        self._write()

    def note(self, done: str) -> None:
        """Write down a step within a phase that cannot be seen from outside."""
        self.about["done"].append(done)
        self._write()

    def end(self) -> None:
        """Nothing is under way any more."""
        files.remove(self._path)

    @property
    def phase(self) -> str:
        """Where it is."""
        return str(self.about["phase"])

    @property
    def items(self) -> List[Item]:
        """What it restores."""
        return [Item(kind, name, service, self.about["mark"]) for kind, name, service in self.about["items"]]

    def _write(self) -> None:
        user, group = files.me()
        files.write(self._path, canonical(self.about).encode() + b"\n", 0o600, user, group)
