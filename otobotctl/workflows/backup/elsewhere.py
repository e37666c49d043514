"""`backup drill --on`: a drill on another host, or on the operator's own machine, with what the fleet alone knows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl import person
from otobotctl.agent.protocol import VERSION, ProofRequest
from otobotctl.errors import OtobotError, PartialError, StepFailedError, UsageError
from otobotctl.manifest import backups as words
from otobotctl.transport.local import LOCAL, LocalDoor
from otobotctl.workflows import converging, secrets
from otobotctl.workflows.backup import proving
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.agent.backup.shapes import Target
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.transport.base import Door
    from otobotctl.workflows.backup.proving import Drilled
    from otobotctl.workflows.desired import Loaded

_OWN: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "rest": ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"),
}


class _Place:
    """Where a drill is done. `own` is what an agent of this very user keeps; `keys` sign, "" for a host's own."""

    def __init__(self, loaded: Loaded, on: str) -> None:
        """Raises UsageError, ManifestError: there is no such host."""
        self.name, self.keys, self.own = on, "", None
        self.opener: Callable[[], Door]
        if on != LOCAL or on in loaded.manifest.hosts:
            self.opener = converging.opener(loaded, on)
            return
        from otobotctl.transport import signatures

        home = Path.home()
        self.own = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state") / "otobotctl"
        self.opener = lambda: LocalDoor(LOCAL)
        self.name = proving.OPERATORS + re.sub(r"[^A-Za-z0-9.]+", "-", person.name())
        self.keys = str(home / ".config/otobotctl/drill_ed25519")
        signatures.pin_own(loaded.fleet.known_hosts, self.name, Path(self.keys))


def drill(
    fleet: Fleet,
    slug: str,
    on: str,
    listener: Listener,
    password: Password | None = None,
    *,
    target: str = "",
    repository: str = "",
) -> tuple[Drilled, OtobotError | None]:
    """Restore the newest archive of a target ("": the first that can be reached) in throw-away containers on `on`.

    `on` is a host of the manifest, or "local": this machine. `repository` is how that one reaches the target, where
    that is another way than the client's host has. The client's host is only told what came of it.

    Returns the report, and the error that it amounts to: PartialError, where the client's host could not be told.

    Raises:
        UsageError: no such target, or none that can be reached from there.
        HostKeyError: the report is not signed by whoever drilled.
    """
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    if on == client.host and not repository:
        return proving.drill(fleet, slug, target, listener, password)
    name = _chosen(slug, {each: said.repository for each, said in client.backup.targets.items()}, target, repository)
    place = _Place(loaded, on)
    asked = {**_brought(loaded, slug, name, repository), "name": place.name, "keys": place.keys}
    done: dict[str, Any] = {}
    from otobotctl.converge import backups

    asking = password if place.own is None else None
    for record in backups.records(place.opener, _request(slug, "elsewhere", asked), [slug], asking, place.own):
        done = record.get("done", done)
        proving.tell(listener, on, record)
    found = proving.believed(loaded, slug, place.name, done["signed"])
    wrong = done["error"]
    error: OtobotError | None = StepFailedError(wrong["message"], hint=wrong["remedy"]) if wrong else None
    return found, error or _noted(loaded, slug, done["signed"], password)


def _request(slug: str, word: str, asked: dict[str, Any]) -> ProofRequest:
    who = f"{person.name()} ({word} of {slug}'s archives)"
    return ProofRequest(version=VERSION, op="proof", who=who, client=slug, word=word, asked=asked)


def _noted(loaded: Loaded, slug: str, signed: Mapping[str, Any], password: Password | None) -> OtobotError | None:
    """Tell the client's own host, whose status and doctor count it; what kept it from being told is an error."""
    from otobotctl.converge import backups

    host = loaded.manifest.client(slug).host
    request = _request(slug, "drilled", {"signed": dict(signed)})
    try:
        for _ in backups.records(converging.opener(loaded, host), request, [slug], password):
            pass
    except OtobotError as error:
        hint = (
            f"when {host} answers, drill again; to keep this report: otobotctl backup drill {slug} --on ... --out FILE"
        )
        return PartialError(f"the drill is done, but {host} does not know of it", hint=hint, details=[str(error)])
    return None


def _chosen(slug: str, repositories: Mapping[str, str], target: str, repository: str) -> str:
    """The target to drill. Raises UsageError."""
    if not repositories:
        raise UsageError(f"{slug} has no backup targets", hint="name one in the manifest: docs/backups.md")
    if target and target not in repositories:
        raise UsageError(f"{slug} has no target {target}", hint=f"it has {', '.join(repositories)}")
    reachable = [name for name, where in repositories.items() if repository or words.scheme(where) != "local"]
    if target in reachable or (reachable and not target):
        return target or reachable[0]
    raise UsageError(
        f"{target or 'every target'} of {slug} is a directory of its own host, which a disaster takes along",
        hint="give it a target of another kind, or say with --repository how that machine reaches the directory",
    )


def _brought(loaded: Loaded, slug: str, name: str, repository: str) -> dict[str, Any]:
    """What the machine gets: the job with one target, files that it names, the vault's variables, built images."""
    from otobotctl.render import backups
    from otobotctl.render.client import render_client, services_of

    client = loaded.manifest.client(slug)
    host = loaded.manifest.host(client.host)
    values = secrets.opened(loaded, slug)
    services = services_of(client, host, loaded.catalog)
    job = backups.job(client, services, values)
    (target,) = (each for each in job["targets"] if each["name"] == name)
    if repository:
        target = _another_way(target, repository)
    kind = words.scheme(target["repository"])
    environment = {**target["environment"], "RESTIC_PASSWORD": values[backups.KEY].reveal()}
    target = {**target, "environment": environment}
    release = render_client(client, host, client.index, values, loaded.catalog)
    return {
        "job": {**job, "targets": [target], "webhook": "", "mail": ""},
        "files": backups.login(client, values) if kind == "sftp" and not repository else {},
        "vault": backups.proving_variables(release),
        "built": {
            service.name: _context(loaded, service.build)
            for service in services
            if service.build and service.name == backups.VAULT
        },
    }


def _another_way(target: Target, repository: str) -> Target:
    """The same storage, reached as `repository` says, with credentials of this machine's environment if there are any.

    Those that are sealed serve where it is the same kind of storage.
    """
    kind = words.scheme(repository)
    own = {each: os.environ[each] for each in _OWN.get(kind, ()) if os.environ.get(each)}
    sealed = target["environment"] if kind == words.scheme(target["repository"]) else {}
    options = target["options"] if kind == "s3" else []
    environment = {**sealed, **own}
    if kind == "rest" and (user := words.rest_user(repository)):
        repository = repository.replace(f"{user}@", "", 1)
        environment.setdefault("RESTIC_REST_USERNAME", user)
    return {**target, "repository": repository, "options": options, "environment": environment}


def _context(loaded: Loaded, build: str) -> dict[str, Any]:
    from otobotctl.workflows.desired import image_variables

    image = loaded.catalog.images[build]
    files = [{**each, "mode": "0644"} for each in image_variables(image)["files"]]
    return {"reference": image.reference, "files": files}
