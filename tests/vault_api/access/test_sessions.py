"""Sessions: refresh tokens that are good once, and endings that count at once."""

from __future__ import annotations

import asyncio
import secrets

import httpx
import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people

from .conftest import PASSWORD, opened


def refresh(house, token):
    got = house.ask("POST", people.REFRESH_PATH, {"refreshToken": token})
    house.remember(got)
    return got


def alive(house, token):
    return house.ask("GET", people.SESSIONS_PATH, bearer=token).status == 200


def test_refresh_tokens_rotate(house):
    """Each exchange gives a new pair; only the newest works; the access token is new too."""
    _, email = house.person()
    first = house.login(email).body
    second = refresh(house, first["refreshToken"])
    assert second.status == 200, second.body
    third = refresh(house, second.body["refreshToken"])
    assert third.status == 200
    assert len({one["refreshToken"] for one in (first, second.body, third.body)}) == 3
    assert alive(house, third.body["token"])


def test_reuse_ends_the_whole_family_and_is_audited(house):
    """A used token shown again revokes what came after it, access tokens included; another login is not touched."""
    user, email = house.person()
    other = house.login(email).body
    first = house.login(email).body
    second = refresh(house, first["refreshToken"]).body
    stolen = refresh(house, first["refreshToken"])
    assert (stolen.status, stolen.body["code"]) == (401, "session_ended")
    assert refresh(house, second["refreshToken"]).status == 401
    assert not alive(house, second["token"])
    assert alive(house, other["token"])
    assert ("refresh", "reused") in house.audit(user)


