"""Seals a stream with age on its way to disk: nothing plain is ever written, and no half file has the final name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from otobotctl import atomic
from otobotctl.errors import OtobotError

PART = ".part"


class Writer(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take them all and return how many they are."""

    def flush(self) -> None:
        """Nothing is held back."""


class NoIdentityError(Exception):
    """None of the identities at hand opens the file."""


@dataclass(frozen=True)
class Sealed:
    """A sealed file on disk."""

    path: Path
    bytes: int
    sha256: str


class Part:
    """A sealed file that has not got its final name yet: `settle` gives it, leaving the block without takes it away."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(target.name + PART)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def write(self, pieces: Iterable[bytes], recipients: list[Any]) -> Sealed:
        """Seal the pieces for the recipients; they are on disk when this returns, in a file of 0600.

        Raises:
            OtobotError: the disk does not take them; or whatever the pieces raise.
        """
        import pyrage  # type: ignore[import-untyped]

        source, sink = _Source(pieces), None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # what a killed run left
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as stream:  # noqa: PTH123  # 0600 from its first byte
                sink = _Sink(stream)
                try:
                    pyrage.encrypt_io(source, sink, recipients)
                except pyrage.EncryptError as error:
                    raise (source.failure or sink.failure or error) from None
                os.fsync(stream.fileno())
        except OSError as error:
            raise self._disk(error) from error
        return Sealed(self._target, sink.size, sink.digest.hexdigest())

    def settle(self) -> None:
        """Give it its final name, durably. Raises OtobotError."""
        try:
            self.path.replace(self._target)
            atomic.sync_directory(self._target.parent)
        except OSError as error:
            raise self._disk(error) from error

    def _disk(self, error: OSError) -> OtobotError:
        return OtobotError(
            f"{self._target} cannot be written: {error.strerror}",
            hint="free some room, or name another place for the archive, and run the command again",
        )


def unseal(path: Path, identities: list[Any], sink: Writer) -> None:
    """Write what is sealed in `path` to `sink`, in constant memory.

    Raises:
        NoIdentityError: none of the identities opens it.
        ValueError: it is damaged or cut short.
        OSError: it cannot be read.
    """
    import pyrage

    with path.open("rb") as stream:
        try:
            pyrage.decrypt_io(stream, sink, identities)
        except pyrage.DecryptError as error:
            if "key" in str(error):
                raise NoIdentityError(str(path)) from None
            raise ValueError(f"{path}: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(f"{path}: {error}") from None


def sweep(directory: Path) -> None:
    """Remove the parts that killed calls left in a directory that nobody else writes in now. Raises OSError."""
    for left in directory.glob(f"*{PART}"):
        left.unlink(missing_ok=True)


def digest(path: Path) -> tuple[int, str]:
    """The size of a file and its SHA-256. Raises OSError."""
    found, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()


class _Source:
    """Pieces as a file to read. age asks for a few kilobytes at a time; it hides what a piece raised, so it is kept."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.failure: BaseException | None = None
        self._pieces: Iterator[bytes] = iter(pieces)
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes:
        try:
            while not self._piece:
                self._piece = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error
            raise
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)


class _Sink:
    """A file that is written whole or not at all, and hashed on the way."""

    def __init__(self, stream: Any) -> None:
        self.failure: BaseException | None = None
        self.digest = hashlib.sha256()
        self.size = 0
        self._stream = stream

    def write(self, data: bytes) -> int:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._stream.write(rest) :]
        except BaseException as error:
            self.failure = error
            raise
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
