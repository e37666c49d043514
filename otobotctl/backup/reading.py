"""Proves an archive by reading it back from disk: opened, its directory read, every member checked by the manifest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from otobotctl.backup import contents
from otobotctl.backup.contents import Manifest
from otobotctl.backup.sealing import unseal

_TAIL = 4 << 20  # the ZIP's directory and manifest.json, which is its last member
_LOCAL_HEADER = 30


def check(path: Path, identities: list[Any]) -> Manifest:
    """Return the manifest of a sealed archive whose every byte is what it says; in constant memory, in two passes.

    Raises:
        NoIdentityError: none of the identities opens it.
        ValueError: it is not whole; the text says what is wrong.
        OSError: it cannot be read.
    """
    tail = _Tail()
    unseal(path, identities, tail)
    try:
        with zipfile.ZipFile(tail.file()) as packed:
            manifest = contents.decode(packed.read(contents.MANIFEST))
            entries = packed.infolist()
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} opens and holds no archive of ours: {error}") from None
    wanted = {member.name: (member.bytes, member.sha256) for member in manifest.members}
    named = [entry.filename for entry in entries if entry.filename != contents.MANIFEST]
    if sorted(named) != sorted(wanted) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path}: its members are not those of its manifest")
    members = _Members(entries)
    unseal(path, identities, members)
    for name, expected in wanted.items():
        if members.found(name) != expected:
            raise ValueError(f"{path}: {name} is not what its manifest says")
    return manifest


class _Tail:
    """Keeps the end of a stream."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._kept += data
        self._size += len(data)
        if len(self._kept) > 2 * _TAIL:
            del self._kept[:-_TAIL]
        return len(data)

    def flush(self) -> None:
        pass

    def file(self) -> _Ending:
        return _Ending(bytes(self._kept), self._size)


class _Ending(io.RawIOBase):
    """A file of which only the end can be read."""

    def __init__(self, kept: bytes, size: int) -> None:
        super().__init__()
        self._kept = kept
        self._start = size - len(kept)
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, "before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if self._at < self._start:
            raise EOFError("its directory is too far from its end")
        place = self._at - self._start
        found = self._kept[place:] if size is None or size < 0 else self._kept[place : place + size]
        self._at += len(found)
        return found


class _Members:
    """Hashes the members of a ZIP as they stream by: they lie one after the other, as its directory says."""

    def __init__(self, entries: list[zipfile.ZipInfo]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.header_offset, reverse=True)
        self._found: dict[str, tuple[int, Any]] = {}
        self._at = 0
        self._header = b""
        self._name = ""
        self._left = 0

    def found(self, name: str) -> tuple[int, str]:
        """The bytes and the SHA-256 of a member, as far as it streamed by."""
        size, digest = self._found.get(name, (0, hashlib.sha256()))
        return size, digest.hexdigest()

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            used = self._content(rest) if self._left else self._between(rest)
            self._at += used
            rest = rest[used:]
        return len(data)

    def flush(self) -> None:
        pass

    def _content(self, data: memoryview) -> int:
        used = min(self._left, len(data))
        size, digest = self._found[self._name]
        digest.update(data[:used])
        self._found[self._name] = (size + used, digest)
        self._left -= used
        return used

    def _between(self, data: memoryview) -> int:
        """Skip to the next member's header, and take that in."""
        if not self._entries:
            return len(data)
        entry = self._entries[-1]
        if self._at < entry.header_offset:
            return min(entry.header_offset - self._at, len(data))
        missing = self._header_size() - len(self._header)
        self._header += bytes(data[:missing])
        if len(self._header) == self._header_size() > _LOCAL_HEADER or self._is_bare():
            self._entries.pop()
            self._name, self._left, self._header = entry.filename, entry.file_size, b""
            self._found[self._name] = (0, hashlib.sha256())
        return min(missing, len(data))

    def _header_size(self) -> int:
        """Its fixed part, and once that is known the name and the extra field that follow."""
        if len(self._header) < _LOCAL_HEADER:
            return _LOCAL_HEADER
        name, extra = self._header[26:28], self._header[28:30]
        return _LOCAL_HEADER + int.from_bytes(name, "little") + int.from_bytes(extra, "little")

    def _is_bare(self) -> bool:
        return len(self._header) == _LOCAL_HEADER == self._header_size()
