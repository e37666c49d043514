"""The sealed store on disk: `secrets.age`, and `secrets.yaml` beside it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from otobotctl import atomic, fleet
from otobotctl.errors import LockedError, ManifestError
from otobotctl.manifest import words
from otobotctl.secrets import keys, metadata
from otobotctl.secrets.metadata import Metadata, Summary
from otobotctl.secrets.store import SecretStore, empty, from_revealed

SEALED = "secrets.age"
SUMMARY = "secrets.yaml"
_ARMOUR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_held: set[tuple[Path, int]] = set()  # by thread: a thread that locks again what it holds would wait for itself


@contextmanager
def locked(directory: Path, wait_s: float = 30.0) -> Iterator[None]:
    """Hold a client's secrets against other processes, from opening to saving. Raises LockedError."""
    mine = (directory.resolve(), threading.get_ident())
    if mine in _held:
        yield
        return
    with fleet.locked(directory, wait_s):
        _held.add(mine)
        try:
            yield
        finally:
            _held.discard(mine)


def open_store(directory: Path, identities: Sequence[Path]) -> SecretStore:
    """Return the secrets sealed in `directory`; an empty store when there are none yet.

    A `secrets.yaml` that says something else than the sealed file is written again.

    Raises:
        ManifestError: the sealed file is lost or damaged, or none of the identities opens it.
    """
    sealed = _read_sealed(directory)
    if sealed is None:
        return empty()
    store = _unseal(directory, sealed, identities)
    _heal(directory, sealed, store)
    return store


def save(directory: Path, store: SecretStore, recipients: Sequence[str]) -> None:
    """Seal the store for the recipients; a crash at any point leaves the old store or the new one.

    Raises:
        ManifestError: there are no recipients, or age cannot seal for one of them.
    """
    import msgspec
    import pyrage  # type: ignore[import-untyped]

    store = store.sealed_for(tuple(recipients))
    plain = msgspec.json.format(msgspec.json.encode(store.reveal_all()), indent=2) + b"\n"
    sealed: bytes = pyrage.encrypt(plain, keys.recipients(recipients), armored=True)
    with locked(directory):
        _sweep(directory)
        # The sealed file first: without its summary nothing is lost, and the next opening writes the summary again.
        atomic.write(directory / SEALED, sealed, 0o600)
        atomic.write(directory / SUMMARY, metadata.write(_summary(sealed, store)))


def read_metadata(directory: Path, identities: Sequence[Path] | None = None) -> tuple[Metadata, ...]:
    """Return what is known of the secrets, by name; needs no key as long as `secrets.yaml` fits the sealed file.

    Raises:
        ManifestError: it does not fit, and no key is there to write it again; or the sealed file is lost.
    """
    sealed = _read_sealed(directory)
    if sealed is None:
        return ()
    summary = _fitting(sealed, directory) or _settled(directory)
    if summary is not None:
        return summary.secrets
    store = open_store(directory, keys.identities() if identities is None else identities)
    return tuple(sorted(store.metadata.values(), key=lambda known: known.name))


def sealed_for(directory: Path) -> tuple[str, ...]:
    """Return, without a key, whom `secrets.yaml` says the store is sealed for. Raises ManifestError."""
    if _read_sealed(directory) is None:
        return ()
    summary = _read_summary(directory)
    return () if summary is None else summary.recipients


def armoured(store: SecretStore, recipients: Sequence[str]) -> str:
    """Return the store sealed for these recipients, as `secrets.age` is. Raises ManifestError."""
    import msgspec
    import pyrage

    plain = msgspec.json.encode(store.reveal_all())
    sealed: bytes = pyrage.encrypt(plain, keys.recipients(recipients), armored=True)
    return sealed.decode("ascii")


def reseal(directory: Path, identities: Sequence[Path], recipients: Sequence[str]) -> bool:
    """Seal the same secrets for these recipients; return whether they were others before. Raises ManifestError.

    Who could open the old file still knows the old values: rotate the secrets when somebody leaves.
    """
    with locked(directory):
        if _read_sealed(directory) is None:
            return False
        store = open_store(directory, identities)
        if _keys(store.recipients) == _keys(recipients):
            return False
        save(directory, store, recipients)
    return True


