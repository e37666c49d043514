"""A fleet on disk: where its files are, how it is found, made and locked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from otobotctl.errors import LockedError, ManifestError, UsageError

MANIFEST = "clients-config.json"
_IGNORED = ("# Nothing that can be read without a key belongs in git.", "*.key", "*.pem", ".env", "/rendered/")
_LARGE = ("# Archives are sealed, and too large for git.", "/clients/*/archives/")
_LOCK_S = 30.0


@dataclass(frozen=True)
class Fleet:
    """A directory with a manifest."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.root / MANIFEST

    @property
    def schema(self) -> Path:
        """The manifest's JSON Schema, for editors."""
        return self.root / "clients-config.schema.json"

    @property
    def known_hosts(self) -> Path:
        """Pinned host keys, in OpenSSH's format, under the names of the manifest."""
        return self.root / "known_hosts"

    @property
    def gitignore(self) -> Path:
        """What git must not take."""
        return self.root / ".gitignore"

    @property
    def audit(self) -> Path:
        """Who did what to the fleet: a file for each person and machine, so that git has nothing to merge."""
        return self.root / "audit"

    def client(self, slug: str) -> Path:
        """The directory of a client's sealed secrets and their metadata."""
        return self.root / "clients" / slug

    def host(self, name: str) -> Path:
        """The directory of the sealed secrets of a host of its own, of those few that have one."""
        return self.root / "hosts" / name

    def archives(self, slug: str) -> Path:
        """Where the final archives of a client go."""
        return self.client(slug) / "archives"

    def prepare_archives(self, slug: str) -> None:
        """Make that directory, of which git takes nothing whatever the fleet's own .gitignore says. Raises OSError."""
        directory = self.archives(slug)
        directory.mkdir(parents=True, exist_ok=True)
        _write_new(directory / ".gitignore", "*\n", [])


@dataclass(frozen=True)
class Initialised:
    """A fleet that is there now. `made` are the paths that were not there; a minted `identity` is one."""

    root: str
    made: tuple[str, ...]
    recipients: tuple[str, ...]
    identity: str | None


