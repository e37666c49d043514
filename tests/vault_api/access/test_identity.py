"""What an actor may see and hand on: the lesser of every doubt."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from otobotctl.vault_api.access import identity
from otobotctl.vault_api.access.permissions import OWN, PERMISSIONS
from otobotctl.vault_api.actor import ANONYMOUS, INTERNAL, SYSTEM, Actor

USER = uuid4()
POLICY = identity.Policy()


@pytest.mark.parametrize("actor", [ANONYMOUS, INTERNAL, SYSTEM, Actor("key", "ab", scopes=frozenset({"users.read"}))])
def test_who_is_nobody_sees_nobodys_rows(actor):
    """An actor without a user is never taken for one who sees all."""
    assert identity.own_or_all(actor) == UUID(int=0)


def test_users_see_their_own_and_administrators_all():
    """None stands for every user's."""
    assert identity.own_or_all(Actor("user", "x", USER, "user")) == USER
    assert identity.own_or_all(Actor("user", "x", USER, "admin")) is None
    assert identity.own_or_all(Actor("operator", "x")) is None


def test_powers_are_what_may_be_handed_on():
    """`admin` is held by administrators, operators and keys of that scope, by nobody else."""
    assert "admin" in identity.powers(Actor("user", "x", USER, "admin"))
    assert "admin" in identity.powers(Actor("key", "x", scopes=frozenset({"admin"})))
    assert identity.powers(Actor("key", "x", scopes=frozenset({"users.read"}))) == {"users.read"}
    assert identity.powers(Actor("user", "x", USER, "user", frozenset(OWN))) == set(OWN)
    assert identity.powers(ANONYMOUS) == set()


@pytest.mark.parametrize(
    "stored", [None, {}, [], "x", {"adminSecondFactor": None}, {"adminSecondFactor": 0}, {"x": False}]
)
def test_a_policy_that_says_nothing_clear_asks_for_the_second_factor(stored):
    """Only a plain false switches it off."""
    assert identity.Policy.read(stored).admin_second_factor is True
    assert identity.Policy.read({"adminSecondFactor": False}).admin_second_factor is False


def test_more_than_ones_own_takes_the_second_factor():
    """For the role and for grants alike."""
    assert identity.permissions("admin", [], POLICY, second_factor=False) == set(OWN)
    assert identity.permissions("user", ["audit.read"], POLICY, second_factor=False) == set(OWN)
    assert identity.permissions("admin", [], POLICY, second_factor=True) == set(PERMISSIONS)
    assert identity.permissions("user", ["audit.read"], POLICY, second_factor=True) == {*OWN, "audit.read"}
