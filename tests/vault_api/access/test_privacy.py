"""Export and erasure: everything about a person without secret values, and then nothing but an id."""

from __future__ import annotations

import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people

from .conftest import SEEN

KEY = "sk-SECRET-of-a-person"
SOURCE = {"source_type": "BLOG", "source_value": "https://private.example/blog", "source_name": "Mine"}


@pytest.fixture
def somebody(house):
    """A user with rows everywhere; (id, e-mail, access token)."""
    SEEN.add(KEY)
    user, email = house.person()
    token = house.login(email).body["token"]
    assert (
        house.ask("POST", people.OWN_CONNECTIONS_PATH, {"service": "openai", "apiKey": KEY}, bearer=token).status == 201
    )
    assert house.ask("POST", people.SOURCES_PATH, SOURCE, bearer=token).status == 201
    assert house.operate("PUT", f"{admin.USERS_PATH}/{user}/permissions", {"permissions": ["audit.read"]}).status == 200
    return user, email, token


def test_an_export_says_everything_but_values(house, somebody):
    """Profile, connections, sources, sessions and audit; no stored value, digest or ciphertext."""
    user, email, _ = somebody
    got = house.operate("GET", f"{admin.USERS_PATH}/{user}/export")
    assert got.status == 200, got.body
    told = got.body
    assert told["user"]["email"] == email
    assert told["user"]["permissions"] == ["audit.read"]
    assert [one["service_name"] for one in told["connections"]] == ["openai"]
    assert [one["source_value"] for one in told["curationSources"]] == [SOURCE["source_value"]]
    assert len(told["sessions"]) == 2
    assert {"login", "store", "user"} <= {one["action"] for one in told["audit"]}
    ((sealed, hashed),) = house.rows(
        "SELECT c.encrypted_api_key, u.password_hash FROM client_connections c JOIN users u ON u.id = c.user_id WHERE u.id = %s",
        user,
    )
    for value in (KEY, sealed, hashed, "$2b$"):
        assert value not in str(told)
    assert ("privacy", "exported") in house.audit(user)


def test_an_erasure_leaves_an_id(house, somebody):
    """No table but the audit knows the person; sessions are dead; it is recorded; the address is free again."""
    user, email, token = somebody
    got = house.operate("DELETE", f"{admin.USERS_PATH}/{user}")
    assert got.status == 200, got.body
    assert (got.body["connections"], got.body["notRevoked"]) == (1, [])
    assert house.ask("GET", people.DASHBOARD_PATH, bearer=token).status == 401
    assert house.login(email).status == 401
    tables = [
        name
        for (name,) in house.rows(
            "SELECT table_name::text FROM information_schema.columns WHERE table_schema = 'vault' AND column_name = 'user_id' "
            "AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'vault')"
        )
    ]
    assert len(tables) > 7
    left = {name: house.rows(f"SELECT to_jsonb(t)::text FROM {name} t WHERE user_id = %s", user) for name in tables}
    assert {name for name, rows in left.items() if rows} == {"credential_access_logs", "erasures"}
    everything = str(left) + str(house.rows("SELECT to_jsonb(u)::text FROM users u WHERE id = %s", user))
    for text in (email, "Test", SOURCE["source_value"], "$2b$"):
        assert text not in everything
    assert ("privacy", "erased") in house.audit(user)
    again = house.operate("POST", admin.USERS_PATH, {"email": email})
    house.remember(again)
    assert again.status == 201
    assert again.body["user"]["id"] != user


def test_an_erased_person_stays_erased(house, somebody):
    """Erasing, changing, resetting or exporting again finds nobody to do it to, and n8n cannot bring the id back."""
    user, email, _ = somebody
    path = f"{admin.USERS_PATH}/{user}"
    assert house.operate("DELETE", path).status == 200
    assert house.operate("DELETE", path).status == 404
    assert house.operate("PATCH", path, {"isActive": True}).status == 404
    assert house.operate("POST", f"{path}/password").status == 404
    headers = {"x-internal-token": house.environment["N8N_INTERNAL_TOKEN"]}
    back = house.ask("PUT", f"/api/internal/user/{user}", {"email": email, "name": "Back"}, headers=headers)
    assert back.status in {404, 409}
    assert email not in str(house.rows("SELECT to_jsonb(u)::text FROM users u WHERE id = %s", user))


def test_nobody_erases_himself(house):
    """An administrator's mistake cannot lock everybody out."""
    house.no_admin_factor()
    user, email = house.person("admin")
    token = house.login(email).body["token"]
    assert house.ask("DELETE", f"{admin.USERS_PATH}/{user}", bearer=token).status == 409
    assert house.login(email).status == 200
