"""Export and erasure: everything about a person without secret values, and then nothing but an id."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.routes.admin import privacy

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


def test_a_connection_that_is_gone_by_then_stops_no_erasure(house, somebody, monkeypatch):
    """It was listed, and its user has disconnected it before its turn came."""
    user, _, _ = somebody
    listed = privacy.rows.listed

    async def listed_and_gone(vault, whose):
        found = await listed(vault, whose)
        house.change("DELETE FROM client_connections WHERE user_id = %s", whose)
        return found

    monkeypatch.setattr(privacy.rows, "listed", listed_and_gone)
    got = house.operate("DELETE", f"{admin.USERS_PATH}/{user}")
    assert got.status == 200, got.body
    assert house.rows("SELECT 1 FROM users WHERE id = %s AND erased_at IS NOT NULL", user) == [(1,)]


@pytest.mark.parametrize("what", ["connection", "source"])
def test_what_arrives_during_an_erasure_does_not_stay(house, what):
    """A row that is added while the erasure commits is refused: the request waits for it and then finds nobody."""
    user, email = house.person()
    token = house.login(email).body["token"]
    path, body = {
        "connection": (people.OWN_CONNECTIONS_PATH, {"service": "openai", "apiKey": KEY}),
        "source": (people.SOURCES_PATH, SOURCE),
    }[what]

    async def story():
        async with house.vault.database.connection() as erasing, erasing.transaction():
            await erasing.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (user,))
            transport = httpx.ASGITransport(house.app, client=("192.0.2.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://vault") as client:
                headers = {"authorization": f"Bearer {token}"}
                asked = asyncio.ensure_future(client.post(path, json=body, headers=headers))
                for _ in range(600):
                    waiting = await house.vault.database.one(
                        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                    )
                    if waiting or asked.done():
                        break
                    await asyncio.sleep(0.05)
                await erasing.execute("UPDATE users SET is_active = false, erased_at = now() WHERE id = %s", (user,))
                await erasing.execute("COMMIT")
                await erasing.execute("BEGIN")
                return await asked

    got = house.run(story())
    assert got.status_code == 404, got.text
    assert house.rows("SELECT 1 FROM client_connections WHERE user_id = %s", user) == []
    assert house.rows("SELECT 1 FROM curation_sources WHERE user_id = %s", user) == []
