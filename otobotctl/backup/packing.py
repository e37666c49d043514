"""What a host streams, record by record, as the bytes of one ZIP. Nothing is kept but one block at a time."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from otobotctl.backup import contents
from otobotctl.backup.contents import Manifest, Member
from otobotctl.errors import OtobotError

Records = Iterator[Mapping[str, Any]]
_AGAIN = "run the same command again"
_TELL_S = 0.5


@dataclass(frozen=True)
class About:
    """What the operator's side knows of an archive. `secrets` is the text of secrets.json."""

    client: str
    company: str
    host: str
    made: str
    otobotctl: str
    secrets: bytes = field(repr=False)


class Packing:
    """One archive in the making. `pieces` are its bytes; when they have ended, `manifest` says what they hold."""

    def __init__(self, about: About, records: Records, told: Callable[[Mapping[str, Any]], None]) -> None:
        """`told` hears of progress: events archive_start, member_start, member_bytes and member_end."""
        self.manifest: Manifest | None = None
        self._about = about
        self._records = records
        self._told = told
        self._out = _Unseekable()
        self._members: list[Member] = []
        self._consistent = False

    def pieces(self) -> Iterator[bytes]:
        """The ZIP, piece by piece.

        Raises:
            OtobotError: a member is not what the host says it is, or the stream ends too early.
        """
        with zipfile.ZipFile(self._out, "w", zipfile.ZIP_STORED) as packed:
            first = next(self._records, None)
            if first is None or "release" not in first:
                raise self._cut("the archive")
            self._tell("archive_start", members=first["members"])
            yield from self._streamed(packed)
            yield from self._own(packed, contents.SECRETS, self._about.secrets)
            names = [member.name for member in self._members]
            yield from self._own(
                packed, contents.README, contents.readme(self._about.client, self._about.company, names)
            )
            self.manifest = self._manifest(first)
            packed.writestr(_info(contents.MANIFEST), self.manifest.encoded())
        yield self._out.taken()

    def _streamed(self, packed: zipfile.ZipFile) -> Iterator[bytes]:
        for record in self._records:
            if "archived" in record:
                if record["archived"] != len(self._members):
                    raise self._cut("the archive")
                self._consistent = bool(record["consistent"])
                return
            yield from self._member(packed, str(record.get("member", "")))
        raise self._cut("the archive")

    def _member(self, packed: zipfile.ZipFile, name: str) -> Iterator[bytes]:
        if not contents.is_safe(name) or name in {member.name for member in self._members}:
            raise OtobotError(f"{self._about.host} sends a member under the name {name!r}", hint=_AGAIN)
        self._tell("member_start", member=name)
        digest, size, started = hashlib.sha256(), 0, time.monotonic()
        tell_at = started + _TELL_S
        # Dumps are compressed where they are made; the rest is small or somebody's files: stored, to be fast.
        with packed.open(_info(name), "w", force_zip64=True) as target:
            for record in self._records:
                if "block" not in record:
                    break
                target.write(record["data"])
                digest.update(record["data"])
                size += len(record["data"])
                if time.monotonic() > tell_at:
                    tell_at = time.monotonic() + _TELL_S
                    self._tell("member_bytes", member=name, bytes=size)
                yield self._out.taken()
            else:
                raise self._cut(name)
        if record.get("member_end") != name:
            raise self._cut(name)
        if (record["bytes"], record["sha256"]) != (size, digest.hexdigest()):
            raise OtobotError(f"{name} did not arrive as {self._about.host} sent it", hint=_AGAIN)
        self._members.append(
            Member(
                name=name,
                bytes=size,
                sha256=digest.hexdigest(),
                note=record.get("note", ""),
                rows_estimated=record.get("rows_estimated"),
            )
        )
        took_s = round(time.monotonic() - started, 3)
        self._tell("member_end", member=name, bytes=size, took_s=took_s)

    def _own(self, packed: zipfile.ZipFile, name: str, data: bytes) -> Iterator[bytes]:
        packed.writestr(_info(name), data)
        self._members.append(Member(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
        yield self._out.taken()

    def _manifest(self, first: Mapping[str, Any]) -> Manifest:
        return Manifest(
            version=contents.VERSION,
            made=self._about.made,
            client=self._about.client,
            company=self._about.company,
            host=self._about.host,
            otobotctl=self._about.otobotctl,
            release=first["release"],
            images=first["images"],
            consistent=self._consistent,
            members=tuple(self._members),
        )

    def _tell(self, event: str, **fields: Any) -> None:
        self._told({"event": event, "host": self._about.host, **fields})

    def _cut(self, what: str) -> OtobotError:
        return OtobotError(f"{self._about.host}: the stream of {what} ends before its end", hint=_AGAIN)


class _Unseekable(io.RawIOBase):
    """Where zipfile writes: it cannot go back, so what was written can be taken away at once."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, time.gmtime()[:6])
    info.external_attr = 0o100600 << 16
    return info
