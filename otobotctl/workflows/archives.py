"""`client export` and the final archive of `client destroy`: one execution, streamed into one sealed file."""

from __future__ import annotations

import itertools
import secrets as randomness
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import person, secrets
from otobotctl.agent.protocol import VERSION, ArchiveRequest
from otobotctl.backup import contents
from otobotctl.backup.packing import About, Packing
from otobotctl.backup.reading import check
from otobotctl.backup.sealing import NoIdentityError, Part, Sealed, digest, sweep
from otobotctl.errors import OtobotError, UsageError
from otobotctl.render import backups, layout
from otobotctl.render.client import services_of
from otobotctl.workflows import converging
from otobotctl.workflows.desired import Loaded, load

if TYPE_CHECKING:
    from otobotctl.backup.contents import Manifest
    from otobotctl.converge.archiving import Archiving
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedClient


@dataclass(frozen=True)
class Archived:
    """An archive on disk. `file` is sealed for `recipients`; `sha256` and `bytes` are the sealed file's own.

    `proved`: it was read back and every member was what the manifest says; False where no identity here opens it, so
    that only the file itself was compared; None where nothing was read back.
    """

    client: str
    host: str
    file: str
    bytes: int
    sha256: str
    consistent: bool
    members: tuple[contents.Member, ...]
    recipients: tuple[str, ...]
    took_s: float
    proved: bool | None = None


def export(
    fleet: Fleet,
    slug: str,
    output: Path,
    recipients: Sequence[str],
    listener: Listener,
    password: Password | None = None,
) -> Archived:
    """Write a client's data, configuration and secrets into one file, sealed for `recipients`, else the manifest's.

    Raises:
        UsageError: `output` is there already.
        OtobotError: a member could not be had, or the file not be written; nothing is left under its name.
    """
    from otobotctl.converge.archiving import Archiving

    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    at = datetime.now(UTC)
    path = output / contents.file_name(slug, at) if output.is_dir() else output
    while output.is_dir() and path.exists():  # one was made within this second
        at += timedelta(seconds=1)
        path = output / contents.file_name(slug, at)
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file")
    job = _Job(loaded, client, path, at, tuple(recipients) or loaded.manifest.recipients, listener)
    with Archiving(converging.opener(loaded, client.host), job.request(final=False), password) as archiving:
        return job.run(archiving, archiving.records())


def destroy(
    fleet: Fleet,
    slug: str,
    listener: Listener,
    password: Password | None = None,
    *,
    volumes: bool = False,
    archive: Path | None = None,
    without_archive: bool = False,
) -> Destroyed:
    """Take a client off its host, after a final archive of it that was read back from disk.

    The archive is `archive`, else in the fleet beside the client's secrets. While it is made nothing but the client's
    databases runs; where it fails, everything is started again and nothing is removed. One that an earlier call left,
    with nothing deployed since, counts.
    """
    made = None if without_archive else _final(load(fleet), slug, archive, listener, password)
    if made is not None:
        listener.event({"event": "archived", "host": made.host, "file": made.file, "bytes": made.bytes})
    done = converging.destroy(fleet, slug, listener, password, volumes=volumes)
    return Destroyed(done.host, done.executions + (made is not None), done.changed, done.took_s, made)


def _final(
    loaded: Loaded, slug: str, path: Path | None, listener: Listener, password: Password | None
) -> Archived | None:
    from otobotctl.converge.archiving import Archiving

    client = loaded.manifest.client(slug)
    place, at = _place(loaded.fleet, slug, path)
    job = _Job(loaded, client, place, at, loaded.manifest.recipients, listener)
    with Archiving(converging.opener(loaded, client.host), job.request(final=True), password) as archiving:
        records = archiving.records()
        first = next(records, {})
        if "final" not in first:
            sweep(loaded.fleet.archives(slug))  # the host's lock is ours: no other call writes there
            return job.run(archiving, itertools.chain((first,), records), prove=True)
    return job.earlier(first["final"]) if first["left"] else None


def _place(fleet: Fleet, slug: str, given: Path | None) -> tuple[Path, datetime]:
    """Where a final archive goes, and the time that it is named by; nothing is there. Raises UsageError."""
    at = datetime.now(UTC)
    if given is not None:
        if given.exists():
            raise UsageError(f"{given} is there already", hint="name another file")
        return given, at
    fleet.prepare_archives(slug)
    while (path := fleet.archives(slug) / contents.file_name(slug, at)).exists():
        at += timedelta(seconds=1)  # a call that was killed within this second left it; it is never replaced
    return path, at


@dataclass(frozen=True)
class Destroyed:
    """What a destroy did; `archive` is the final one, None where there was nothing to archive or none was wanted."""

    host: str
    executions: int
    changed: tuple[str, ...]
    took_s: float
    archive: Archived | None


