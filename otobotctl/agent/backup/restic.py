"""restic, as this host's package manager has it: 0.12 and newer. Passwords and credentials go by file and environment.

A program's output becomes a snapshot without passing through here: restic reads the pipe that the program writes. This
process holds the pipe's writing end too, so restic sees its end only after the program has ended well; of one that
failed, restic is told to stop, and it leaves no snapshot. That is what `--stdin-from-command` does (0.17 and newer),
for every version.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence

from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.shapes import Target
from otobotctl.agent.run import environment, last_words

_STOP_S = 60.0
_GIVE_UP_S = 5.0  # what is put is small: a restic that has not ended by then waits for a target that is silent
_KEPT = 16384
_SHORTEST = 6  # what is shorter, such as a region, would be masked within words
# What restic says on stderr, by version: the exit codes 10, 11 and 12 exist since 0.17.
_SIGNS = (
    ("password", ("wrong password", "no key found")),
    ("locked", ("already locked",)),
    ("full", ("no space left", "disk quota exceeded", "quota exceeded", "Insufficient Storage")),
    (
        "denied",
        (
            "403 Forbidden",
            "401 Unauthorized",
            "Access Denied",
            "ermission denied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "Host key verification failed",
        ),
    ),
    (
        "unreachable",
        (
            "connection refused",
            "no route to host",
            "i/o timeout",
            "no such host",
            "Connection timed out",
            "connection reset",
            "etwork is unreachable",
            "Could not resolve",
            "unable to start the sftp session",
            "Connection closed",
            "TLS handshake",
            "context deadline exceeded",
        ),
    ),
    ("absent", ("Is there a repository", "does not exist", "no such file or directory")),
    ("damaged", ("hash mismatch", "ciphertext verification failed", "pack ", "index ")),
)
_CODES = {10: "absent", 11: "locked", 12: "password"}


class ResticError(Exception):
    """restic did not do it; the text holds no secret.

    `kind`: password, locked, full, unreachable, denied, absent, damaged, slow (it was ended) or other.
    """

    said = ""  # all of restic's own words, without its credentials

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Saved(NamedTuple):
    """A snapshot: its id, the bytes that were read, and those that the repository grew by."""

    snapshot: str
    bytes: int
    added: int


def flat(name: str) -> str:
    """The file that stands for a part's name in a snapshot: restic 0.18.0, Debian 13's, takes none in a directory."""
    return "/" + name.strip("/").replace("/", "-")


def _message(line: str) -> str:
    """What a line says: with --json, newer ones say errors in JSON too."""
    if not line.startswith("{"):
        return line
    try:
        found = json.loads(line)
    except ValueError:
        return line
    error = found.get("error")
    return str(found.get("message") or (error.get("message") if isinstance(error, dict) else error) or line)


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

    def save(self, argv: Sequence[str], stdin: bytes, name: str, tags: Sequence[str], host: str) -> "Saving":
        """Begin a snapshot of what `argv` prints, as the file `name`; it ends with Saving.finish(). Raises OSError."""
        return Saving(self, self._backup(name, tags, host), argv, stdin)

    def put(self, data: bytes, name: str, tags: Sequence[str], host: str) -> Saved:
        """Make a snapshot of these bytes as the file `name`: of all of them or none, whoever is killed meanwhile.

        Raises:
            ResticError: restic failed. There is no snapshot, or one that nobody was told of.
        """
        putting = self.putting(data, name, tags, host)
        try:
            return putting.finish()
        finally:
            putting.close()

    def putting(self, data: bytes, name: str, tags: Sequence[str], host: str) -> "Putting":
        """Begin what `put` does; it ends with Putting.finish(). Raises OSError."""
        return Putting(self, self._backup(name, tags, host), data)

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

    def start(self, words: Sequence[str], stdin: int, stdout: int, stderr: int) -> "subprocess.Popen[bytes]":
        """Start restic between these descriptors. Raises OSError."""
        return subprocess.Popen(words, env=self._env, stdin=stdin, stdout=stdout, stderr=stderr)

    def become(self, words: Sequence[str]) -> NoReturn:
        """Go on as restic, with this terminal. Raises OSError: it cannot be run."""
        os.execvpe(self._argv[0], [*self._argv, *words], self._env)

    def failed(self, what: str, status: int, said: bytes) -> ResticError:
        """What restic's end means, without its credentials."""
        text = said.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        kind = _CODES.get(status) or next(
            (kind for kind, signs in _SIGNS if any(sign in text for sign in signs)), "other"
        )
        last = last_words("\n".join(_message(line.strip()) for line in text.splitlines()).encode())
        error = ResticError(kind, "restic {} ended with {} on {}: {}".format(what, status, self.name, last))
        error.said = text
        return error


