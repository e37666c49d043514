"""What a host is held against, worked out without a key."""

from __future__ import annotations

from otobotctl.doctor.wanted import wanted
from tests.doctor.sample import fleet
from tests.render.sample import catalog


def test_the_login_whose_turn_it_is_must_work():
    """After a rotation the other one of a role's two logins has the password; no other login changes."""
    manifest = fleet()
    asked = (manifest.host("vps-1"), manifest.clients_of("vps-1"), catalog())
    first, second = wanted(*asked).logins, wanted(*asked, {"acme": {"N8N_DB_PASSWORD": 1}}).logins
    changed = {(a.role, b.role) for a, b in zip(first, second, strict=True) if a != b}
    assert changed == {("n8n_owner", "n8n_owner_2")}