class _Job:
    """One archive of one client."""

    def __init__(
        self,
        loaded: Loaded,
        client: ResolvedClient,
        path: Path,
        at: datetime,
        recipients: tuple[str, ...],
        listener: Listener,
    ) -> None:
        from importlib.metadata import version

        from otobotctl.secrets import keys

        self._loaded = loaded
        self._client = client
        self._path = path
        self._recipients = recipients
        self._keys = keys.recipients(recipients)
        self._listener = listener
        self._about = About(
            client.slug, client.company, client.host, f"{at:%Y-%m-%dT%H:%M:%SZ}", version("otobotctl"), self._secrets()
        )

    def _secrets(self) -> bytes:
        store = secrets.open_store(self._loaded.fleet.client(self._client.slug), secrets.identities())
        return msgspec.json.format(msgspec.json.encode(store.reveal_all()["secrets"]), indent=2) + b"\n"

    def request(self, *, final: bool) -> ArchiveRequest:
        """What the host is asked for: the sources that each service's `backup` names."""
        host = self._loaded.manifest.host(self._client.host)
        wanted, engines = backups.sources(services_of(self._client, host, self._loaded.catalog))
        return ArchiveRequest(
            version=VERSION,
            op="archive",
            run=f"archive-{self._client.slug}-{randomness.token_hex(4)}",
            who=f"{person.name()} (archive of {self._client.slug})",
            client=self._client.slug,
            project=layout.project(self._client.slug),
            sources=wanted,
            engines=[*engines, *backups.receivers(self._client, engines)],
            final=final,
        )

    def run(self, archiving: Archiving, records: Iterator[Mapping[str, Any]], *, prove: bool = False) -> Archived:
        """Stream, seal, prove where asked for, name, and only then confirm to the host."""
        started = time.monotonic()
        packing = Packing(self._about, records, self._listener.event)
        with Part(self._path) as part:
            sealed = part.write(packing.pieces(), self._keys)
            manifest = _known(packing.manifest)
            proved = _prove(part.path, sealed, manifest) if prove else None
            part.settle()
        archiving.confirm(
            {
                "file": self._path.name,
                "sha256": sealed.sha256,
                "bytes": sealed.bytes,
                "members": len(manifest.members),
                "consistent": manifest.consistent,
            }
        )
        about = (self._client.slug, self._client.host, str(self._path), sealed.bytes, sealed.sha256)
        took_s = round(time.monotonic() - started, 3)
        return Archived(*about, manifest.consistent, manifest.members, _shown(self._recipients), took_s, proved)

    def earlier(self, note: Mapping[str, Any] | None) -> Archived:
        """The final archive that an earlier call made. Raises OtobotError: there is none, or not here."""
        started, slug = time.monotonic(), self._client.slug
        away = f"destroy it without an archive: otobotctl client destroy {slug} --no-archive"
        if note is None:
            raise OtobotError(
                f"{slug}: no container of it runs on {self._client.host}, so that no archive can be made",
                hint=f"bring it up with otobotctl client deploy {slug}, or {away}",
            )
        path = self._path.with_name(note["file"])
        try:
            same = digest(path) == (note["bytes"], note["sha256"])
        except OSError:
            same = False
        if not same:
            raise OtobotError(
                f"{slug}: its final archive was made before as {note['file']}, which is not in {path.parent}",
                hint=f"bring that file there (its SHA-256 is {note['sha256']}), or {away}",
            )
        about = (slug, self._client.host, str(path), note["bytes"], note["sha256"], bool(note["consistent"]))
        return Archived(*about, (), _shown(self._recipients), round(time.monotonic() - started, 3))


def _known(manifest: Manifest | None) -> Manifest:
    if manifest is None:
        raise OtobotError("the archive has no manifest", hint="run the same command again")
    return manifest


def _prove(path: Path, sealed: Sealed, manifest: Manifest) -> bool:
    """Read the archive back from disk; return whether it could be opened here. Raises OtobotError: it is not whole."""
    from otobotctl.secrets import keys

    usable, _ = keys.load(secrets.identities())
    try:
        if digest(path) != (sealed.bytes, sealed.sha256) or check(path, usable) != manifest:
            raise _unlike(path)
    except NoIdentityError:
        return False
    except (ValueError, OSError) as error:
        hint = "nothing was destroyed; name another place with --archive FILE, and run the command again"
        raise OtobotError(f"the archive does not read back: {error}", hint=hint) from error
    return True


def _unlike(path: Path) -> ValueError:
    return ValueError(f"{path}: the disk gives back something else than was written")


def _shown(recipients: Sequence[str]) -> tuple[str, ...]:
    from otobotctl.secrets import keys

    return tuple(keys.shown(line) for line in recipients)
