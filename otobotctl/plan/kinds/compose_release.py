"""One client's release: files under a number, containers up and healthy."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from otobotctl.plan import away
from otobotctl.plan.contents import Content, refuse_twins
from otobotctl.plan.fields import State, unified
from otobotctl.plan.images import direction, tag
from otobotctl.plan.model import Change, Facts, Spec
from otobotctl.render.layout import BASE

COMPOSE_FILE = "compose.yaml"
RESERVED = frozenset({"release.json"})
SHORT = 12


class SmokeTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program that ends with 0 inside the service's container when the release works."""

    service: str
    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    timeout_s: Annotated[int, Meta(ge=1, le=600)] = 30


class ComposeReleaseSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`files` are the current release of `client`, and every service in them runs and is healthy.

    A release that is not healthy within `wait_s`, or fails a `smoke` test, is taken back. `keep` releases stay on the
    host. Absent takes the containers and files away, and the volumes (the client's data) only with `remove_volumes`.
    `images` are what the services run; one of the `stateful` ones goes back to an older version only with
    `allow_downgrade`. `secrets`, fingerprints by name, are noted on the host as what the files hold, and compared with
    nothing.
    """

    kind: ClassVar[str] = "compose_release"

    client: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
    project: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z")]
    files: tuple[Content, ...] = ()
    digest: Annotated[str, Meta(pattern=r"\A[0-9a-zA-Z:_-]{8,100}\Z")] | None = None
    pull: bool = True
    wait_s: Annotated[int, Meta(ge=1, le=3600)] = 300
    keep: Annotated[int, Meta(ge=2, le=100)] = 5
    images: dict[str, str] = msgspec.field(default_factory=dict)
    stateful: tuple[str, ...] = ()
    allow_downgrade: bool = False
    state: State = "present"
    remove_volumes: bool = False
    smoke: tuple[SmokeTest, ...] = ()
    secrets: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state == "absent":
            if self.files or self.digest:
                raise ValueError("what is absent has no files")
            return
        if self.remove_volumes:
            raise ValueError("remove_volumes is for state: absent")
        paths = {file.path for file in self.files}
        if COMPOSE_FILE not in paths or self.digest is None:
            raise ValueError(f"give the digest and the files, {COMPOSE_FILE} among them")
        if paths & RESERVED:
            raise ValueError("release.json is written on the host")
        refuse_twins(self.files)
        for file in self.files:
            if file.secret and int(file.mode, 8) & 0o077:
                raise ValueError(f"{file.path} is secret: its mode must be 0600")

    def question(self) -> dict[str, Any]:
        """Whose release; and the digests of what may be shown, so that files that match are not sent back whole."""
        asked: dict[str, Any] = {"client": self.client, "project": self.project}
        if self.state == "absent":
            return {**asked, "volumes": self.remove_volumes}
        return {**asked, "known": {file.path: file.sha256() for file in self.files if not file.secret}}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the digest, by each file as it is on disk, and by the health of every container."""
        if self.state == "absent":
            return self._leftovers(facts)
        changes = [*self._release(facts), *self._versions(facts), *self._replaced(facts), *self._files(facts)]
        if not changes:
            if not facts["settled"]:
                changes.append(Change("release", f"{facts['current']}, not seen healthy", "healthy"))
            changes += [Change(f"service {name}", state, "up") for name, state in sorted(facts["_trouble"].items())]
        return tuple(changes)

    def _release(self, facts: Facts) -> list[Change]:
        if facts["digest"] == self.digest:
            return []
        before = "absent" if facts["current"] is None else f"{facts['current']} ({str(facts['digest'])[:SHORT]})"
        return [Change("release", before, f"{len(self.files)} files ({str(self.digest)[:SHORT]})")]

    def _versions(self, facts: Facts) -> list[Change]:
        running = facts.get("images") or {}
        moved = [name for name in sorted(self.images) if running.get(name, self.images[name]) != self.images[name]]
        return [self._version(name, running[name]) for name in moved]

    def _version(self, name: str, running: str) -> Change:
        way = direction(running, self.images[name])
        refused = ""
        if way == "downgrade" and name in self.stateful and not self.allow_downgrade:
            refused = f"{name} holds data that an older version cannot read; restore an archive, or add --force"
        return Change(f"{way} {name}", tag(running), tag(self.images[name]), refused=refused)

    def _replaced(self, facts: Facts) -> list[Change]:
        """Which services get new containers, and how long each will be away; nothing where that cannot be told."""
        before = facts["files"].get(COMPOSE_FILE, {}).get("text")
        after = next(file.data() for file in self.files if file.path == COMPOSE_FILE)
        if before is None or facts["current"] is None:
            return []
        return [
            Change(f"replace {name}", after=words)
            for name, words in away.replaced(before, after.decode("utf-8", "replace"), facts.get("_took") or {})
        ]

    def _files(self, facts: Facts) -> list[Change]:
        found = facts["files"]
        changes = [
            _file_change(file, found.get(file.path))
            for file in sorted(self.files, key=lambda file: file.path)
            if found.get(file.path, {}).get("sha256") != file.sha256() or found[file.path]["mode"] != file.mode
        ]
        gone = sorted(set(found) - {file.path for file in self.files})
        return changes + [Change(path, "present", "absent") for path in gone]

    def _leftovers(self, facts: Facts) -> tuple[Change, ...]:
        changes = [Change("service " + name, state, "absent") for name, state in sorted(facts["_services"].items())]
        if self.remove_volumes:
            changes += [Change(f"volume {name}", "present", "deleted with its data") for name in facts["volumes"]]
        if facts["exists"]:
            changes.append(Change(f"{BASE}/{self.client}", "present", "absent"))
        return tuple(changes)

    def wire(self) -> dict[str, Any]:
        """Everything, secret contents too."""
        files = [file.wire() for file in self.files]
        wanted = {"state": self.state, "pull": self.pull, "wait_s": self.wait_s, "keep": self.keep}
        smoke = msgspec.to_builtins(self.smoke)
        return {
            **self.question(),
            **wanted,
            "digest": self.digest,
            "files": files,
            "remove_volumes": self.remove_volumes,
            "smoke": smoke,
            "secrets": self.secrets,
        }

    def title(self) -> str:
        """The client, and which rendering."""
        return f"{self.client} absent" if self.digest is None else f"{self.client} {self.digest[:SHORT]}"

    def commands(self) -> tuple[str, ...]:
        """Upload, check, switch, up; or down."""
        home = f"{BASE}/{self.client}"
        if self.state == "absent":
            volumes = " --volumes" if self.remove_volumes else ""
            down = f"docker compose --project-name {self.project} down --remove-orphans{volumes}"
            return (down, f"rm -rf {home}")
        up = f"docker compose --project-name {self.project} --project-directory {home}/current"
        return (
            *(f"install -D -m {file.mode} NEW_CONTENT {home}/releases/N/{file.path}" for file in self.files),
            f"docker compose --project-directory {home}/releases/N config --quiet",
            f"ln -sfn releases/N {home}/current",
            f"{up} up --detach --remove-orphans --wait --wait-timeout {self.wait_s}",
        )

    def touches(self) -> tuple[str, ...]:
        """The current release."""
        return (f"{BASE}/{self.client}/current",)


def _file_change(file: Content, found: dict[str, Any] | None) -> Change:
    before = "absent" if found is None else found["mode"]
    return Change(file.path, before, f"{len(file.data())} bytes, {file.mode}", _diff(file, found))


def _diff(file: Content, found: dict[str, Any] | None) -> str:
    if found is not None and found["sha256"] == file.sha256():
        return ""
    if file.secret:
        return "contents differ (secret)"
    text = "" if found is None else found.get("text")
    if text is None:
        return "contents differ (not shown: large, secret before or not text)"
    try:
        return unified(file.path, text, file.data().decode())
    except UnicodeDecodeError:
        return "contents differ (not text)"


SPEC = ComposeReleaseSpec
