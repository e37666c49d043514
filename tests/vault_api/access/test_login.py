"""Logging in: what is right comes in, everything else looks the same and is counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import bcrypt
import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.access import accounts
from otobotctl.vault_api.access.throttle import Limit, MemoryWindow, Throttle

from .conftest import PASSWORD

NEW = "Another-Horse-8"


@pytest.fixture
def strict(house):
    """Three attempts an account and eight an address, as the real limits but smaller."""
    kept = house.vault.throttle
    limits = (Limit("login-address", 8, 900), Limit("login-account", 3, 900))
    house.vault.throttle = Throttle(MemoryWindow(), *limits)
    yield house
    house.vault.throttle = kept


def test_a_login_gives_tokens_and_says_who(house):
    """The answer has the platform's fields; the access token opens the dashboard."""
    user, email = house.person()
    got = house.login(email.upper())
    assert got.status == 200, got.body
    assert got.body["user"] == {
        "id": user,
        "email": email,
        "name": "Test",
        "role": "user",
        "mfaEnabled": False,
        "permissions": sorted(got.body["user"]["permissions"]),
    }
    assert got.body["client"]["slug"] == "acme"
    assert got.body["expiresIn"] == 900
    board = house.ask("GET", people.DASHBOARD_PATH, bearer=got.body["token"])
    assert board.status == 200
    assert board.body["user"]["email"] == email
    assert board.body["lastLoginAt"]


def test_every_refusal_is_one_answer(house):
    """Unknown, inactive, locked, without a password, with a wrong one: the same words and the same work."""
    accounts_by_kind = {}
    for kind in ("wrong", "inactive", "locked", "empty"):
        accounts_by_kind[kind] = house.person()
    house.operate("PATCH", f"{admin.USERS_PATH}/{accounts_by_kind['inactive'][0]}", {"isActive": False})
    house.change(
        "UPDATE users SET locked_until = now() + interval '1 hour' WHERE id = %s", accounts_by_kind["locked"][0]
    )
    house.change("UPDATE users SET password_hash = NULL WHERE id = %s", accounts_by_kind["empty"][0])
    answers = [
        house.login("nobody@acme.example"),
        house.login(accounts_by_kind["wrong"][1], "Wrong-Horse-77"),
        *(house.login(accounts_by_kind[kind][1]) for kind in ("inactive", "locked", "empty")),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({str(answer.body) for answer in answers}) == 1
    assert answers[0].body["code"] == "invalid_credentials"


def test_an_unknown_account_costs_a_real_comparison(house, monkeypatch):
    """Bcrypt runs once for an unknown account, with the rounds of the known ones, so that time does not tell."""
    seen = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: (seen.append(given[1][:7]), real(*given))[1])
    _, email = house.person()
    seen.clear()
    house.login(email, "Wrong-Horse-77")
    known = list(seen)
    seen.clear()
    house.login("nobody@acme.example", "Wrong-Horse-77")
    assert seen == known == [b"$2b$04$"]


def test_logins_are_audited_and_hold_nothing_that_was_typed(house):
    """Success and failure leave an entry with the reason; an unknown account's entry does not repeat its name."""
    user, email = house.person()
    house.login(email, "Wrong-Horse-77")
    house.login(email)
    assert house.audit(user)[-2:] == [("login", "refused"), ("login", "ok")]
    house.login("typo-of-a-secret@acme.example")
    (row,) = house.rows("SELECT to_jsonb(l)::text FROM credential_access_logs l ORDER BY id DESC LIMIT 1")
    assert '"reason": "unknown"' in row[0]
    assert "typo-of-a-secret" not in row[0]


def test_an_account_rests_after_too_many_attempts_known_or_not(strict):
    """The fourth attempt is 429 with Retry-After, the right password included, and the same for no account at all."""
    _, email = strict.person()
    for name in (email, "nobody-at-all@acme.example"):
        addresses = (f"198.51.100.{number}" for number in range(9))
        told = [strict.ask("POST", people.LOGIN_PATH, body(name, "Wrong-1-Horse"), address=one) for one in addresses]
        assert [one.status for one in told[:5]] == [401, 401, 401, 429, 429]
        assert 1 <= int(told[3].headers["retry-after"]) <= 900
        assert told[3].body["code"] == "too_many_requests"
    assert strict.ask("POST", people.LOGIN_PATH, body(email, PASSWORD), address="203.0.113.1").status == 429


def test_an_address_rests_after_too_many_attempts(strict):
    """Many accounts from one address end at its limit; another address goes on."""
    told = [
        strict.ask("POST", people.LOGIN_PATH, body(f"u{n}@acme.example", "x"), address="203.0.113.7") for n in range(9)
    ]
    assert [one.status for one in told] == [401] * 8 + [429]
    assert strict.ask("POST", people.LOGIN_PATH, body("u9@acme.example", "x"), address="203.0.113.8").status == 401


def test_failures_in_a_row_lock_the_account_until_somebody_unlocks_it(house):
    """The count is in the database, so a restart or another replica does not forget it."""
    user, email = house.person()
    house.change("UPDATE users SET failed_logins = %s WHERE id = %s", accounts.FAILURES - 1, user)
    assert house.login(email, "Wrong-Horse-77").status == 401
    assert house.login(email).status == 401, "locked: the right password does not help"
    ((until,),) = house.rows("SELECT locked_until FROM users WHERE id = %s", user)
    assert timedelta(minutes=14) < until - datetime.now(UTC) <= timedelta(minutes=15)
    assert house.operate("POST", f"{admin.USERS_PATH}/{user}/unlock").status == 204
    assert house.login(email).status == 200


