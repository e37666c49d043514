"""Host keys: what a host shows, what the fleet has pinned, and how a pin is written."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from otobotctl import atomic, fleet
from otobotctl.errors import OtobotError
from otobotctl.transport import failures
from otobotctl.transport.options import destination, options
from otobotctl.transport.ssh import environment, explain, no_ssh
from otobotctl.transport.target import Settings, Target

_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", "rsa-sha2-512,rsa-sha2-256")
_FIELDS = 3  # of a known_hosts line: names, type, blob


@dataclass(frozen=True)
class HostKey:
    """One public key of a host: `type` such as "ssh-ed25519", `blob` in base64."""

    type: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: "SHA256:..."."""
        return fingerprint(self.blob)


def fingerprint(blob: str) -> str:
    """The SHA256 fingerprint of a base64 key blob. Raises ValueError when it is not base64."""
    try:
        raw = base64.b64decode(blob, validate=True)
    except binascii.Error as error:
        raise ValueError("not a base64 key") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def fetch_keys(target: Target, *, expected: str | None = None, settings: Settings | None = None) -> tuple[HostKey, ...]:
    """The key that `target` proves to hold now, through its jump hosts. Nothing is logged in to and nothing is pinned.

    ssh asks for the kind it likes best. A provider may show another's fingerprint: with `expected`, the other kinds
    are asked for too, until one has that fingerprint.

    Raises HostUnreachableError, or HostKeyError for a jump host whose own key is not pinned.
    """
    settings = settings or Settings.from_environment()
    found = list(_fetch(target, settings))
    for kind in _KINDS if expected else ():
        if any(key.fingerprint == expected for key in found):
            break
        # A host need not have a key of every kind; it answered before, so a refusal is no news.
        with contextlib.suppress(OtobotError):
            found += [key for key in _fetch(target, settings, kind) if key not in found]
    return tuple(sorted(found, key=lambda key: key.fingerprint != expected))


def _fetch(target: Target, settings: Settings, kind: str = "") -> tuple[HostKey, ...]:
    with tempfile.TemporaryDirectory(prefix="otobotctl-") as directory:
        shown = replace(target, known_hosts=Path(directory) / "known_hosts", identity=None)
        argv: tuple[str, ...] = ("ssh", "-o", "StrictHostKeyChecking=accept-new", "-o", "HashKnownHosts=no")
        argv += ("-o", f"HostKeyAlgorithms={kind}") if kind else ()
        argv += ("-o", "PreferredAuthentications=none", *options(shown, settings, control=None), *destination(shown))
        said = _run((*argv, "true"), settings.connect_timeout_s * 2 + 15, target)
        keys = pinned(shown.known_hosts, target.name)
    if not keys:
        raise explain(target, settings, said)
    return keys


def pinned(known_hosts: Path, name: str) -> tuple[HostKey, ...]:
    """The keys pinned under `name`; empty when there are none or no such file."""
    return tuple(
        HostKey(fields[1], fields[2])
        for fields in map(str.split, _lines(known_hosts))
        if len(fields) >= _FIELDS and name in fields[0].split(",")
    )


def pinned_names(known_hosts: Path) -> frozenset[str]:
    """Every name that has a pinned key."""
    lines = map(str.split, _lines(known_hosts))
    return frozenset(
        name for fields in lines if len(fields) >= _FIELDS and fields[0][0] not in "#@" for name in fields[0].split(",")
    )


def pin(known_hosts: Path, name: str, key: HostKey) -> None:
    """Make `key` the only one that `name` is trusted by. Other names' lines and comments stay as they are."""
    with fleet.locked(known_hosts.parent):
        _write(known_hosts, [*_lines_without(known_hosts, name), f"{name} {key.type} {key.blob}"])


def unpin(known_hosts: Path, name: str) -> None:
    """Trust no key of `name` any more; nothing is written when none is pinned."""
    with fleet.locked(known_hosts.parent):
        lines = _lines_without(known_hosts, name)
        if lines != _lines(known_hosts):
            _write(known_hosts, lines)


def _write(known_hosts: Path, lines: list[str]) -> None:
    atomic.write(known_hosts, "".join(f"{line}\n" for line in lines).encode())


def _lines_without(known_hosts: Path, name: str) -> list[str]:
    return [kept for line in _lines(known_hosts) if (kept := _without(line, name)) is not None]


def _without(line: str, name: str) -> str | None:
    """The line without `name`; None when it stood for that name alone."""
    first, _, rest = line.partition(" ")
    names = first.split(",")
    if name not in names:
        return line
    others = [other for other in names if other != name]
    return f"{','.join(others)} {rest}" if others else None


def _lines(known_hosts: Path) -> list[str]:
    try:
        return known_hosts.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _run(argv: tuple[str, ...], limit_s: float, target: Target) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
            env=environment(target),
        )
    except subprocess.TimeoutExpired:
        raise failures.silent(target, limit_s) from None
    except FileNotFoundError:
        raise no_ssh() from None
    return done.stderr.decode("utf-8", "replace")
