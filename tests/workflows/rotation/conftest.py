"""A fleet with one client of everything, its secrets minted, and a host that lives in memory."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from otobotctl import secrets
from otobotctl.workflows import converging, desired
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.deploying import archive, releases
from otobotctl.workflows.rotation import exchange, proofs
from otobotctl.workflows.vault.rotation import KEY
from tests.render.sample import EVERYTHING, catalog
from tests.workflows.fleets import client, made

SLUG = "acme"


class Killed(BaseException):
    """In place of kill -9: nothing that catches errors catches it."""


class World:
    """A host: which values each server accepts, and which one each consumer shows. `boundary` is called between."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.accepted, self.shown, self.shown_until = {}, {}, {}
        self.deploys = 0
        self.archives = []  # how many deploys were before each, and which values it holds
        self.boundary = lambda _what: None
        self.failing = False
        self.full = False
        self.release = 1

    def store(self):
        return secrets.open_store(self.fleet.client(SLUG), secrets.identities())

    def check(self):
        """What is shown is accepted, always; and what a session was signed with, for as long as sessions live."""
        for name, value in self.shown.items():
            assert value in self.accepted[name], name
        for (name, value), until in self.shown_until.items():
            assert value in self.accepted[name] or until <= self.now, name

    def deploy(self, _fleet, slug, _listener, _password=None):
        """Servers first, one by one, then consumers: what a deploy is that takes its time."""
        assert slug == SLUG
        self.boundary("before a deploy")
        if self.failing:
            from otobotctl.errors import StepFailedError

            raise StepFailedError("release 2 did not become healthy; release 1 is back")
        store = self.store()
        changed = False
        for spec in SPECS:
            old = store.values.get(secrets.previous(spec.name))
            both = spec.rotation in {"pair", "overlap"} and old is not None and old.reveal()
            values = {store.values[spec.name].reveal()} | ({old.reveal()} if both else set())
            if spec.rotation in {"restart", "refused", ""}:
                # Its service alone knows it: server and consumer are one container.
                self.shown[spec.name] = store.values[spec.name].reveal()
            changed |= self.accepted.get(spec.name) != values
            self.accepted[spec.name] = values
            self.check()
        self.boundary("between servers and consumers")
        for spec in SPECS:
            now = store.values[spec.name].reveal()
            before = self.shown.get(spec.name)
            if before is not None and before != now and spec.hold_s:
                self.shown_until[spec.name, before] = self.now + timedelta(seconds=spec.hold_s)
            self.shown[spec.name] = now
            self.check()
        self.deploys += changed
        self.boundary("behind a deploy")
        return converging.HostRun("vps-1", 2, ("acme",) if changed else (), 1.0)

    def archive(self, _fleet, slug, _listener, _password=None, *, what):
        """In place of a real one: what runs and what the store says now."""
        assert (slug, what) == (SLUG, "rotation")
        self.boundary("before an archive")
        if self.full:
            from otobotctl.errors import StepFailedError

            raise StepFailedError("acme: no archive could be made before the rotation: no space left on device")
        self.archives.append((self.deploys, {name: each.reveal() for name, each in self.store().values.items()}))
        self.boundary("behind an archive")
        return f"archives/{len(self.archives)}.zip.age"

    def accepts(self, _place, _question, secret):
        self.boundary("behind a proof")
        return secret.reveal() in self.accepted[secret.name.removesuffix("_PREVIOUS")]

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)


class KeyRing:
    """In place of the vault's own procedure, which has tests of its own."""

    def __init__(self, world):
        self._world = world

    def ready(self):
        assert secrets.previous(KEY) not in self._world.store().values

    def run(self):
        world = self._world
        for change in (secrets.retire, secrets.settle):
            if change is secrets.settle or secrets.rotating(world.store(), KEY):
                world.deploy(None, SLUG, None)
                store = world.store()
                secrets.save(world.fleet.client(SLUG), change(store, KEY), store.recipients)


SPECS = [spec for spec in catalog().secret_specs(EVERYTHING) if spec.rotation != "key-ring"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The fleet as it was made: its directory, and the operator's home."""
    with minted(tmp_path_factory, services=[*EVERYTHING, "nginx"]) as fleet:
        yield fleet


@contextmanager
def minted(tmp_path_factory, **said):
    """A fleet of one client of whom this is said, and its secrets."""
    with pytest.MonkeyPatch.context() as patch:
        clients = {SLUG: client(SLUG, "vps-1", company="ACME SAS", **said)}
        home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("fleet")
        fleet = made(patch, home, directory, {"vps-1": {"address": "203.0.113.1"}}, clients)
        loaded = desired.load(fleet)
        sealed.mint(loaded, SLUG)
        # Read once: these tests make hundreds of calls.
        patch.setattr(exchange, "load", lambda _fleet: loaded)
        yield fleet


@contextmanager
def put_back(directory):
    """The files of a directory, whatever becomes of them meanwhile."""
    kept = {path.name: path.read_bytes() for path in directory.iterdir()}
    try:
        yield
    finally:
        for name, content in kept.items():
            (directory / name).write_bytes(content)


@pytest.fixture
def world(template, monkeypatch):
    """A deployed host, and the store as it was minted."""
    yield from new_world(template, monkeypatch)


def new_world(fleet, patch):
    """As the fixture, for as many as one test wants."""
    made = World(fleet)
    patch.setattr(converging, "deploy", made.deploy)
    patch.setattr(proofs, "accepted", made.accepts)
    patch.setattr(archive, "before_deploy", made.archive)
    patch.setattr(releases, "facts", lambda *_: {"current": made.release})
    patch.setattr(exchange.Exchange, "_rotation", lambda _self: KeyRing(made))
    patch.setattr(exchange, "_now", lambda: made.now)
    patch.setattr(exchange.time, "sleep", made.sleep)
    with put_back(fleet.client(SLUG)):
        made.deploy(None, SLUG, None)
        yield made
