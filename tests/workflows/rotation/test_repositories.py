"""The exchange of BACKUP_KEY: killed at every effect, undone, with a target that is away or append-only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from otobotctl import secrets
from otobotctl.errors import StepFailedError
from otobotctl.secrets import course
from otobotctl.workflows import converging
from otobotctl.workflows.rotation import exchange
from otobotctl.workflows.rotation.choice import Wanted
from otobotctl.workflows.rotation.exchange import Exchange
from otobotctl.workflows.rotation.repositories import Repositories
from tests.workflows.rotation.conftest import SLUG, Killed, minted, put_back

KEY = "BACKUP_KEY"
TARGETS = {"nas": {"repository": "/srv/nas"}, "vaulted": {"repository": "/srv/vaulted", "append_only": True}}


class World:
    """Repositories and the passwords that open them; the host's own; `boundary` is called around every effect."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.now = datetime.now(UTC).replace(microsecond=0)
        first = self.store().values[KEY].reveal()
        self.opens = {name: {first} for name in TARGETS}
        self.host = first
        self.away = set()
        self.boundary = lambda: None
        self.told = []

    def store(self):
        return secrets.open_store(self.fleet.client(SLUG), secrets.identities())

    def check(self):
        """Whatever has died: the store's value and the host's open every repository."""
        now = self.store().values[KEY].reveal()
        for name, known in self.opens.items():
            assert now in known, name
            assert self.host in known, name

    def deploy(self, *_):
        self.effect(lambda: setattr(self, "host", self.store().values[KEY].reveal()))
        return converging.HostRun("vps-1", 2, (), 1.0)

    def effect(self, do):
        self.boundary()
        do()
        self.check()
        self.boundary()

    def ask(self, do, value, by=None):
        """As agent/backup/rekey.py does, whose own tests are with restic."""
        return [self.one(name, do, value.reveal(), by.reveal() if by else "") for name in TARGETS]

    def one(self, name, do, value, by):
        known, told = self.opens[name], {"target": name, "state": "failed", "id": "", "error": None}
        if name in self.away:
            return {**told, "error": {"kind": "unreachable", "message": f"{name} is away", "remedy": "wait"}}
        if do == "look":
            return {**told, "state": "open" if value in known else "closed"}
        assert by in known or (do == "add" and value in known)
        if do == "add":
            self.effect(lambda: known.add(value))
            return {**told, "state": "added"}
        if TARGETS[name].get("append_only"):
            return {**told, "state": "kept", "id": "1234abcd"}
        self.effect(lambda: self.opens.update({name: {by}}))
        return {**told, "state": "removed"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A fleet whose client has two targets."""
    backup = {"schedule": "daily", "targets": TARGETS}
    with minted(tmp_path_factory, services=["postgres"], backup=backup) as fleet:
        yield fleet


@pytest.fixture
def world(template, monkeypatch):
    """As it was deployed."""
    yield from new(template, monkeypatch)


def new(template, patch):
    """As the fixture, for as many as one test wants."""
    found = World(template)
    patch.setattr(converging, "deploy", found.deploy)
    patch.setattr(Repositories, "_ask", lambda _self, *arguments: found.ask(*arguments))
    patch.setattr(exchange, "_now", lambda: found.now)
    with put_back(template.client(SLUG)):
        yield found


def call(world, **words):
    wanted = Wanted(**words) if words else Wanted((KEY,))
    return Exchange(world.fleet, SLUG, None, world.told.append, None).run(wanted, backup=False)


def test_every_repository_has_the_new_key_and_the_former_goes_where_it_can(world):
    """The append-only one keeps it, and what its owner has to run is in the answer, with the key's id."""
    before = world.store().values[KEY].reveal()
    done = call(world)
    now = world.store().values[KEY].reveal()
    assert now != before
    assert (done.rotated, world.host) == ((KEY,), now)
    assert world.opens == {"nas": {now}, "vaulted": {before, now}}
    assert done.left == (
        "vaulted is append-only: with credentials that may delete there, run: restic key remove 1234abcd",
    )
    assert course.under_way(world.store()) == ()


def test_killed_at_every_effect_it_is_taken_up_again(template, monkeypatch):
    """At each moment store and host open every repository; the same command, or --resume, then ends it."""
    for moment in count(1):
        for world in new(template, monkeypatch):
            before = world.store().values[KEY].reveal()
            ended = not dies(world, monkeypatch, moment)
            world.check()
            call(world, resume=True) if course.under_way(world.store()) else None
            if world.store().values[KEY].reveal() == before:
                call(world)
            now = world.store().values[KEY].reveal()
            assert now != before, moment
            assert world.host == now
            assert world.opens["nas"] == {now}, moment
            assert now in world.opens["vaulted"]
            assert course.under_way(world.store()) == ()
        if ended:
            break
    assert moment > 14


def dies(world, monkeypatch, moment):
    """Call the command and kill it at the `moment`-th boundary; return whether it came so far."""
    counter, real = count(1), secrets.save

    def boundary():
        if next(counter) == moment:
            raise Killed

    def save(*arguments):
        boundary()
        real(*arguments)
        world.check()
        boundary()

    world.boundary = boundary
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "save", save)
        try:
            call(world)
        except Killed:
            return True
        finally:
            world.boundary = lambda: None
    return False


def test_a_target_that_is_away_keeps_everything_as_it_is(world):
    """Nothing is written to the store before every repository knows the new one."""
    before = world.store().values[KEY].reveal()
    world.away = {"vaulted"}
    with pytest.raises(StepFailedError) as caught:
        call(world)
    assert any("vaulted is away" in line for line in caught.value.details)
    assert (world.store().values[KEY].reveal(), course.under_way(world.store())) == (before, ())


def test_one_that_goes_away_later_holds_the_former_key_until_it_is_back(world, monkeypatch):
    """The former one is still in the store then, so it is not lost; --resume ends it."""
    before = world.store().values[KEY].reveal()
    real = Repositories.let_go

    def gone(self, *arguments):
        world.away = {"nas"}
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Repositories, "let_go", gone)
        with pytest.raises(StepFailedError) as caught:
            call(world)
    assert "--resume" in caught.value.hint
    assert world.store().values[secrets.previous(KEY)].reveal() == before
    world.away = set()
    call(world, resume=True)
    assert world.opens["nas"] == {world.store().values[KEY].reveal()}


def test_undone_the_former_key_opens_everything_again(world, monkeypatch):
    """Also where it had been removed from one already."""
    before = world.store().values[KEY].reveal()
    for moment in count(1):
        if not dies(world, monkeypatch, moment):
            pytest.fail("it never removed the former key")
        if before not in world.opens["nas"] and secrets.rotating(world.store(), KEY):
            break
        world.now += timedelta(seconds=1)
        call(world, resume=True) if course.under_way(world.store()) else None
        before = world.store().values[KEY].reveal()
    done = call(world, undo=True)
    assert (done.undone, world.store().values[KEY].reveal(), world.host) == ((KEY,), before, before)
    assert world.opens["nas"] == {before}