def find(explicit: Path | None = None, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Fleet:
    """Return the fleet: `explicit`, else OTOBOTCTL_FLEET, else the nearest directory upwards that has a manifest.

    Raises:
        UsageError: there is none.
    """
    named = (os.environ if environ is None else environ).get("OTOBOTCTL_FLEET", "")
    if explicit is not None:
        return _at(explicit, "--fleet")
    if named:
        return _at(Path(named), "OTOBOTCTL_FLEET")
    start = (cwd or Path.cwd()).resolve()
    for directory in (start, *start.parents):
        if (directory / MANIFEST).is_file():
            return Fleet(directory)
    raise UsageError(
        f"no fleet here: neither {start} nor a directory above it has a {MANIFEST}",
        hint="make one with otobotctl init DIR, or name one with --fleet DIR",
    )


def _at(directory: Path, said: str) -> Fleet:
    root = directory.expanduser().resolve()
    if root.name == MANIFEST and root.is_file():
        root = root.parent
    if not root.is_dir():
        raise UsageError(f"{said} names {root}, which is not a directory", hint=f"otobotctl init {root}")
    if not (root / MANIFEST).exists():
        raise UsageError(f"{said} names {root}, which has no {MANIFEST}", hint=f"otobotctl init {root}")
    return Fleet(root)


@contextmanager
def locked(directory: Path, wait_s: float = _LOCK_S) -> Iterator[None]:
    """Hold a directory against other processes that lock it; it is made if it is not there.

    The lock lies on the directory itself, so nothing is left behind, and it dies with its process.

    Raises:
        LockedError: another process has held it for `wait_s` seconds.
    """
    import fcntl
    import time

    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    hint = "wait for it to end, then run the command again"
                    raise LockedError(f"another otobotctl is writing in {directory}", hint=hint) from error
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def init_fleet(directory: Path, home: Path | None = None, schema: str | None = None) -> Initialised:
    """Make a fleet in `directory`; what is there already is kept as it is.

    `schema` is the JSON Schema to put beside the manifest. The recipients are the operator's SSH keys in `home`/.ssh.
    If none of those can open secrets without a passphrase, an age identity is a recipient too; it is minted if needed.

    Raises:
        ManifestError: the directory cannot be written.
    """
    fleet = Fleet(directory.expanduser().resolve())
    made: list[Path] = []
    try:
        with locked(fleet.root):
            if fleet.manifest.exists():
                recipients, identity = _recipients_of(fleet), None
            else:
                recipients, identity = operator_keys(home or Path.home())
                _write_new(fleet.manifest, _empty_manifest(recipients, schema is not None), made)
            _write_new(fleet.gitignore, "\n".join((*_IGNORED, *_LARGE)) + "\n", made)
            if schema is not None:
                _write_new(fleet.schema, schema, made)
    except OSError as error:
        raise ManifestError(
            f"cannot make a fleet in {fleet.root}: {error.strerror}", hint="name another DIR"
        ) from error
    paths = [*made, *([identity] if identity else [])]
    return Initialised(
        str(fleet.root), tuple(str(path) for path in paths), recipients, str(identity) if identity else None
    )


def operator_keys(home: Path) -> tuple[tuple[str, ...], Path | None]:
    """Return the public keys of the operator, and the path of an age identity if one had to be minted."""
    ssh = home / ".ssh"
    public = {path: _public_line(path) for path in sorted(ssh.glob("*.pub"))}
    recipients = [line for line in public.values() if line]
    opens = any(line and _opens(path.with_suffix("")) for path, line in public.items() if path.stem in _SEARCHED)
    identity = home / ".config" / "otobotctl" / "identity.txt"
    if identity.exists():
        return (*recipients, _age_recipient(identity)), None
    if opens:
        return tuple(recipients), None
    _mint_identity(identity)
    return (*recipients, _age_recipient(identity)), identity


_SEARCHED = ("id_ed25519", "id_rsa")  # the private keys that are tried when a store is opened


def _public_line(path: Path) -> str:
    """Return the public key in a .pub file, "" if age cannot seal for it."""
    import pyrage  # type: ignore[import-untyped]

    try:
        line = path.read_text(encoding="utf-8").strip()
        pyrage.ssh.Recipient.from_str(line)
    except (OSError, UnicodeDecodeError, pyrage.RecipientError):
        return ""
    return line


def _opens(private: Path) -> bool:
    import pyrage

    try:
        pyrage.ssh.Identity.from_buffer(private.read_bytes())
    except (OSError, pyrage.IdentityError):
        return False
    return True


def _mint_identity(path: Path) -> None:
    import pyrage

    from otobotctl import atomic

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    identity = pyrage.x25519.Identity.generate()
    lines = f"# minted by otobotctl init; keep a copy offline\n# public key: {identity.to_public()}\n{identity}\n"
    atomic.write(path, lines.encode(), 0o600)


def _age_recipient(path: Path) -> str:
    """Return the public key of the first identity in an age identity file."""
    import pyrage

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        secret = next(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        return str(pyrage.x25519.Identity.from_str(secret).to_public())
    except (OSError, UnicodeDecodeError, StopIteration, pyrage.IdentityError):
        # Not chained: the text of that file must not come near a traceback.
        raise ManifestError(f"{path} holds no age identity", hint=f"age-keygen -o {path}") from None


def _recipients_of(fleet: Fleet) -> tuple[str, ...]:
    """Return the recipients of a manifest that is there already; none where it cannot be read."""
    import json

    try:
        recipients = json.loads(fleet.manifest.read_bytes())["recipients"]
        return tuple(str(recipient) for recipient in recipients)
    except (ValueError, LookupError, TypeError):
        return ()


def _empty_manifest(recipients: tuple[str, ...], with_schema: bool) -> str:
    import json

    schema = {"$schema": "./clients-config.schema.json"} if with_schema else {}
    manifest = {**schema, "version": 1, "recipients": list(recipients), "hosts": {}, "clients": {}}
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _write_new(path: Path, text: str, made: list[Path]) -> None:
    if not path.exists():
        from otobotctl import atomic

        atomic.write(path, text.encode())
        made.append(path)
