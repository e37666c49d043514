"""The second factor over the routes: enrolled, needed, good once, recovered, and needed by administrators."""

from __future__ import annotations

import asyncio
import time

import httpx
import pyotp
import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people

from .conftest import PASSWORD


class Phone:
    """An authenticator that never shows the same code twice: it waits, as people do, by looking one step ahead."""

    def __init__(self, secret):
        self.totp = pyotp.TOTP(secret)

    def code(self, offset=0):
        return self.totp.generate_otp(int(time.time()) // 30 + offset)


def enrolled(house, role="user"):
    """(user, e-mail, access token with the second factor, phone, recovery codes); the step used is the one before."""
    user, email = house.person(role)
    token = house.login(email).body["token"]
    begun = house.ask("POST", people.MFA_PATH, {"password": PASSWORD}, bearer=token)
    assert begun.status == 200, begun.body
    house.remember(begun)
    phone = Phone(begun.body["secret"])
    done = house.ask("POST", people.MFA_CONFIRM_PATH, {"otp": phone.code(-1)}, bearer=token)
    assert done.status == 200, done.body
    house.remember(done)
    return user, email, done.body["token"], phone, done.body["recoveryCodes"]


def test_with_a_second_factor_the_password_is_not_enough(house):
    """Without a code the login asks for one; with a wrong one it is refused as a wrong password is."""
    user, email, _, phone, _ = enrolled(house)
    asked = house.login(email)
    assert (asked.status, asked.body["code"]) == (401, "otp_required")
    wrong = house.login(email, otp="000000" if phone.code() != "000000" else "111111")
    assert (wrong.status, wrong.body["code"]) == (401, "invalid_credentials")
    good = house.login(email, otp=phone.code(1))
    assert good.status == 200
    assert good.body["user"]["mfaEnabled"] is True
    assert ("login", "refused") in house.audit(user)


def test_a_code_works_once(house):
    """The same code a second time is refused, also to many at once."""
    _, email, _, phone, _ = enrolled(house)
    code = phone.code(1)

    async def five():
        transport = httpx.ASGITransport(house.app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://vault") as client:
            body = {"email": email, "password": PASSWORD, "otp": code}
            return await asyncio.gather(*(client.post(people.LOGIN_PATH, json=body) for _ in range(5)))

    assert sorted(one.status_code for one in house.run(five())) == [200, 401, 401, 401, 401]
    assert house.login(email, otp=code).status == 401


def test_recovery_codes_work_once_and_are_stored_as_digests(house):
    """Each opens one login; the state counts them down; no row holds one."""
    _, email, _, _, codes = enrolled(house)
    assert len(codes) == 10
    got = house.login(email, otp=codes[0])
    assert got.status == 200
    assert house.login(email, otp=codes[0]).status == 401
    state = house.ask("GET", people.MFA_PATH, bearer=got.body["token"]).body
    assert state == {"enabled": True, "recoveryCodesLeft": 9}
    stored = str(house.rows("SELECT to_jsonb(m)::text FROM mfa_recovery_codes m"))
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)


def test_the_secret_is_sealed(house):
    """The column holds a ciphertext bound to its row: another user's does not open there."""
    user, _, _, phone, _ = enrolled(house)
    ((sealed,),) = house.rows("SELECT mfa_secret FROM users WHERE id = %s", user)
    assert phone.totp.secret not in sealed
    assert len(sealed.split(":")) == 4
    other, email, _, theirs, _ = enrolled(house)
    house.change("UPDATE users SET mfa_secret = %s WHERE id = %s", sealed, other)
    for own in (phone, theirs):
        assert house.login(email, otp=own.code(1)).status >= 400


def test_enrolment_counts_once_it_is_confirmed_and_ends_other_sessions(house):
    """Begun but not confirmed, a login needs no code; a wrong first code turns nothing on; then other sessions end."""
    user, email = house.person()
    token, other = (house.login(email).body["token"] for _ in range(2))
    phone = Phone(house.ask("POST", people.MFA_PATH, {"password": PASSWORD}, bearer=token).body["secret"])
    assert house.login(email).status == 200
    assert house.ask("POST", people.MFA_CONFIRM_PATH, {"otp": phone.code(-9)}, bearer=token).status == 401
    assert house.ask("POST", people.MFA_CONFIRM_PATH, {"otp": phone.code()}, bearer=token).status == 200
    assert house.ask("GET", people.MFA_PATH, bearer=other).status == 401
    assert house.ask("POST", people.MFA_PATH, {"password": PASSWORD}, bearer=token).status == 409
    assert house.ask("POST", people.MFA_CONFIRM_PATH, {"otp": phone.code(1)}, bearer=token).status == 409
    assert ("mfa", "enabled") in house.audit(user)


def test_turning_it_off_takes_password_and_code(house):
    """Neither alone is enough."""
    _, email, token, phone, _ = enrolled(house)

    def off(**body):
        return house.ask("POST", people.MFA_DISABLE_PATH, body, bearer=token).status

    assert off(password="Wrong-Horse-77", otp=phone.code()) == 401
    assert off(password=PASSWORD) == 401
    assert off(password=PASSWORD, otp=phone.code(-5)) == 401
    assert off(password=PASSWORD, otp=phone.code(1)) == 204
    assert house.login(email).status == 200


def test_new_recovery_codes_replace_the_old(house):
    """The old ones stop at once."""
    _, email, token, phone, old = enrolled(house)
    got = house.ask("POST", people.MFA_RECOVERY_PATH, {"password": PASSWORD, "otp": phone.code(1)}, bearer=token)
    assert got.status == 200, got.body
    house.remember(got)
    assert house.login(email, otp=old[3]).status == 401
    assert house.login(email, otp=got.body["recoveryCodes"][3]).status == 200


def test_an_administrator_is_one_only_with_a_second_factor(house):
    """Without it his login does what a user's does; with it, everything; the client's policy may say otherwise."""
    _, email = house.person("admin")
    plain = house.login(email).body["token"]
    refused = house.ask("GET", admin.USERS_PATH, bearer=plain)
    assert (refused.status, refused.body["code"]) == (403, "forbidden")
    _, _, strong, _, _ = enrolled(house, "admin")
    assert house.ask("GET", admin.USERS_PATH, bearer=strong).status == 200
    house.no_admin_factor()
    try:
        assert house.ask("GET", admin.USERS_PATH, bearer=plain).status == 200
    finally:
        house.operate("PATCH", admin.CLIENT_PATH, {"policy": {"adminSecondFactor": True}})
    assert house.ask("GET", admin.USERS_PATH, bearer=plain).status == 403


def test_who_lost_the_phone_is_helped_by_an_administrator(house):
    """The second factor goes, and every session with it."""
    user, email, token, _, _ = enrolled(house)
    assert house.operate("DELETE", f"{admin.USERS_PATH}/{user}/mfa").status == 204
    assert house.ask("GET", people.MFA_PATH, bearer=token).status == 401
    assert house.login(email).status == 200


@pytest.mark.parametrize("otp", ["", "abc", "1" * 33])
def test_a_confirmation_needs_a_code(house, otp):
    """Nothing, something else, and too much are refused."""
    token = house.bearer()
    house.ask("POST", people.MFA_PATH, {"password": PASSWORD}, bearer=token)
    assert house.ask("POST", people.MFA_CONFIRM_PATH, {"otp": otp}, bearer=token).status in {400, 401}
