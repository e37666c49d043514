"""Edits of the manifest file: one at a time, whole or not at all, and every untouched entry keeps its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from otobotctl import fleet
from otobotctl.errors import DriftError, ManifestError, UsageError
from otobotctl.manifest import document, text, words
from otobotctl.manifest.load import decode
from otobotctl.manifest.models import Client, Manifest
from otobotctl.manifest.shape import ServiceShape

Services = Mapping[str, ServiceShape] | None
Edit = Callable[[str, document.Object, Manifest], str]


def add_client(path: Path, slug: str, entry: Mapping[str, Any], services: Services = None) -> bool:
    """Add a client, in the first free slot of its host unless the entry names one; return whether it was new.

    Raises:
        ManifestError: the manifest is wrong, or would be with this client.
        UsageError: another client has that slug.
    """

    def edit(raw: str, parsed: document.Object, manifest: Manifest) -> str:
        there = parsed.get("clients", {}).get(slug)
        if there is not None:
            return _same("client", slug, there, entry, raw)
        return text.put(raw, ("clients", slug), _with_slot(entry, manifest.clients))

    return change(path, edit, services)


def add_host(path: Path, name: str, entry: Mapping[str, Any], services: Services = None) -> bool:
    """Add a host; return whether it was new.

    Raises:
        ManifestError: the manifest is wrong, or would be with this host.
        UsageError: another host has that name.
    """

    def edit(raw: str, parsed: document.Object, _: Manifest) -> str:
        there = parsed.get("hosts", {}).get(name)
        if there is not None:
            return _same("host", name, there, entry, raw)
        return text.put(raw, ("hosts", name), dict(entry))

    return change(path, edit, services)


def set_host(path: Path, name: str, changes: Mapping[str, Any], services: Services = None) -> bool:
    """Set keys of a host, None takes one out; return whether anything changed. Raises ManifestError, UsageError."""

    def edit(raw: str, parsed: document.Object, manifest: Manifest) -> str:
        _known("host", name, manifest.hosts)
        for key, value in changes.items():
            there = parsed["hosts"][name]
            if value is None and key in there:
                raw = text.remove(raw, ("hosts", name, key))
            elif value is not None and there.get(key) != value:
                raw = text.put(raw, ("hosts", name, key), value)
        return raw

    return change(path, edit, services)


def move_client(path: Path, slug: str, host: str, services: Services = None) -> bool:
    """Give a client another host; return whether that changed anything. Raises ManifestError, UsageError."""

    def edit(raw: str, parsed: document.Object, manifest: Manifest) -> str:
        _known("client", slug, manifest.clients)
        _known("host", host, manifest.hosts)
        there = parsed["clients"][slug].get("host")
        return raw if there == host else text.put(raw, ("clients", slug, "host"), host)

    return change(path, edit, services)


def set_versions(path: Path, slug: str, versions: Mapping[str, str | None], services: Services = None) -> bool:
    """Set the versions of a client's services, None takes one out; return whether anything changed.

    Raises:
        ManifestError: the manifest is wrong, or would be.
        UsageError: there is no such client.
    """

    def edit(raw: str, parsed: document.Object, manifest: Manifest) -> str:
        _known("client", slug, manifest.clients)
        there = parsed["clients"][slug].get("settings", {})
        for service, version in versions.items():
            place = ("clients", slug, "settings", service, "version")
            said = there.get(service, {}).get("version")
            if version is not None and said != version:
                raw = text.put(raw, place, version)
            elif version is None and said is not None:
                raw = text.remove(raw, place)
        return raw

    return change(path, edit, services)


def remove_client(path: Path, slug: str, services: Services = None) -> None:
    """Take a client out; the slots of the others stay. Raises ManifestError, UsageError."""

    def edit(raw: str, _: document.Object, manifest: Manifest) -> str:
        _known("client", slug, manifest.clients)
        return text.remove(raw, ("clients", slug))

    change(path, edit, services)


def remove_host(path: Path, name: str, services: Services = None) -> None:
    """Take a host out. Raises UsageError while a client lives on it or another host goes through it."""

    def edit(raw: str, _: document.Object, manifest: Manifest) -> str:
        _known("host", name, manifest.hosts)
        clients = [slug for slug, client in manifest.clients.items() if client.host == name]
        if clients:
            hint = f"give them another host in {path.name}, or: otobotctl client remove {clients[0]}"
            raise UsageError(f"host {name} still serves {', '.join(clients)}", hint=hint)
        through = [other for other, host in manifest.hosts.items() if host.jump == name]
        if through:
            hint = f'take "jump" out of them in {path.name}'
            raise UsageError(f"host {name} is the way to {', '.join(through)}", hint=hint)
        return text.remove(raw, ("hosts", name))

    change(path, edit, services)


def add_recipient(path: Path, recipient: str, services: Services = None) -> bool:
    """Add a public key; return whether it was new. Existing secrets must then be sealed again. Raises ManifestError."""

    def edit(raw: str, _: document.Object, manifest: Manifest) -> str:
        if words.same_key(recipient) in {words.same_key(other) for other in manifest.recipients}:
            return raw
        return text.append(raw, ("recipients",), recipient.strip())

    return change(path, edit, services)


def remove_recipient(path: Path, key: str, services: Services = None) -> bool:
    """Take a public key out; return whether it was there. Raises UsageError: it is the last one; ManifestError."""

    def edit(raw: str, _: document.Object, manifest: Manifest) -> str:
        keys = [words.same_key(other) for other in manifest.recipients]
        if words.same_key(key) not in keys:
            return raw
        if len(keys) == 1:
            hint = "add another one first: otobotctl secrets recipients add KEY"
            raise UsageError("this is the fleet's last recipient: nobody could open the secrets", hint=hint)
        return text.take(raw, ("recipients",), keys.index(words.same_key(key)))

    return change(path, edit, services)


def change(path: Path, edit: Edit, services: Services) -> bool:
    """Apply an edit under the fleet's lock; return whether it changed the file. What would be wrong is not written.

    Raises:
        ManifestError: the manifest is wrong, or would be.
        DriftError: something that does not lock, such as an editor, wrote the file meanwhile.
        LockedError: another process holds the fleet.
    """
    path = path.resolve()
    with fleet.locked(path.parent):
        raw = document.read(path)
        manifest = decode(raw, path.name, services)
        edited = edit(raw.decode(), document.parse(raw, path.name), manifest).encode()
        if edited == raw:
            return False
        try:
            decode(edited, path.name, services)
        except ManifestError as error:
            message = f"this would make {path.name} wrong; nothing was written"
            raise ManifestError(message, hint="correct what was asked for", details=error.details) from error
        mode = path.stat().st_mode & 0o777
        if document.read(path) != raw:
            hint = "save your editor's file, then run the command again"
            raise DriftError(f"{path.name} was changed meanwhile; nothing was written", hint=hint)
        from otobotctl import atomic

        atomic.write(path, edited, mode)
    return True


def _same(what: str, name: str, there: Mapping[str, Any], entry: Mapping[str, Any], raw: str) -> str:
    """Return the text as it is when the entry says nothing new, so that the same command can be given twice."""
    other = [key for key, value in entry.items() if there.get(key) != value]
    if other:
        shown = f"{other[0]} is {there[other[0]]!r}" if other[0] in there else f"it says no {other[0]}"
        hint = f"choose another name, or edit it in {fleet.MANIFEST}"
        raise UsageError(f'there is a {what} "{name}" already, and {shown}', hint=hint)
    return raw


def _with_slot(entry: Mapping[str, Any], clients: Mapping[str, Client]) -> dict[str, Any]:
    """Return the entry with the first free slot of its host, written after the domain."""
    taken = {client.index for client in clients.values() if client.host == entry.get("host")}
    slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    placed: dict[str, Any] = {}
    for key, value in entry.items():
        placed[key] = value
        if key == "domain" and "index" not in entry:
            placed["index"] = slot
    return placed if "index" in placed else {**placed, "index": slot}


def _known(what: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise UsageError(f'there is no {what} "{name}"', hint=words.suggest(name, known))