def test_of_two_at_once_one_is_reuse(house):
    """The same token shown twice at the same time: one wins, the family ends, nobody keeps a session."""
    _, email = house.person()
    token = house.login(email).body["refreshToken"]

    async def both():
        transport = httpx.ASGITransport(house.app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://vault") as client:
            asked = [client.post(people.REFRESH_PATH, json={"refreshToken": token}) for _ in range(5)]
            return await asyncio.gather(*asked)

    told = house.run(both())
    assert sorted(one.status_code for one in told) == [200, 401, 401, 401, 401]
    (won,) = [one.json() for one in told if one.status_code == 200]
    assert refresh(house, won["refreshToken"]).status == 401
    assert not alive(house, won["token"])


ENDINGS = {
    "log out": lambda token, _user, _used: ("POST", people.LOGOUT_PATH, None, token),
    "end all but this": lambda token, _user, _used: ("DELETE", people.SESSIONS_PATH, None, token),
    "new password": lambda token, _user, _used: (
        "POST", people.PASSWORD_PATH, {"password": PASSWORD, "newPassword": "Another-Horse-8"}, token,
    ),
    "ended by an operator": lambda _token, user, _used: ("DELETE", f"{admin.USERS_PATH}/{user}/sessions", None, ""),
    "a used token": lambda _token, _user, used: ("POST", people.REFRESH_PATH, {"refreshToken": used}, ""),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_a_session_ends_the_refresh_under_way(house, runner, log, patient, ending):
    """A refresh in another process that has made its new token, and not committed, leaves nobody logged in."""
    user, email = house.person()
    first = house.login(email).body
    second = refresh(house, first["refreshToken"]).body
    mine = house.login(email).body["token"] if ending in {"end all but this", "new password"} else second["token"]
    method, path, body, bearer = ENDINGS[ending](mine, user, first["refreshToken"])
    ends_there, other = (opened(runner, house.environment, log) for _ in range(2))
    given = (
        {"authorization": f"Bearer {bearer}"}
        if bearer
        else {"x-operator-token": house.environment["VAULT_OPERATOR_TOKEN"]}
    )

    async def until(wanted, *tasks):
        for _ in range(1200):
            found = await house.vault.database.one(
                f"SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND {wanted}"
            )
            if found or any(task.done() for task in tasks):
                return
            await asyncio.sleep(0.05)

    async def story():
        doors = [httpx.ASGITransport(each.app, client=("192.0.2.1", 1)) for each in (ends_there, other)]
        async with (
            httpx.AsyncClient(transport=doors[0], base_url="http://vault") as here,
            httpx.AsyncClient(transport=doors[1], base_url="http://vault") as there,
        ):
            async with other.vault.audit._turn:  # nothing of that process is committed meanwhile
                token = {"refreshToken": second["refreshToken"]}
                refreshing = asyncio.ensure_future(there.post(people.REFRESH_PATH, json=token))
                await until("state LIKE 'idle in%%' AND query LIKE '%%INTO client_sessions%%'", refreshing)
                ends = asyncio.ensure_future(here.request(method, path, json=body, headers=given))
                await until("wait_event_type = 'Lock'", ends)
            return await refreshing, await ends

    try:
        refreshed, ended = house.run(story())
    finally:
        other.close()
        ends_there.close()
    assert (refreshed.status_code, ended.status_code) == (200, 401 if ending == "a used token" else 204), ended.text
    assert not alive(house, refreshed.json()["token"])
    assert refresh(house, refreshed.json()["refreshToken"]).status == 401


@pytest.mark.parametrize("text", ["x", "ort_" + "A" * 43, "ort_" + "A" * 44, "é" * 20, "ort_" + "A" * 42 + "\n"])
def test_what_is_no_refresh_token_is_refused_alike(house, text):
    """Unknown and malformed ones get the answer of an ended session."""
    got = refresh(house, text)
    assert (got.status, got.body["code"]) == (401, "session_ended")


def test_tokens_are_stored_as_digests(house):
    """No column of any table holds a refresh token."""
    _, email = house.person()
    token = house.login(email).body["refreshToken"]
    assert token.startswith("ort_")
    rows = house.rows("SELECT to_jsonb(s)::text FROM client_sessions s")
    assert rows
    assert not any(token in row[0] or token[4:] in row[0] for row in rows)


def test_logout_ends_this_session_only(house):
    """Its tokens are dead at once; the other login goes on."""
    user, email = house.person()
    one, two = house.login(email).body, house.login(email).body
    assert house.ask("POST", people.LOGOUT_PATH, bearer=one["token"]).status == 204
    assert not alive(house, one["token"])
    assert refresh(house, one["refreshToken"]).status == 401
    assert alive(house, two["token"])
    assert ("logout", "ok") in house.audit(user)


def test_sessions_are_listed_and_ended_one_by_one_or_all(house):
    """The list names the current one, with address and browser; ending another one leaves this one."""
    _, email = house.person()
    tokens = [house.login(email).body["token"] for _ in range(3)]
    listed = house.ask("GET", people.SESSIONS_PATH, bearer=tokens[0], headers={"user-agent": "x"}).body["sessions"]
    # The renewal of the one-time password was a login too.
    assert len(listed) == 4
    assert [one["current"] for one in listed].count(True) == 1
    assert {one["address"] for one in listed} == {"192.0.2.10"}
    mine = next(one["id"] for one in listed if one["current"])
    newest = next(one["id"] for one in listed if not one["current"])
    assert house.ask("DELETE", f"{people.SESSIONS_PATH}/{newest}", bearer=tokens[0]).status == 204
    assert house.ask("DELETE", f"{people.SESSIONS_PATH}/{newest}", bearer=tokens[0]).status == 404
    assert not alive(house, tokens[2])
    assert alive(house, tokens[1])
    assert house.ask("DELETE", people.SESSIONS_PATH, bearer=tokens[0]).status == 204
    assert not alive(house, tokens[1])
    left = house.ask("GET", people.SESSIONS_PATH, bearer=tokens[0]).body["sessions"]
    assert [one["id"] for one in left] == [mine]


def test_somebody_elses_session_is_not_there(house):
    """Ending it is 404, and it lives on."""
    mine = house.bearer()
    theirs = house.bearer()
    session = house.ask("GET", people.SESSIONS_PATH, bearer=theirs).body["sessions"][0]["id"]
    assert house.ask("DELETE", f"{people.SESSIONS_PATH}/{session}", bearer=mine).status == 404
    assert alive(house, theirs)


def test_deactivation_counts_at_once(house):
    """Access and refresh tokens of a deactivated user are refused, without waiting for their end."""
    user, email = house.person()
    session = house.login(email).body
    assert house.operate("PATCH", f"{admin.USERS_PATH}/{user}", {"isActive": False}).status == 200
    assert not alive(house, session["token"])
    assert refresh(house, session["refreshToken"]).status == 401


def test_a_session_ends_after_ninety_days_however_busy(house):
    """The end of a refreshed token never passes the ninetieth day of its family."""
    user, email = house.person()
    token = house.login(email).body["refreshToken"]
    house.change("UPDATE client_sessions SET issued_at = now() - interval '89 days' WHERE user_id = %s", user)
    token = refresh(house, token).body["refreshToken"]
    ((left,),) = house.rows(
        "SELECT max(expires_at) - now() FROM client_sessions WHERE user_id = %s AND used_at IS NULL AND issued_at > now() - interval '1 hour'",
        user,
    )
    assert 0 < left.total_seconds() <= 86400
    house.change("UPDATE client_sessions SET expires_at = now() - interval '1 second' WHERE user_id = %s", user)
    assert refresh(house, token).status == 401


def test_sessions_that_are_over_are_forgotten(house):
    """A day after its end a session's address and browser are gone, at anybody's next login."""
    user, email = house.person()
    house.login(email)
    house.change("UPDATE client_sessions SET expires_at = now() - interval '25 hours' WHERE user_id = %s", user)
    house.bearer()
    assert house.rows("SELECT 1 FROM client_sessions WHERE user_id = %s", user) == []


def test_a_token_of_another_vault_is_refused(house):
    """The same secret and user, another client's audience."""
    from otobotctl.vault_api.access.tokens import Tokens

    _, email = house.person()
    good = house.login(email).body["token"]
    claims = house.vault.tokens.verify(good)
    foreign = Tokens([house.environment["API_JWT_SECRET"]], "other").issue(claims)
    assert alive(house, good)
    assert not alive(house, foreign)


def test_the_secret_of_access_tokens_rotates_without_logging_anybody_out(house, runner, log):
    """A vault started with a new secret and the old one as previous takes both; without the old one, only its own."""
    _, email = house.person()
    old = house.login(email).body["token"]
    current = secrets.token_urlsafe(48)
    during = {
        **house.environment,
        "API_JWT_SECRET": current,
        "API_JWT_SECRET_PREVIOUS": house.environment["API_JWT_SECRET"],
    }
    after = {**house.environment, "API_JWT_SECRET": current}
    for environment, works in ((during, True), (after, False)):
        rotated = opened(runner, environment, log)
        try:
            new = rotated.login(email).body["token"]
            assert alive(rotated, new)
            assert alive(rotated, old) is works
            assert not alive(house, new)
        finally:
            rotated.close()
