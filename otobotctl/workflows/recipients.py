"""`secrets recipients`: who can open the fleet's sealed files, added and removed, and `secrets escrow`.

Removing goes from the inside out, so that a call that is killed anywhere is taken up by the next one: first each file
notes that its values are known to somebody who leaves, then the manifest names him no more, then each file is sealed
anew. What he could open, he may have kept: only new values shut him out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl import manifest, person, secrets
from otobotctl.errors import UsageError
from otobotctl.manifest import words
from otobotctl.secrets import keys
from otobotctl.workflows.desired import load
from otobotctl.workflows.rotation import choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Recipient:
    """A public key. `named`: the manifest has it; `opens`: the clients whose file is sealed for it, by their slugs."""

    name: str
    key: str
    named: bool
    opens: tuple[str, ...]


@dataclass(frozen=True)
class Added:
    """A recipient of the fleet; `sealed` are the clients whose file was sealed anew."""

    key: str
    new: bool
    sealed: tuple[str, ...]


@dataclass(frozen=True)
class Removed:
    """A recipient no more. `known` are, by client, the secrets that he could read and that are due since.

    `kept` are those of them that cannot be exchanged, with the reason, by client and name.
    """

    key: str
    sealed: tuple[str, ...]
    known: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Sheet:
    """A recovery sheet: text to print. Every value in it is sealed."""

    client: str
    sealed_for: tuple[str, ...]
    secrets: int
    text: str


def listed(fleet: Fleet) -> tuple[Recipient, ...]:
    """Everybody whom the manifest names or a file is sealed for. Needs no key."""
    named = {words.same_key(line): line for line in load(fleet).manifest.recipients}
    opens: dict[str, list[str]] = {key: [] for key in named}
    lines = dict(named)
    for directory in _stores(fleet):
        for line in secrets.sealed_for(directory):
            key = words.same_key(line)
            lines.setdefault(key, line)
            opens.setdefault(key, []).append(directory.name)
    return tuple(Recipient(keys.shown(line), key, key in named, tuple(opens[key])) for key, line in lines.items())


def add(fleet: Fleet, recipient: str) -> Added:
    """Name a public key in the manifest and seal every file for it too. The same call again finishes what was left."""
    recipient = recipient.strip()
    keys.recipients([recipient])  # before it is written: the manifest's own check knows the form alone
    _openable(fleet)
    new = manifest.add_recipient(fleet.manifest, recipient)
    return Added(words.same_key(recipient), new, _seal_all(fleet))


def remove(fleet: Fleet, which: str) -> Removed:
    """Take a recipient out by his key or name. The same call again finishes what was left.

    Raises:
        UsageError: there is none, there are several, or he is the last one.
        ManifestError: a file cannot be opened; nothing was changed.
    """
    _openable(fleet)
    found = _one(fleet, which)
    loaded = load(fleet)
    if [words.same_key(line) for line in loaded.manifest.recipients] == [found.key]:
        hint = "add another one first: otobotctl secrets recipients add KEY"
        raise UsageError("this is the fleet's last recipient: nobody could open the secrets", hint=hint)
    known, kept = {}, {}
    for directory in _stores(fleet):
        if found.key in map(words.same_key, secrets.sealed_for(directory)):
            names = _expose(directory)
            known[directory.name] = names
            kept[directory.name] = _kept(loaded, directory.name, names)
    manifest.remove_recipient(fleet.manifest, found.key)
    return Removed(found.key, _seal_all(fleet), known, {slug: told for slug, told in kept.items() if told})


def escrow(fleet: Fleet, slug: str, to: Sequence[str] = ()) -> Sheet:
    """A client's secrets as text to print, sealed for `to`, or for everybody. Raises ManifestError, UsageError."""
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    store = secrets.open_store(fleet.client(slug), secrets.identities())
    if not store.values:
        raise UsageError(f"{slug} has no secrets yet", hint=f"otobotctl client deploy {slug}")
    lines = tuple(line.strip() for line in to) or loaded.manifest.recipients
    sealed = secrets.armoured(store.sealed_for(lines), lines)
    rows = [
        f"  {known.name:<32} {known.created[:10]}  {known.fingerprint}"
        for known in sorted(store.metadata.values(), key=lambda each: each.name)
    ]
    text = _SHEET.format(
        company=client.company,
        slug=slug,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by {person.name()}",
        recipients="\n".join(f"  {words.same_key(line)}" for line in lines),
        rows="\n".join(rows),
        digest=hashlib.sha256(sealed.encode()).hexdigest(),
        sealed=sealed,
    )
    return Sheet(slug, tuple(map(words.same_key, lines)), len(store.values), text)


def _stores(fleet: Fleet) -> tuple[Path, ...]:
    """The directory of every sealed file, also of clients and hosts that the manifest has no more."""
    found = [sorted((fleet.root / kind).glob("*/secrets.age")) for kind in ("clients", "hosts")]
    return tuple(path.parent for paths in found for path in paths)


def _openable(fleet: Fleet) -> None:
    """Raise ManifestError, before anything is changed, where a file cannot be opened; what stands beside is mended."""
    for directory in _stores(fleet):
        secrets.open_store(directory, secrets.identities())


def _seal_all(fleet: Fleet) -> tuple[str, ...]:
    recipients = load(fleet).manifest.recipients
    found = [each for each in _stores(fleet) if secrets.reseal(each, secrets.identities(), recipients)]
    return tuple(each.name for each in found)


def _expose(directory: Path) -> tuple[str, ...]:
    with secrets.locked(directory):
        store = secrets.open_store(directory, secrets.identities())
        marked = secrets.expose(store, datetime.now(UTC))
        if marked.metadata != store.metadata:
            secrets.save(directory, marked, store.recipients)
    return tuple(sorted(name for name, value in store.values.items() if value.reveal()))


def _kept(loaded: Loaded, slug: str, names: Sequence[str]) -> dict[str, str]:
    """Those that cannot be exchanged, with the reason; nothing is known of a client that is not in the manifest."""
    if slug not in loaded.manifest.clients:
        return {}
    specs = {spec.name: spec for spec in loaded.catalog.specs_of(loaded.manifest.client(slug))}
    told = {name: choice.refusal(specs[name]) for name in names if name in specs}
    return {name: reason for name, reason in told.items() if reason}


def _one(fleet: Fleet, which: str) -> Recipient:
    known = listed(fleet)
    found = [each for each in known if words.same_key(which) == each.key or which == each.name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.name for each in known)
    if found:
        raise UsageError(f"{len(found)} recipients are called {which}", hint="give the whole public key")
    raise UsageError(f"nothing is sealed for {which}", hint=f"the recipients are: {names}")


_SHEET = """\
RECOVERY SHEET: the secrets of {company} ({slug})
Made {made} with otobotctl. Print it and keep it where the private key is not.

No value can be read on this sheet. The block at its end holds all of them, sealed for the owners of these keys:
{recipients}

To open it you need one of their private keys and the program age (https://age-encryption.org), and nothing else:
  1. Put the block, from its BEGIN line to its END line, into a file: sheet.age. The SHA-256 of that file is
     {digest}
     (sha256sum sheet.age).
  2. age --decrypt --identity KEYFILE sheet.age > secrets.json      on a machine that you trust, without a network.
     Each value is in secrets.json under secrets, its name, value. Remove the file when you are done.
  3. A fleet that lost them takes the file as it is: sheet.age is its clients/{slug}/secrets.age.

What is inside. A fingerprint changes with the value and tells nothing about it; compare it with secrets.yaml to see
whether this sheet is of today:
{rows}

{sealed}"""