class Putting:
    """A snapshot of bytes under way: restic has all of them already, so that it needs nobody to go on."""

    def __init__(self, restic: Restic, words: Sequence[str], data: bytes) -> None:
        self._restic = restic
        self._files = [os.memfd_create(each) for each in ("whole", "said", "told")]
        os.write(self._files[0], data)
        os.lseek(self._files[0], 0, os.SEEK_SET)
        try:
            self._reader = restic.start(words, *self._files)
        except OSError:
            self._close()
            raise

    def finish(self, limit_s: Optional[float] = None) -> Saved:
        """Wait for it. Raises ResticError, as `put`; "slow": it is not done after `limit_s`."""
        try:
            status = self._reader.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            text = "{} does not answer in {:.0f} s".format(self._restic.name, limit_s or 0)
            raise ResticError("slow", text) from error
        _, said, told = self._files
        if status:
            raise self._restic.failed("backup", status, os.pread(told, _KEPT, 0))
        return _saved(os.pread(said, os.fstat(said).st_size, 0))

    def close(self) -> None:
        """End it if it still runs, and let go of everything."""
        _end(self._reader, _GIVE_UP_S)
        self._close()

    def _close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)


class Saving:
    """A snapshot under way: restic and the program whose output it reads."""

    def __init__(self, restic: Restic, words: Sequence[str], argv: Sequence[str], stdin: bytes) -> None:
        self._restic = restic
        self._said = [os.memfd_create("program"), os.memfd_create("restic"), os.memfd_create("summary")]
        reading, self._writing = os.pipe()
        try:
            self._reader = restic.start(words, reading, self._said[2], self._said[1])
        finally:
            os.close(reading)
        try:
            self._program = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE, stdout=self._writing, stderr=self._said[0], env=environment()
            )  # fmt: skip
        except OSError:
            self._stop()
            raise
        with contextlib.suppress(BrokenPipeError):
            assert self._program.stdin is not None
            with self._program.stdin as feed:
                feed.write(stdin)

    def finish(self, tolerated: Sequence[int] = ()) -> "tuple[Optional[Saved], int, str]":
        """Wait for both; return the snapshot, the program's status and its last words on stderr.

        There is no snapshot where the program ended with a status that is neither 0 nor `tolerated`.

        Raises:
            ResticError: restic failed. There is no snapshot, or one that nobody was told of.
        """
        status = self._program.wait()
        said = last_words(self._read(0), silent="")
        if self._reader.poll() is None and status and status not in tolerated:
            self._stop()
            return None, status, said
        os.close(self._writing)
        self._writing = -1
        ended = self._reader.wait()
        if ended:
            raise self._restic.failed("backup", ended, self._read(1))
        return _saved(self._read(2)), status, said

    def _stop(self) -> None:
        """Tell restic to leave no snapshot, wait for that, and only then let go of the pipe."""
        _end(self._reader, _STOP_S)
        os.close(self._writing)
        self._writing = -1

    def _read(self, which: int) -> bytes:
        return os.pread(self._said[which], _KEPT, max(0, os.fstat(self._said[which]).st_size - _KEPT))

    def close(self) -> None:
        """End what still runs, without a snapshot, and let go of everything."""
        if self._program.poll() is None:
            self._program.kill()
            self._program.wait()
        if self._writing >= 0:
            self._stop()
        for descriptor in self._said:
            os.close(descriptor)


def _end(restic: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End restic, if it still runs; asked to, it leaves no snapshot and takes its lock with it."""
    if restic.poll() is not None:
        return
    restic.terminate()
    try:
        restic.wait(patience_s)
    except subprocess.TimeoutExpired:
        restic.kill()
        restic.wait()


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


def _saved(said: bytes) -> Saved:
    """Read the summary that restic prints last. Raises ResticError: there is none."""
    for line in reversed(said.decode("utf-8", "replace").splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if found.get("message_type") == "summary":
            return Saved(found["snapshot_id"], found["total_bytes_processed"], found["data_added"])
    raise ResticError("other", "restic did not say what it saved")
