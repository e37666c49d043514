"""The releases of one client on disk: numbered directories, a symlink `current`, and what is known to be healthy.

ROOT/<client>/releases/<n>/     complete, never changed again; release.json says what it is
ROOT/<client>/releases/<n>.part being written; a killed run leaves it, the next one removes it
ROOT/<client>/current           -> releases/<n>
ROOT/<client>/state.json        the release that was last healthy, whether the containers are settled on `current`, and
                                when each release was last seen healthy
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from otobotctl.agent import files
from otobotctl.agent.lines import decode, encode

ROOT = "/opt/otobot"
RECORD = "release.json"
_PART = ".part"


class Releases:
    """One client's directory. Whoever changes it holds the host's lock."""

    def __init__(self, client: str) -> None:
        self.home = os.path.join(ROOT, client)
        self.folder = os.path.join(self.home, "releases")
        self.link = os.path.join(self.home, "current")
        self._state = os.path.join(self.home, "state.json")

    def path(self, number: int) -> str:
        """Where release `number` is."""
        return os.path.join(self.folder, str(number))

    def numbers(self) -> List[int]:
        """Complete releases, oldest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def current(self) -> Optional[int]:
        """The release that `current` points at; None when there is none, or what it points at is gone."""
        try:
            name = os.path.basename(os.readlink(self.link))
        except OSError:
            return None
        return int(name) if name.isdigit() and os.path.isdir(self.path(int(name))) else None

    def record(self, number: int) -> Dict[str, Any]:
        """What release `number` says of itself: digest, services, once (those that run and end), files; or {}."""
        return _read_json(os.path.join(self.path(number), RECORD))

    def healthy(self) -> Optional[int]:
        """The newest release that was seen healthy and is still here."""
        number = _read_json(self._state).get("healthy")
        return number if number in self.numbers() else None

    def settled(self) -> bool:
        """The containers are those of `current`: no run was stopped between switching and starting them."""
        state = _read_json(self._state)
        return bool(state.get("settled")) and state.get("healthy") == self.current()

    def ran_at(self, number: int) -> Optional[float]:
        """When release `number` was last seen healthy (Unix seconds); None: it never was, 0: before that was noted."""
        noted = _read_json(self._state).get("ran") or {}
        if str(number) in noted:
            return float(noted[str(number)])
        healthy = self.healthy()
        return 0.0 if not noted and healthy is not None and number <= healthy else None

    def ran(self, number: int) -> bool:
        """Whether release `number` was ever healthy: it is one to go back to."""
        return self.ran_at(number) is not None

    def touched_at(self) -> float:
        """When a deploy last touched the containers, in Unix seconds; 0 where none is known of."""
        try:
            return os.stat(self._state).st_mtime
        except OSError:
            return 0.0

    def unsettle(self) -> None:
        """Note, before anything is touched, that containers may now be of any release."""
        self._write_state(self.healthy(), settled=False)

    def took(self) -> Dict[str, float]:
        """How many seconds each service took to be healthy when it was last replaced, as far as that is known."""
        return dict(_read_json(self._state).get("took") or {})

    def settle(self, number: int, took: Optional[Dict[str, float]] = None) -> None:
        """Note that the containers are those of release `number`, and healthy, and what they took for it."""
        now = {str(number): round(time.time(), 3)}
        ran = {str(each): at for each in self.numbers() for at in [self.ran_at(each)] if at is not None}
        self._write_state(number, settled=True, ran={**ran, **now}, took={**self.took(), **(took or {})})

    def begin(self) -> str:
        """Make the directory of a release that is being written; return its path."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        os.chmod(self.home, 0o700)
        numbers = self.numbers()
        part = self.path(numbers[-1] + 1 if numbers else 1) + _PART
        os.mkdir(part, 0o700)
        return part

    def publish(self, part: str) -> int:
        """Turn a completely written directory into a release; return its number."""
        for folder, _, _ in os.walk(part):
            files.sync_folder(folder)
        os.rename(part, part[: -len(_PART)])
        files.sync_folder(self.folder)
        return int(os.path.basename(part)[: -len(_PART)])

    def switch(self, number: int) -> None:
        """Point `current` at release `number`: readers see the old one or the new one."""
        beside = os.path.join(self.home, ".current.otobot")
        if os.path.lexists(beside):
            os.unlink(beside)
        os.symlink(os.path.join("releases", str(number)), beside)
        os.replace(beside, self.link)
        files.sync_folder(self.home)

    def forget_current(self) -> None:
        """There is no release any more that should run."""
        files.remove(self.link)
        files.remove(self._state)

    def remove(self, number: int) -> None:
        """Delete a release. Under another name first: a release that is there is whole."""
        part = self.path(number) + _PART
        os.rename(self.path(number), part)
        remove_tree(part)

    def remove_parts(self) -> None:
        """Delete what killed runs left half written or half removed."""
        if os.path.isdir(self.folder):
            for name in os.listdir(self.folder):
                if name.endswith(_PART):
                    remove_tree(os.path.join(self.folder, name))

    def prune(self, keep: int) -> List[int]:
        """Delete all but the `keep` newest releases, never the current one; return what went."""
        gone = [number for number in self.numbers()[:-keep] if number not in (self.current(), self.healthy())]
        for number in gone:
            self.remove(number)
        return gone

    def _write_state(self, healthy: Optional[int], settled: bool, **more: Dict[str, float]) -> None:
        known = {name: value for name, value in _read_json(self._state).items() if name in ("ran", "took")}
        state = {**known, **more, "healthy": healthy, "settled": settled}
        files.write(self._state, encode(state), 0o600)


def remove_tree(path: str) -> None:
    """Delete a directory and all in it. Raises OSError."""
    import shutil  # an observation deletes nothing

    shutil.rmtree(path)


def _read_json(path: str) -> Dict[str, Any]:
    try:
        found = decode(files.read(path) or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