def _keys(recipients: Sequence[str]) -> set[str]:
    return {words.same_key(recipient) for recipient in recipients}


def _read_sealed(directory: Path) -> bytes | None:
    path = directory / SEALED
    told = (directory / SUMMARY).exists()  # before: whoever saves the first secrets writes it last
    try:
        sealed = path.read_bytes()
    except FileNotFoundError:
        if told:
            # Minting again here would lock the client out of its own data.
            hint = f"bring it back: git restore {path}"
            raise ManifestError(f"{path} is lost, and {SUMMARY} says that it held secrets", hint=hint) from None
        return None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}", hint=f"see: ls -l {path}") from error
    if not sealed.startswith(_ARMOUR):
        hint = f"bring back a whole one, such as: git restore --source HEAD -- {path}"
        raise ManifestError(f"{path} is damaged", hint=hint)
    return sealed


def _read_summary(directory: Path) -> Summary | None:
    """Return the summary, None where there is none that can be read: it can always be written again."""
    path = directory / SUMMARY
    try:
        return metadata.read(path.read_bytes(), str(path))
    except (OSError, ManifestError):
        return None


def _fitting(sealed: bytes | None, directory: Path) -> Summary | None:
    """Return the summary, None where it does not tell of what is sealed."""
    summary = _read_summary(directory)
    return summary if sealed and summary and summary.sealed == _digest(sealed) else None


def _settled(directory: Path) -> Summary | None:
    """As `_fitting`, once nobody is writing: between the two files they do not fit."""
    try:
        with locked(directory):
            return _fitting(_read_sealed(directory), directory)
    except (OSError, LockedError):
        return None


def _unseal(directory: Path, sealed: bytes, identities: Sequence[Path]) -> SecretStore:
    import pyrage

    usable, notes = keys.load(identities)
    try:
        return from_revealed(pyrage.decrypt(sealed, usable))
    except pyrage.DecryptError:
        raise _closed(directory, sealed, identities, notes) from None
    except ValueError as error:
        hint = "upgrade it: pip install --upgrade otobotctl"
        raise ManifestError(f"{directory / SEALED} opens, but is {error}", hint=hint) from None


def _closed(directory: Path, sealed: bytes, identities: Sequence[Path], notes: tuple[str, ...]) -> ManifestError:
    path = directory / SEALED
    summary = _read_summary(directory)
    details = list(notes)
    if summary is not None:
        details.append(f"it is sealed for: {', '.join(keys.shown(line) for line in summary.recipients)}")
        if summary.sealed != _digest(sealed):
            details.append(f"it is not the file that {SUMMARY} tells of: it may be damaged")
    details.append(f"a key with a passphrase opens it with the age tool: age -d -i KEY {path}")
    tried = ", ".join(str(identity) for identity in identities)
    message = f"none of your keys opens {path}: tried {tried}" if tried else f"there is no key here to open {path}"
    hint = (
        "name the key that opens it with OTOBOTCTL_IDENTITY; or make one with age-keygen -o "
        "~/.config/otobotctl/identity.txt, and ask a recipient to add its public key and seal the secrets again"
    )
    return ManifestError(message, hint=hint, details=details)


def _heal(directory: Path, sealed: bytes, store: SecretStore) -> None:
    """Write the summary again where it does not fit, unless another process is writing or nobody may write here."""
    wanted = metadata.write(_summary(sealed, store))
    path = directory / SUMMARY
    try:
        if path.exists() and path.read_bytes() == wanted:
            return
        with locked(directory, wait_s=0):
            if (directory / SEALED).read_bytes() == sealed:
                atomic.write(path, wanted)
    except (OSError, LockedError):
        return


def _summary(sealed: bytes, store: SecretStore) -> Summary:
    return Summary(_digest(sealed), store.recipients, tuple(store.metadata.values()))


def _digest(sealed: bytes) -> str:
    return f"sha256:{hashlib.sha256(sealed).hexdigest()}"


def _sweep(directory: Path) -> None:
    """Remove what a killed process left beside the files; what it sealed was never in use."""
    for name in (SEALED, SUMMARY):
        for left in directory.glob(f".{name}.*"):
            left.unlink(missing_ok=True)
