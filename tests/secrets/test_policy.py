"""How old a secret is and may be: every state, from metadata alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from otobotctl.secrets import SecretSpec, expose, hold, previous, retire, rotate
from otobotctl.secrets.policy import standings
from tests.secrets.sample import MINTED, NOW, full

TOKEN = replace(next(spec for spec in MINTED if spec.name == "TOKEN"), rotation="overlap")  # 90 days


def state(store, spec=TOKEN, days=0.0):
    """What is said of one secret, so many days after it was made."""
    (found,) = standings("acme", store.metadata.values(), [spec], NOW + timedelta(days=days))
    return found


@pytest.mark.parametrize(
    ("days", "said", "overdue"),
    [(0, "ok", False), (80.9, "ok", False), (81, "soon", False), (89.9, "soon", False), (90, "overdue", True)],
)
def test_age_against_policy(days, said, overdue):
    """Soon is the last tenth of its time; due is a date."""
    found = state(full(), days=days)
    assert (found.state, found.overdue, found.age_days) == (said, overdue, int(days))
    assert found.due == "2026-04-02"


def test_the_catalogues_policy_wins_over_the_one_it_was_minted_under():
    """A stricter policy counts from the day that it is installed."""
    assert state(full(), replace(TOKEN, rotate_days=10), 10).state == "overdue"
    never = state(full(), replace(TOKEN, rotate_days=None), 10_000)
    assert (never.state, never.due, never.overdue) == ("ok", "never", False)


def test_a_secret_that_is_not_there_and_one_that_no_service_has():
    """The first is missing; the second is nobody's business any more."""
    (found,) = standings("acme", full().metadata.values(), [SecretSpec("NEW", "hex32", "n8n")], NOW)
    assert (found.state, found.overdue) == ("missing", True)


def test_a_rotation_wants_somebody_until_it_waits_or_ends():
    """Begun: rotating. In use, the former accepted still: waiting, then rotating again. Exposed: until it is new."""
    store = rotate(expose(full(), NOW), TOKEN, NOW)
    assert state(store).state == "rotating"
    store = hold(store, "TOKEN", NOW + timedelta(days=1))
    assert (state(store).state, state(store).due) == ("waiting", "2026-01-03T03:04:05Z")
    assert not state(store).overdue
    assert state(store, days=1).state == "rotating"
    assert state(retire(store, "TOKEN")).overdue
    assert state(retire(store, "TOKEN").without(previous("TOKEN"))).state == "ok"


def test_what_somebody_knows_is_due_at_once_or_kept_where_it_cannot_be_exchanged():
    """A value before counts too; the mark stays what it was when it is set again."""
    store = expose(full(), NOW)
    assert (state(store).state, state(store).overdue) == ("exposed", True)
    kept = state(store, replace(TOKEN, rotation="refused", because="it would be lost"))
    assert (kept.state, kept.overdue, kept.because) == ("kept", False, "it would be lost")
    assert expose(store, NOW + timedelta(days=1)).metadata == store.metadata


def test_metadata_of_former_releases_reads_as_before():
    """What few secrets have is written only for those: a file of an earlier otobotctl is the same file."""
    known = full().metadata["TOKEN"]
    assert not {"exposed", "turn", "until"} & known.said().keys()
    turned = msgspec.structs.replace(known, turn=1, exposed="2026-01-02T03:04:05Z")
    assert {"turn": 1, "exposed": "2026-01-02T03:04:05Z"}.items() <= turned.said().items()