def test_success_forgets_the_failures(house):
    """Nine failures, a success, nine failures: still open."""
    user, email = house.person()
    house.change("UPDATE users SET failed_logins = 9 WHERE id = %s", user)
    assert house.login(email).status == 200
    assert house.rows("SELECT failed_logins FROM users WHERE id = %s", user) == [(0,)]


def test_a_one_time_password_must_be_replaced(house):
    """It opens nothing but the renewal, and the renewal does not take the same password again."""
    made = house.operate("POST", admin.USERS_PATH, {"email": "once@acme.example"})
    once = made.body["password"]
    house.remember(made)
    got = house.login("once@acme.example", once)
    assert (got.status, got.body["code"]) == (403, "password_expired")
    again = house.ask("POST", people.RENEW_PATH, renewal("once@acme.example", once, once))
    assert again.status == 400
    assert house.ask("POST", people.RENEW_PATH, renewal("once@acme.example", "Wrong-Horse-77", NEW)).status == 401
    assert house.ask("POST", people.RENEW_PATH, renewal("once@acme.example", once, NEW)).status == 200
    assert house.login("once@acme.example", NEW).status == 200
    assert house.login("once@acme.example", once).status == 401


def test_a_password_ends_after_ninety_days(house):
    """Then the login says so, and so does the refresh."""
    user, email = house.person()
    session = house.login(email).body
    house.change("UPDATE users SET password_changed_at = now() - interval '91 days' WHERE id = %s", user)
    assert house.login(email).body["code"] == "password_expired"
    got = house.ask("POST", people.REFRESH_PATH, {"refreshToken": session["refreshToken"]})
    assert (got.status, got.body["code"]) == (403, "password_expired")


def test_the_last_five_passwords_are_refused(house):
    """A change needs the present password, a good new one, and none of the last five; other sessions end."""
    user, email = house.person()
    other = house.login(email).body["token"]
    mine = house.login(email).body["token"]
    current = PASSWORD
    for number in range(1, 6):
        change = {"password": current, "newPassword": f"{NEW}-{number}"}
        assert house.ask("POST", people.PASSWORD_PATH, change, bearer=mine).status == 204
        current = f"{NEW}-{number}"
    assert house.ask("GET", people.DASHBOARD_PATH, bearer=other).status == 401
    assert house.ask("GET", people.DASHBOARD_PATH, bearer=mine).status == 200
    refused = house.ask("POST", people.PASSWORD_PATH, {"password": current, "newPassword": f"{NEW}-1"}, bearer=mine)
    assert (refused.status, "last 5" in refused.body["details"][0]) == (400, True)
    older = house.ask("POST", people.PASSWORD_PATH, {"password": current, "newPassword": PASSWORD}, bearer=mine)
    assert older.status == 204, "the sixth back may come again"
    weak = house.ask("POST", people.PASSWORD_PATH, {"password": PASSWORD, "newPassword": "short"}, bearer=mine)
    assert weak.status == 400
    assert len(weak.body["details"]) > 1
    assert house.rows("SELECT count(*) FROM password_history WHERE user_id = %s", user) == [(5,)]
    wrong = house.ask("POST", people.PASSWORD_PATH, {"password": "nope", "newPassword": f"{NEW}-9"}, bearer=mine)
    assert wrong.status == 401


def test_a_password_that_was_changed_meanwhile_stays(house, monkeypatch):
    """Two enter the old one at the same time: the second to finish has not entered the password there is now."""
    user, email = house.person()
    mine = house.login(email).body["token"]
    hashed_new = accounts.hashed_new

    async def slowly(call, account, new):
        found = await hashed_new(call, account, new)
        house.change("UPDATE users SET password_hash = 'of another' WHERE id = %s", user)
        return found

    monkeypatch.setattr(accounts, "hashed_new", slowly)
    late = house.ask("POST", people.PASSWORD_PATH, {"password": PASSWORD, "newPassword": f"{NEW}-1"}, bearer=mine)
    assert (late.status, late.body["code"]) == (401, "invalid_credentials")
    assert house.rows("SELECT password_hash FROM users WHERE id = %s", user) == [("of another",)]
    assert house.audit(user)[-1] == ("password", "refused")


def test_a_stolen_access_token_cannot_guess_the_password(strict):
    """Entering the password again is limited like a login."""
    token = strict.bearer()
    guess = {"password": "Wrong-Horse-77", "newPassword": NEW}
    told = [strict.ask("POST", people.PASSWORD_PATH, guess, bearer=token).status for _ in range(5)]
    assert told == [401, 401, 401, 429, 429]


def test_no_audit_no_login(house):
    """When the entry cannot be written, nobody gets in and nothing is changed."""
    user, email = house.person()
    before = house.rows("SELECT count(*) FROM client_sessions WHERE user_id = %s", user)
    house.change("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
    try:
        got = house.login(email)
    finally:
        house.change("GRANT INSERT ON credential_access_logs TO vault_runtime")
    assert got.status >= 500
    assert "token" not in got.body
    assert house.rows("SELECT count(*) FROM client_sessions WHERE user_id = %s", user) == before
    assert house.login(email).status == 200


def body(email, password):
    return {"email": email, "password": password}


def renewal(email, password, new):
    return {"email": email, "password": password, "newPassword": new}
