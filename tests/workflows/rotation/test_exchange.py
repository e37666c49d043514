"""The rotation of everything but the master key, on a host in memory: killed at every boundary, undone, refused."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otobotctl import secrets
from otobotctl.errors import StepFailedError, UsageError
from otobotctl.secrets import course
from otobotctl.workflows.rotation.choice import Wanted
from otobotctl.workflows.rotation.exchange import Exchange
from otobotctl.workflows.vault.rotation import KEY
from tests.workflows.rotation.conftest import SLUG, SPECS, Killed, new_world

ABLE = {spec.name for spec in SPECS if spec.rotation != "refused"}
HELD = {spec.name for spec in SPECS if spec.hold_s}
NAMES = tuple(sorted(ABLE))


def call(world, *names, wait=True, **words):
    """One call of the command."""
    return Exchange(world.fleet, SLUG, None, lambda _line: None, None).run(Wanted(names, **words), wait=wait)


def values(world):
    return {name: value.reveal() for name, value in world.store().values.items()}


def ended(world, before):
    """Each was exchanged, and its one valid value is the store's."""
    world.now += timedelta(days=1)
    now = values(world)
    assert now.keys() == before.keys()
    assert {name for name in ABLE if now[name] == before[name]} == set()
    assert {name: world.accepted[name] for name in ABLE} == {name: {now[name]} for name in ABLE}
    assert {name: world.shown[name] for name in ABLE} == {name: now[name] for name in ABLE}
    world.check()


def dying(world, monkeypatch, moment):
    """Die at the `moment`-th boundary: around each write of the store, in and around each deploy, behind each proof."""
    counter = count(1)
    real = secrets.save

    def boundary(_what):
        if next(counter) == moment:
            raise Killed

    def save(*arguments):
        boundary("before a write")
        real(*arguments)
        boundary("behind a write")

    world.boundary = boundary
    monkeypatch.setattr(secrets, "save", save)

    def lives():
        world.boundary = lambda _what: None
        monkeypatch.setattr(secrets, "save", real)

    return lives


def test_everything_is_exchanged_at_once(world):
    """Two deploys change the host, however many secrets; what signs sessions waits until they have ended."""
    before = values(world)
    deploys = world.deploys
    done = call(world, every=True, wait=False)
    assert world.deploys == deploys + 2  # the key's own two bring the others on too
    assert set(done.rotated) == {*ABLE, KEY} - HELD
    assert done.waiting.keys() == HELD == {"API_JWT_SECRET"}
    assert "N8N_ENCRYPTION_KEY" in done.refused
    assert course.under_way(world.store()) == ("API_JWT_SECRET",)
    again = call(world, resume=True, wait=False)  # nothing but waiting: nothing is deployed
    assert (again.rotated, again.waiting.keys(), world.deploys) == ((), HELD, deploys + 2)
    world.now += timedelta(seconds=960)
    assert call(world, resume=True, wait=False).rotated == ("API_JWT_SECRET",)
    ended(world, before)


def test_killed_at_each_boundary_a_resume_ends_it(template, monkeypatch):
    """One rotation a boundary: whichever value is shown is accepted all along, and one is valid in the end."""
    died = 0
    for moment in count(1):
        for world in new_world(template, monkeypatch):
            before = values(world)
            lives = dying(world, monkeypatch, moment)
            try:
                call(world, every=True)
            except Killed:
                died += 1
                lives()
                world.check()
                begun = course.under_way(world.store())
                call(world, resume=True) if begun else call(world, every=True)
            else:
                lives()
            ended(world, before)
        if died < moment:
            break
    assert died > 30


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(st.tuples(st.sampled_from(["resume", "undo", "deploy", "names"]), st.integers(1, 40)), max_size=6)
)
def test_whatever_is_called_and_killed_in_whatever_order(template, calls):
    """Undone, resumed, deployed by somebody, begun again, killed anywhere: no value is refused that is shown."""
    with pytest.MonkeyPatch.context() as patch:
        for world in new_world(template, patch):
            for word, moment in [("names", 40), *calls]:
                lives = dying(world, patch, moment)
                try:
                    if word == "deploy":
                        world.deploy(None, SLUG, None)
                    elif word == "names":
                        call(world, *NAMES[moment % 3 :: 3], wait=bool(moment % 2))
                    else:
                        call(world, wait=bool(moment % 2), **{word: True})
                except (Killed, UsageError):
                    pass
                lives()
                world.check()
            if course.under_way(world.store()):
                call(world, resume=True)
            world.deploy(None, SLUG, None)
            world.now += timedelta(days=1)
            now = values(world)
            assert course.under_way(world.store()) == ()
            assert {name: world.accepted[name] for name in ABLE} == {name: {now[name]} for name in ABLE}
            world.check()


def test_one_archive_comes_before_everything_else(world):
    """Of the values of before, ahead of the first deploy; none for what goes on, nor where it is left out."""
    before, deploys = values(world), world.deploys
    done = call(world, every=True, wait=False)
    assert world.archives == [(deploys, before)]
    assert done.archive == "archives/1.zip.age"
    world.now += timedelta(seconds=960)
    assert call(world, resume=True).archive is None
    Exchange(world.fleet, SLUG, None, lambda _line: None, None).run(Wanted(("REDIS_PASSWORD",)), backup=False)
    assert call(world, due=True).archive is None  # nothing is due, so there is nothing to archive for
    world.release = None  # nothing runs yet
    assert call(world, "REDIS_PASSWORD").archive is None
    assert len(world.archives) == 1


