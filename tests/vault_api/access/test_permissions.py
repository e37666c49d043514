"""Roles and permissions: an admin has all, a user never more than what is known and granted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.access import permissions


@given(st.lists(st.text(max_size=20)))
def test_unknown_codes_grant_nothing(codes):
    """A code that is in no list gives a user nothing."""
    known = set(codes) & set(permissions.PERMISSIONS)
    assert permissions.held("user", codes) == set(permissions.OWN) | known


def test_the_roles():
    """A user has what is his own; each grant adds itself only; an admin has everything."""
    assert permissions.held("admin", ()) == set(permissions.PERMISSIONS)
    assert not permissions.held("user", ()) & set(permissions.GRANTED)
    assert permissions.held("user", ["audit.read"]) - set(permissions.OWN) == {"audit.read"}
