"""What an archive is: its names, its manifest and what its README says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath

import msgspec

from otobotctl import shapes

VERSION = 1
SUFFIX = ".zip.age"
MANIFEST = "manifest.json"
README = "README.txt"
SECRETS = "secrets.json"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an archive. `rows_estimated` are PostgreSQL's own estimates by table, where it was asked.

    `note` is what a reader should know, such as that it changed while it was read.
    """

    name: str
    bytes: int
    sha256: str
    note: str = ""
    rows_estimated: Mapping[str, int] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`: what the archive holds. It names every member but itself.

    `consistent`: nothing wrote while the members were read, so that they are of one moment.
    """

    version: int
    made: str
    client: str
    company: str
    host: str
    otobotctl: str
    release: int
    images: Mapping[str, str]
    consistent: bool
    members: tuple[Member, ...]

    def encoded(self) -> bytes:
        """The text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def decode(raw: bytes) -> Manifest:
    """Read `manifest.json`. Raises ValueError: it is none of ours."""
    found = shapes.decode(raw, Manifest)
    if found.version != VERSION:
        raise ValueError(f"it is of version {found.version}")
    return found


def file_name(client: str, at: datetime) -> str:
    """The name of an archive, such as acme-20261121T150000Z.zip.age."""
    return f"{client}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"


def is_safe(name: str) -> bool:
    """Whether a member's name stays below the directory that it is unpacked in."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name


def readme(client: str, company: str, names: Iterable[str]) -> bytes:
    """What is what, and how to restore each part by hand."""
    listed = list(names)
    parts = [f"Archive of {company} ({client})", _WHAT]
    if any(name.endswith(".dump") for name in listed):
        parts.append(_POSTGRES)
    if any(name.endswith(".archive.gz") for name in listed):
        parts.append(_MONGO)
    if any(name.startswith("volumes/") for name in listed):
        parts.append(_VOLUMES)
    parts.append(_CHECK)
    return ("\n\n".join(parts) + "\n").encode()


_WHAT = """Whoever reads this holds the client's data and every secret that opens it: unpack it on an encrypted disk or
in memory (/dev/shm), and delete what is unpacked when you are done.

manifest.json   when and from what it was made, and each file's size and SHA-256. "consistent": true means that
                nothing wrote while it was made.
secrets.json    every secret by name: what encrypts stored credentials is among them; without it they are lost.
configuration/  the release as it stood on the host: compose.yaml, and each service's files and environment."""

_POSTGRES = """databases/roles.sql, databases/NAME.dump: PostgreSQL. Roles first; their passwords are in secrets.json:
    psql --dbname=postgres --file=databases/roles.sql
    createdb NAME
    pg_restore --exit-on-error --dbname=NAME databases/NAME.dump
A server of the same major version or a newer one; "already exists" for the role that you log in with is no harm."""

_MONGO = """databases/NAME.archive.gz: MongoDB, with mongorestore, which asks for the password:
    mongorestore --archive=databases/NAME.archive.gz --gzip --username=otobot_admin --authenticationDatabase=admin"""

_VOLUMES = """volumes/NAME.tar: the files of a Docker volume, owners by number. Into a new volume, as root:
    docker volume create NAME
    docker volume inspect --format '{{.Mountpoint}}' NAME
    tar --extract --numeric-owner --file=volumes/NAME.tar --directory=MOUNTPOINT"""

_CHECK = """To check every file against the manifest:
    python3 -c 'import hashlib, json; [print(m["name"], hashlib.sha256(open(m["name"], "rb").read()).hexdigest() ==
    m["sha256"]) for m in json.load(open("manifest.json"))["members"]]'"""