def test_where_no_archive_can_be_made_nothing_changes(world):
    """Neither the store nor the host; the message names the way without one."""
    before, deploys, world.full = values(world), world.deploys, True
    with pytest.raises(StepFailedError, match="no archive could be made before the rotation"):
        call(world, every=True)
    assert (values(world), world.deploys) == (before, deploys)


def test_to_resume_where_nothing_is_open_is_no_error(world):
    """A call that was killed behind its last write is taken up like any other."""
    deploys = world.deploys
    done = call(world, resume=True)
    assert (done.rotated, done.waiting, world.deploys) == ((), {}, deploys)


def test_an_undone_rotation_ends_with_the_values_before(world):
    """A deploy that never gets healthy: both values stay, --undo goes back, and the age is what it was."""
    before, ages = values(world), {name: known.created for name, known in world.store().metadata.items()}
    turns = {name: known.turn for name, known in world.store().metadata.items()}
    world.now += timedelta(days=3)
    real = world.deploy
    calls = []

    def second_fails(*arguments):
        calls.append(1)
        world.failing = len(calls) == 2
        return real(*arguments)

    from otobotctl.workflows import converging

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converging, "deploy", second_fails)
        with pytest.raises(StepFailedError, match="did not become healthy") as failed:
            call(world, "N8N_DB_PASSWORD", "N8N_INTERNAL_TOKEN")
    world.failing = False
    assert "--resume" in failed.value.hint
    assert "--undo" in failed.value.hint
    assert values(world)["N8N_DB_PASSWORD_PREVIOUS"] == before["N8N_DB_PASSWORD"]
    done = call(world, undo=True)
    assert done.undone == ("N8N_DB_PASSWORD", "N8N_INTERNAL_TOKEN")
    assert done.rotated == ()
    assert values(world) == before
    assert {name: known.created for name, known in world.store().metadata.items()} == ages
    assert {name: known.turn for name, known in world.store().metadata.items()} == turns
    with pytest.raises(UsageError, match="can be undone"):
        call(world, undo=True)


def test_nothing_is_begun_where_the_host_knows_another_value(world):
    """A store that was put back to an older state must not lose what is in use."""
    world.accepted["REDIS_PASSWORD"] = {"another"}
    before = values(world)
    with pytest.MonkeyPatch.context() as patch:
        from otobotctl.workflows import converging

        patch.setattr(converging, "deploy", lambda *_: converging.HostRun("vps-1", 1, (), 1.0))
        with pytest.raises(StepFailedError, match="does not accept the REDIS_PASSWORD") as refused:
            call(world, every=True)
    assert values(world) == before
    assert before["REDIS_PASSWORD"] not in str(refused.value.told())


def test_a_former_value_that_is_still_valid_is_told(world):
    """Proved at the end: a server that keeps it fails the call, and a resume looks again."""
    real = world.deploy

    def forgetful(*arguments):
        kept = set(world.accepted["REDIS_PASSWORD"])
        done = real(*arguments)
        world.accepted["REDIS_PASSWORD"] |= kept
        return done

    from otobotctl.workflows import converging

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converging, "deploy", forgetful)
        with pytest.raises(StepFailedError, match="still accepts the former value of REDIS_PASSWORD"):
            call(world, "REDIS_PASSWORD")
    assert call(world, resume=True).rotated == ("REDIS_PASSWORD",)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(), "say which"),
        (Wanted(("REDIS_PASSWORD",), due=True), "say which"),
        (Wanted(due=True, every=True), "say which"),
        (Wanted(("N0PE",)), "no service of acme has a secret N0PE"),
        (Wanted(("N8N_ENCRYPTION_KEY",)), "n8n cannot seal its stored credentials anew"),
        (Wanted(("LOCKBOX_MASTER_KEY",)), "ToolJet cannot seal its data sources anew"),
        (Wanted(("CREDS_KEY",)), "LibreChat cannot seal anew"),
        (Wanted(undo=True), "can be undone"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(world, wanted, said):
    """Exit code 2, and nothing has changed."""
    before = values(world)
    with pytest.raises(UsageError, match=said) as refused:
        Exchange(world.fleet, SLUG, None, lambda _line: None, None).run(wanted)
    assert refused.value.hint
    assert values(world) == before


def test_what_is_due_is_what_policy_and_exposure_say(world):
    """Internal tokens after 30 days; everything that a former recipient could read, at once."""
    world.now += timedelta(days=31)
    assert set(call(world, due=True).rotated) == {spec.name for spec in SPECS if spec.rotate_days == 30}
    assert call(world, due=True).rotated == ()
    directory = world.fleet.client(SLUG)
    secrets.save(directory, secrets.expose(world.store(), world.now), world.store().recipients)
    assert set(call(world, due=True).rotated) == {*ABLE, KEY}
    marked = {name for name, known in world.store().metadata.items() if known.exposed}
    assert marked.isdisjoint(ABLE)
