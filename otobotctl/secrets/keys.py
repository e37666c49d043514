"""The keys that seal and open: recipients in the manifest, identities on the operator's machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otobotctl.errors import ManifestError, UsageError
from otobotctl.manifest import words

GIVEN = "OTOBOTCTL_AGE_KEY"
_LONG = 24


def identities(environ: Mapping[str, str] | None = None, home: Path | None = None) -> tuple[Path, ...]:
    """Return the private keys that are tried: OTOBOTCTL_IDENTITY alone when it is set, else those of the operator.

    None, where OTOBOTCTL_AGE_KEY holds the key itself.

    Raises:
        UsageError: OTOBOTCTL_IDENTITY names no file.
    """
    variables = os.environ if environ is None else environ
    if variables.get(GIVEN, "").strip():
        return ()
    named = variables.get("OTOBOTCTL_IDENTITY", "")
    if named:
        path = file_named(named)
        if path is None:
            hint = f"give it the name of a private key's file; a key itself goes into {GIVEN}"
            raise UsageError("OTOBOTCTL_IDENTITY does not name a file", hint=hint)
        return (path,)
    home = home or Path.home()
    places = (home / ".config" / "otobotctl" / "identity.txt", home / ".ssh" / "id_ed25519", home / ".ssh" / "id_rsa")
    return tuple(path for path in places if path.is_file())


def file_named(said: str) -> Path | None:
    """Return the file that a variable names, None where it names none: it may be a key, which no error may quote."""
    try:
        path = Path(said.strip()).expanduser()
        return path if path.exists() and not path.is_dir() else None
    except (OSError, RuntimeError):  # longer than a name may be, or of nobody's home
        return None


def shown(recipient: str) -> str:
    """Return how a person knows this recipient: by the comment, or by the first characters of the key."""
    kind, *rest = recipient.split(None, 2)
    if len(rest) > 1:
        return rest[1]
    return kind if kind.startswith("ssh-") else f"{kind[:_LONG]}..."


def recipients(lines: Iterable[str]) -> list[Any]:
    """Return what pyrage seals for. Raises ManifestError: none, or one that age cannot seal for."""
    import pyrage  # type: ignore[import-untyped]

    keys = []
    for place, line in enumerate(lines):
        wrong = words.recipient(line)
        if wrong:
            raise ManifestError(f"recipients[{place}]: {wrong[0]}", hint=wrong[1])
        kind = pyrage.ssh.Recipient if line.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            keys.append(kind.from_str(line.strip()))
        except pyrage.RecipientError as error:
            hint = "copy the public key again"
            raise ManifestError(f"recipients[{place}]: {shown(line)} is not a whole key", hint=hint) from error
    if not keys:
        hint = 'add your public key to "recipients" in clients-config.json'
        raise ManifestError("the fleet has no recipients: nobody could open the secrets", hint=hint)
    return keys


def load(paths: Sequence[Path]) -> tuple[list[Any], tuple[str, ...]]:
    """Return the identities that pyrage can use, and why the others cannot be used.

    The one in OTOBOTCTL_AGE_KEY comes first. Raises UsageError: that is none.
    """
    keys: list[Any] = given(os.environ.get(GIVEN, ""))
    notes: list[str] = []
    for path in paths:
        try:
            keys += _identity(path)
        except OSError as error:
            notes.append(f"{path} cannot be read: {error.strerror}")
        except ValueError as error:
            notes.append(f"{path} {error}")
    return keys, tuple(notes)


def _identity(path: Path) -> list[Any]:
    """Return the identities in a file. Raises OSError, or ValueError saying why there are none, without its text."""
    return _parsed(path.read_bytes())


def given(text: str) -> list[Any]:
    """Return the identity that a CI's variable holds or names the file of, [] for none. Raises UsageError."""
    if not text.strip():
        return []
    if path := file_named(text):
        text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.replace("\\n", "\n").replace("\r", "").strip()  # what CI systems make of line ends
    try:
        return _parsed(f"{lines}\n".encode())
    except ValueError as error:
        hint = "give it what age-keygen prints, or an SSH private key without a passphrase"
        raise UsageError(f"{GIVEN} {error}", hint=hint) from None


def _parsed(raw: bytes) -> list[Any]:
    import pyrage

    if raw.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")):
        raise ValueError(
            "is itself sealed with a passphrase: unseal it into memory with OTOBOTCTL_IDENTITY=<(age -d ...)"
        )
    try:
        if raw.lstrip().startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(raw)]
        lines = [line.strip() for line in raw.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise ValueError(_unusable(raw)) from None
    if not found:
        raise ValueError("holds no key")
    return found


def _unusable(raw: bytes) -> str:
    if _is_protected(raw):
        return "has a passphrase, which only the age tool can ask for"
    if b"OPENSSH PRIVATE KEY" in raw or b"EC PRIVATE KEY" in raw:
        return "is of a kind that age cannot use (it takes ssh-ed25519, ssh-rsa and age identities)"
    return "holds no age identity and no SSH private key"


def _is_protected(raw: bytes) -> bool:
    """Tell whether an SSH private key is encrypted: OpenSSH's form names its cipher first, the old one in a header."""
    import base64
    import binascii

    if b"Proc-Type: 4,ENCRYPTED" in raw or b"BEGIN ENCRYPTED PRIVATE KEY" in raw:
        return True
    body = b"".join(line for line in raw.splitlines() if line and not line.startswith(b"-----"))
    try:
        blob = base64.b64decode(body)
    except binascii.Error:
        return False
    magic = b"openssh-key-v1\0"
    length = int.from_bytes(blob[len(magic) : len(magic) + 4], "big")
    cipher = blob[len(magic) + 4 : len(magic) + 4 + length]
    return blob.startswith(magic) and cipher != b"none"
