"""Secrets that somebody else may know: marked as such in the store, then exchanged in the live system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import secrets
from otobotctl.errors import ManifestError, OtobotError, PartialError, UsageError
from otobotctl.secrets import previous
from otobotctl.workflows import recipients
from otobotctl.workflows.desired import load
from otobotctl.workflows.incidents.acting import Act, Acted, acted, acting, ledger_for

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Exposed:
    """Whose secrets somebody may know.

    Clients by name (`secrets`: these of them alone), all clients on `hosts`, or what a recipient of the fleet can open;
    he is taken out first.
    """

    clients: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    recipient: str | None = None


def rotate(
    fleet: Fleet,
    exposed: Exposed,
    listener: Listener,
    tell: Callable[[str], None],
    *,
    incident: str | None = None,
    password: Password | None = None,
) -> Acted:
    """Mark what is exposed, and exchange of it what a machine can. Killed anywhere, the same call goes on.

    Raises:
        UsageError: nothing is named, or something that is not there.
        PartialError: some clients could not be done; what was marked stays due.
    """
    slugs = affected(fleet, exposed)
    subject = _subject(exposed, slugs)
    ledger = ledger_for(fleet, incident, f"secrets may be known to others: {subject}")
    since = datetime.fromisoformat(ledger.read().records[0].at)
    with acting(ledger, "rotate-exposed", subject) as act:
        for slug in named(fleet, exposed):
            _mark(fleet, slug, exposed.secrets, since)
        if exposed.recipient is not None:
            _remove(fleet, exposed.recipient, act)
            # Also what a call that was killed after this had marked already.
            slugs = tuple(dict.fromkeys((*slugs, *_marked(fleet))))
        act.details["clients"] = _exchange(fleet, slugs, act, listener, tell, password)
    return acted(ledger, "rotate-exposed", subject, act)


def affected(fleet: Fleet, exposed: Exposed) -> tuple[str, ...]:
    """The clients whose secrets are to be exchanged, as far as they are known before anything is done."""
    if not (exposed.clients or exposed.hosts or exposed.recipient):
        raise UsageError("whose secrets may be known?", hint="name clients, or give --host HOST or --recipient KEY")
    if exposed.secrets and (exposed.hosts or exposed.recipient):
        raise UsageError("--secret is about named clients alone", hint="leave out --host and --recipient")
    slugs = named(fleet, exposed)
    loaded = load(fleet)
    for slug in slugs:
        specs = {spec.name for spec in loaded.catalog.specs_of(loaded.manifest.client(slug))}
        if unknown := [name for name in exposed.secrets if name not in specs]:
            hint = f"otobotctl secrets list {slug}"
            raise UsageError(f"no service of {slug} has a secret {unknown[0]}", hint=hint)
    if exposed.recipient is None:
        return slugs
    opened = (each.opens for each in recipients.listed(fleet) if exposed.recipient in {each.key, each.name})
    known = (slug for opens in opened for slug in opens if slug in loaded.manifest.clients)
    return tuple(dict.fromkeys((*slugs, *known)))


def named(fleet: Fleet, exposed: Exposed) -> tuple[str, ...]:
    """The clients that were named, and those on hosts that were. Raises ManifestError: one is not there."""
    manifest = load(fleet).manifest
    on_hosts = (client.slug for host in exposed.hosts for client in manifest.clients_of(manifest.host(host).name))
    return tuple(dict.fromkeys((*(manifest.client(slug).slug for slug in exposed.clients), *on_hosts)))


def _subject(exposed: Exposed, slugs: Sequence[str]) -> str:
    whose = f"what {exposed.recipient} could open" if exposed.recipient else ""
    which = f"{', '.join(exposed.secrets)} of " if exposed.secrets else ""
    return ", ".join(filter(None, (f"{which}{', '.join(slugs)}" if slugs else "", whose)))


def _remove(fleet: Fleet, recipient: str, act: Act) -> None:
    """Take a recipient out; what he could open is marked by that. One who is out already stays out."""
    if any(recipient in {each.key, each.name} for each in recipients.listed(fleet) if each.named):
        act.details["removed"] = recipients.remove(fleet, recipient).key
    act.remaining.append("commit and push the fleet: the files are sealed anew, and the old ones are in git's history")


def _marked(fleet: Fleet) -> tuple[str, ...]:
    """The clients of which somebody may know a secret."""
    found = []
    for slug in load(fleet).manifest.clients:
        try:
            known = secrets.read_metadata(fleet.client(slug))
        except ManifestError:
            continue  # it has none yet
        if any(each.exposed for each in known):
            found.append(slug)
    return tuple(found)


def _mark(fleet: Fleet, slug: str, names: Sequence[str], since: datetime) -> None:
    """Mark a client's secrets; not those that were made after `since`, which nobody can know of yet."""
    directory = fleet.client(slug)
    wanted = {*names, *map(previous, names)}
    with secrets.locked(directory):
        store = secrets.open_store(directory, secrets.identities())
        old = {each.name for each in store.metadata.values() if datetime.fromisoformat(each.created) <= since}
        marked = secrets.expose(store, datetime.now(UTC), old & wanted if names else old)
        if marked.metadata != store.metadata:
            secrets.save(directory, marked, store.recipients)


def _kept(fleet: Fleet, slug: str) -> dict[str, str]:
    """What somebody may know and no machine can exchange, each with its reason."""
    from otobotctl.workflows.rotation.choice import refusal

    loaded = load(fleet)
    marked = {each.name for each in secrets.read_metadata(fleet.client(slug)) if each.exposed}
    specs = loaded.catalog.specs_of(loaded.manifest.client(slug))
    return {spec.name: refusal(spec) for spec in specs if spec.name in marked and refusal(spec)}


def _exchange(
    fleet: Fleet,
    slugs: Sequence[str],
    act: Act,
    listener: Listener,
    tell: Callable[[str], None],
    password: Password | None,
) -> dict[str, Any]:
    from otobotctl.workflows.rotation.choice import Wanted
    from otobotctl.workflows.rotation.exchange import Exchange

    done: dict[str, Any] = {}
    failed: list[str] = []
    for slug in slugs:
        try:
            # What somebody may know does not wait for an archive, nor stay because none could be made.
            result = Exchange(fleet, slug, listener, tell, password).run(Wanted(due=True), backup=False)
        except OtobotError as error:
            failed.append(f"{slug}: {error.message}")
            continue
        kept = _kept(fleet, slug)
        done[slug] = {"rotated": list(result.rotated), "waiting": dict(result.waiting), "refused": kept}
        act.remaining += [f"{name} of {slug} cannot be exchanged: {why}" for name, why in kept.items()]
        if result.waiting:
            act.remaining.append(f"end the overlap when it is over: otobotctl secrets rotate {slug} --resume")
    act.details["clients"] = done
    if failed:
        hint = "put that right and run the same command again: what is exchanged already is not exchanged twice"
        raise PartialError(f"{len(failed)} of {len(slugs)} clients failed", hint=hint, details=failed)
    return done
