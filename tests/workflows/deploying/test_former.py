"""Which former values of secrets an earlier release would bring back, and what a rollback says and refuses then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from otobotctl import secrets
from otobotctl.errors import UsageError
from otobotctl.plan.model import Change
from otobotctl.render.client import render_client
from otobotctl.secrets.store import empty
from otobotctl.workflows.deploying import rollback
from otobotctl.workflows.deploying.former import Former, former
from otobotctl.workflows.desired import release_variables
from tests.render.sample import EVERYTHING, catalog, resolved

KEY, TOKEN = "ENCRYPTION_MASTER_KEY", "N8N_INTERNAL_TOKEN"
DAY = datetime(2026, 11, 1, tzinfo=UTC)
SPECS = {spec.name: spec for spec in catalog().secret_specs(EVERYTHING)}
CHANGES = (Change("release", "7", "5"),)


def minted():
    """A store of everything."""
    return secrets.mint_missing(empty(), SPECS.values(), DAY)[0]


def noted(store):
    """What the host notes of a release that is rendered from this store."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=[*EVERYTHING, "nginx"]))
    client = fleet.client("acme")
    made = render_client(client, fleet.host(client.host), 0, store.values, catalog())
    return {"at": DAY.timestamp() + 5, "images": dict(made.images), "secrets": release_variables(made)["secrets"]}


def told(release, store):
    return former(release, store.metadata.values(), [KEY])


def test_a_release_notes_the_secrets_that_its_files_hold():
    """By fingerprint, of every service; what only a provisioned account has is in no file."""
    store = minted()
    found = noted(store)["secrets"]
    assert {"POSTGRES_PASSWORD", "N8N_ENCRYPTION_KEY", TOKEN, KEY, "REDIS_PASSWORD"} <= found.keys()
    assert "N8N_OWNER_PASSWORD" not in found
    assert found == {name: store.metadata[name].fingerprint for name in found}
    assert not [value for value in store.values.values() if value.reveal() in str(found)]


def test_nothing_comes_back_from_a_release_of_todays_secrets():
    """The same values, in a release made before or after."""
    store = minted()
    assert told(noted(store), store) == Former()


def test_a_rotated_secret_comes_back_from_before_and_from_while_it_was_rotated():
    """Each release of a rotation: before it, with both values, and without the value before."""
    first = minted()
    both = secrets.rotate(first, SPECS[TOKEN], DAY)
    done = secrets.settle(secrets.retire(both, TOKEN), TOKEN)
    assert told(noted(first), done) == Former((TOKEN,))
    assert told(noted(both), done) == Former((TOKEN,))
    assert told(noted(done), done) == Former()
    assert told(noted(first), both) == Former((TOKEN,))  # it lacks the one that is in use
    assert told(noted(first), secrets.undo(both, TOKEN)) == Former()


def test_a_former_master_key_is_lost_where_the_release_has_not_todays():
    """With both keys the vault starts, and the former one is accepted again."""
    first = minted()
    both = secrets.rotate(first, SPECS[KEY], DAY)
    done = secrets.settle(secrets.retire(both, KEY), KEY)
    assert told(noted(first), done) == Former((KEY,), (KEY,))
    assert told(noted(both), done) == Former((KEY,))


def test_where_the_host_noted_nothing_it_is_told_by_time():
    """Of the services that the release has; a secret that is as old as the release is none of them."""
    store = minted()
    done = secrets.settle(
        secrets.retire(secrets.rotate(store, SPECS[TOKEN], datetime(2026, 11, 2, tzinfo=UTC)), TOKEN), TOKEN
    )
    assert told({**noted(store), "secrets": None}, done) == Former((TOKEN,), guessed=True)
    assert told({**noted(store), "secrets": None, "images": {"postgres": "postgres:16"}}, done) == Former(guessed=True)


def way(found, changes=CHANGES):
    return rollback.Way("acme", "vps-1", 7, 5, changes, rollback.stays("acme", 7, 5, found), found)


def test_a_rollback_that_brings_former_values_back_is_refused_and_says_how():
    """Exit code 2 with the way that keeps today's; --old-secrets lets it through, and the answer says what it did."""
    found = way(Former(("A", "B")))
    with pytest.raises(UsageError, match="brings back the former values of A, B") as refused:
        rollback.check(found, old_secrets=False)
    assert "otobotctl deploy acme" in refused.value.hint
    assert "otobotctl rollback acme --to 5 --old-secrets" in refused.value.hint
    rollback.check(found, old_secrets=True)
    assert any("A, B; today's are valid again after: otobotctl deploy acme" in line for line in found.stays)
    assert any("may bring back" in line for line in way(Former(("A",), guessed=True)).stays)


def test_one_that_cannot_run_is_refused_whatever_is_said():
    """A vault does not start with a key that opens nothing."""
    with pytest.raises(UsageError, match=f"a former {KEY}, which opens nothing"):
        rollback.check(way(Former((KEY,), (KEY,))), old_secrets=True)


def test_nothing_is_refused_where_nothing_is_done_or_comes_back():
    """The release that is current already, and one that has today's secrets."""
    rollback.check(way(Former(("A",)), ()), old_secrets=False)
    rollback.check(way(Former()), old_secrets=False)
    assert not any("secret" in line for line in way(Former()).stays)
