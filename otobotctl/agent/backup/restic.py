"""restic, as this host's package manager has it, 0.12 and newer. Passwords go by file, credentials by environment."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any, Dict, List, NoReturn, Optional, Sequence

from otobotctl.agent.backup.complaints import ResticError, complaint
from otobotctl.agent.backup.held import Held
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.saving import Putting, Saved, Saving
from otobotctl.agent.backup.shapes import Target
from otobotctl.agent.run import environment

__all__ = ["Restic", "ResticError", "flat"]

_SHORTEST = 6  # what is shorter, such as a region, would be masked within words
_PATIENCE_S = 60.0
_BESIDE = ("nice", "-n", "10")


def flat(name: str) -> str:
    """The file that stands for a part's name in a snapshot: restic 0.18.0, Debian 13's, takes none in a directory."""
    return "/" + name.strip("/").replace("/", "-")


class Restic:
    """One repository."""

    def __init__(self, target: Target, key_file: str, cache: str = "") -> None:
        """`target` is a Target; `key_file` holds the repository's password; without `cache` nothing is cached."""
        self.name: str = target["name"]
        options = [word for option in target["options"] for word in ("-o", option)]
        cached = ["--cache-dir", cache] if cache else ["--no-cache"]
        self._argv = ["restic", "--quiet", *cached, *options]
        self._env = environment(HOME="/root", **target["environment"])
        self._env.update(RESTIC_REPOSITORY=_address(target), RESTIC_PASSWORD_FILE=key_file)
        plain = [value for value in target["environment"].values() if len(value) >= _SHORTEST]
        self._secrets = [*plain, *(_quoted(value) for value in plain)]

    @classmethod
    def of(cls, places: BackupPlaces, target: Target) -> "Restic":
        """The repository of a client's target, as its places keep the key and the cache."""
        return cls(target, places.key, places.cache(target["repository"]))

    def run(self, *words: str, timeout_s: Optional[float] = None) -> str:
        """Run restic to its end; return its stdout. Raises ResticError."""
        try:
            done = subprocess.run(
                [*self._argv, *words], env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ResticError("slow", "restic {} did not end in {:.0f} s".format(words[0], timeout_s or 0)) from error
        except OSError as error:
            raise ResticError("other", "restic cannot be run: {}".format(error.strerror)) from error
        if done.returncode:
            raise self.failed(words[0], done.returncode, done.stderr)
        return done.stdout.decode("utf-8", "replace")

    def alone(self, *words: str, timeout_s: Optional[float] = None) -> str:
        """As `run`, for what wants the repository for itself: who ships a log is there for moments, all the time.

        restic before 0.16 cannot wait for it.
        """
        ends = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.run(*words, timeout_s=timeout_s)
            except ResticError as error:
                if error.kind != "locked" or time.monotonic() > ends:
                    raise
            time.sleep(1)

    def save(self, argv: Sequence[str], stdin: bytes, name: str, tags: Sequence[str], host: str) -> Saving:
        """Begin a snapshot of what `argv` prints, as the file `name`; it ends with Saving.finish(). Raises OSError."""
        saving = self.saving(name, tags, host)
        try:
            saving.read(argv, stdin)
        except OSError:
            saving.close()
            raise
        return saving

    def saving(self, name: str, tags: Sequence[str], host: str, *, beside: bool = False) -> Saving:
        """Begin what `save` does before there is a program to read, which Saving.read() starts. Raises OSError.

        Something small is saved `beside` something large: it takes the processor when that needs it least.
        """
        return Saving(self, [*_BESIDE, *self._backup(name, tags, host)] if beside else self._backup(name, tags, host))

    def held(self, name: str, tags: Sequence[str], host: str) -> Held:
        """Begin what `put` does before the bytes are known, which Held.finish() is given. Raises OSError."""
        return Held(self, [*_BESIDE, *self._backup(name, tags, host)])

    def put(self, data: bytes, name: str, tags: Sequence[str], host: str) -> Saved:
        """Make a snapshot of these bytes as the file `name`: of all of them or none, whoever is killed meanwhile.

        Raises:
            ResticError: restic failed. There is no snapshot, or one that nobody was told of.
        """
        putting = Putting(self, self._backup(name, tags, host), data)
        try:
            return putting.finish()
        finally:
            putting.close()

    def putting(self, data: bytes, name: str, tags: Sequence[str], host: str) -> Putting:
        """Begin what `put` does, beside something large; it ends with Putting.finish(). Raises OSError."""
        return Putting(self, [*_BESIDE, *self._backup(name, tags, host)], data)

    def _backup(self, name: str, tags: Sequence[str], host: str) -> List[str]:
        words = [*self._argv, "backup", "--json", "--stdin", "--stdin-filename=" + flat(name), "--host=" + host]
        return [*words, *("--tag=" + tag for tag in tags)]

    def snapshots(self, *words: str, limit_s: Optional[float] = None) -> List[Dict[str, Any]]:
        """What `restic snapshots --json` lists. Raises ResticError."""
        said = self.run("snapshots", "--json", "--no-lock", *words, timeout_s=limit_s)
        found: List[Dict[str, Any]] = json.loads(said or "[]") or []
        return found

    def told(self, *words: str) -> str:
        """All that restic says, stdout and stderr, however it ends: of a damaged repository it says what it can."""
        argv = [*self._argv, *words]
        done = subprocess.run(
            argv, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.stdout.decode("utf-8", "replace")

    def read(self, snapshot: str, name: str) -> str:
        """The text of a small file of a snapshot. Raises ResticError."""
        return self.run("dump", snapshot, flat(name))

    def dump(self, snapshot: str, name: str) -> "subprocess.Popen[bytes]":
        """A program that prints the file `name` of a snapshot: read it to the end, then its status. Raises OSError."""
        words = [*self._argv, "dump", snapshot, flat(name)]
        return subprocess.Popen(
            words, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def start(
        self, words: Sequence[str], stdin: int, stdout: int, stderr: int, keep: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start restic between these descriptors; it has those to `keep`, too. Raises OSError."""
        return subprocess.Popen(words, env=self._env, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=keep)

    def become(self, words: Sequence[str]) -> NoReturn:
        """Go on as restic, with this terminal. Raises OSError: it cannot be run."""
        os.execvpe(self._argv[0], [*self._argv, *words], self._env)

    def failed(self, what: str, status: int, said: bytes) -> ResticError:
        """What restic's end means, without its credentials."""
        return complaint(what, self.name, status, said, self._secrets)


def _address(target: Target) -> str:
    """The repository as every version understands it: variables for a REST server's login exist since 0.16 only."""
    repository = target["repository"]
    password = target["environment"].get("RESTIC_REST_PASSWORD")
    if not repository.startswith("rest:") or not password:
        return repository
    scheme, _, rest = repository.partition("://")
    user = target["environment"].get("RESTIC_REST_USERNAME", "")
    return "{}://{}:{}@{}".format(scheme, _quoted(user), _quoted(password), rest)


def _quoted(text: str) -> str:
    """Text as it stands in an address, where no letter or digit means anything."""
    plain = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
    return "".join(chr(byte) if byte in plain else "%{:02X}".format(byte) for byte in text.encode())
