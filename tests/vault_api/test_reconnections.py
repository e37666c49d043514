"""What users have to connect again: asked for by the daily workflow, of everybody at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from otobotctl.vault_api import contract


def store(live, user, service, days=None, **more):
    """A connection whose token ends in so many days."""
    if days is not None:
        more["expiresAt"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    answer = live.ask(contract.credentials_path(user, service), "PUT", body={"accessToken": "SECRET-token", **more})
    return answer.body["connectionId"]


def listed(live, user, days=14):
    """What is listed of one user, by service."""
    answer = live.ask(f"{contract.RECONNECTIONS_PATH}?withinDays={days}")
    assert answer.status == 200
    assert "SECRET" not in str(answer.body)
    return {each["service_name"]: each for each in answer.body["connections"] if each["user_id"] == user}


def test_what_nothing_can_renew_is_listed_before_it_ends(live, user):
    """A token without a refresh token, ended or ending within the days; neither one that can be renewed, nor a later one."""
    ended, soon = store(live, user, "github", -1), store(live, user, "gitlab", 10)
    store(live, user, "google", 10, refreshToken="SECRET-refresh")
    store(live, user, "notion", 20)
    store(live, user, "slack")
    found = listed(live, user)
    assert {name: each["id"] for name, each in found.items()} == {"github": ended, "gitlab": soon}
    assert {name: each["status"] for name, each in found.items()} == {"github": "expired", "gitlab": "valid"}
    assert found["gitlab"]["email"].endswith("@acme.example")
    assert set(listed(live, user, 0)) == {"github"}
    assert set(listed(live, user, 30)) == {"github", "gitlab", "notion"}


def test_what_the_provider_has_ended_is_listed(live, user):
    """A broken connection, whatever its dates."""
    row = store(live, user, "google", 100, refreshToken="SECRET-refresh")
    with live.database() as connection:
        connection.execute(
            "UPDATE client_connections SET status = 'broken', broken_reason = 'invalid_grant', broken_at = now()"
            " WHERE id = %s",
            (row,),
        )
    one = listed(live, user, 0)["google"]
    assert (one["is_broken"], one["broken_reason"], one["status"]) == (True, "invalid_grant", "expired")


@pytest.mark.parametrize("days", ["-1", "367", "x"])
def test_days_are_a_year_at_most(live, days):
    """Anything else is not understood."""
    assert live.ask(f"{contract.RECONNECTIONS_PATH}?withinDays={days}").status == 400


def test_who_looked_is_in_the_audit_and_a_stranger_does_not(live):
    """One entry a look; 401 without the internal token."""
    count = "SELECT count(*) FROM credential_access_logs WHERE access_type = 'reconnections'"
    with live.database() as connection:
        before = connection.execute(count).fetchone()[0]
        assert live.ask(contract.RECONNECTIONS_PATH).status == 200
        assert live.ask(contract.RECONNECTIONS_PATH, token="x" * 64).status == 401
        assert connection.execute(count).fetchone()[0] == before + 1
