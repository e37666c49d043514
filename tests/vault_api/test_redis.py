"""Several replicas of a vault count together in a real Redis, and let nobody in by a password while it does not answer."""

from __future__ import annotations

import contextlib
import itertools
from uuid import uuid4

import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.schema import migrate
from scripts.story import vault
from tests.vault_api import redis_server
from tests.vault_api.conftest import QUICK, USER, new_environment
from tests.vault_api.leaks.caller import Book, Caller
from tests.waiting import until

REPLICAS = 3
ATTEMPTS = 10  # of one account
GUESSES = 40
PASSWORD = "Correct-Horse-7"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A Redis."""
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def environment(postgres, redis):
    """The environment of every replica, on a migrated database."""
    limits = {"VAULT_REDIS_URL": redis.url, "VAULT_PUBLIC_RATE": f"{GUESSES}/15minutes"}
    made = new_environment(postgres) | limits | QUICK
    migrate(Settings.from_environment(made, owner=True))
    return made


@pytest.fixture(scope="module")
def replicas(environment, tmp_path_factory):
    """Three vaults for one client."""
    folder = tmp_path_factory.mktemp("replicas")
    with contextlib.ExitStack() as stack:
        yield [
            Caller(stack.enter_context(vault.serving(environment, folder / f"{number}.log")).url, Book(), environment)
            for number in range(REPLICAS)
        ]


@pytest.fixture(autouse=True)
def forgotten(redis):
    """No test begins with another's counts, or without a Redis."""
    redis.go_on()
    with redis.client() as client:
        client.flushall()


@pytest.fixture
def turn(replicas):
    """The replicas, one after the other, as a balancer asks them."""
    return itertools.cycle(replicas)


@pytest.fixture(scope="module")
def email(replicas):
    """A person with PASSWORD."""
    one, email = replicas[0], f"{uuid4().hex}@acme.example"
    once = one.ask("POST", admin.USERS_PATH, {"email": email}, one.operator, status=201).json["password"]
    one.ask("POST", people.RENEW_PATH, {"email": email, "password": once, "newPassword": PASSWORD}, status=200)
    return email


def login(one, email, password=PASSWORD):
    return one.ask("POST", people.LOGIN_PATH, {"email": email, "password": password})


def guess(one):
    return one.ask("GET", contract.SERVICES_PATH, None, {contract.TOKEN_HEADER: "x" * 48})


def test_a_stranger_has_one_limit_at_all_replicas(turn, replicas):
    """Forty wrong tokens over three replicas, then 429 with Retry-After at each of them; n8n is not held up."""
    assert {guess(next(turn)).status for _ in range(GUESSES)} == {401}
    for one in replicas:
        refused = guess(one)
        assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused.head["retry-after"]) <= 15 * 60
        assert one.ask("GET", contract.SERVICES_PATH, None, one.internal).status == 200


def test_an_account_has_one_limit_at_all_replicas(turn, replicas, email):
    """Ten wrong passwords over three replicas, then 429 at each, for the right one too; an account without a user alike."""
    for account in (email, f"{uuid4().hex}@acme.example"):
        assert {login(next(turn), account, "Wrong-Horse-8").status for _ in range(ATTEMPTS)} == {401}
        for one in replicas:
            refused = login(one, account)
            assert refused.status == 429
            assert 1 <= int(refused.head["retry-after"]) <= 15 * 60
    assert login(next(turn), f"{uuid4().hex}@acme.example").status == 401


def test_redis_holds_neither_names_nor_passwords(replicas, redis):
    """Counts are under digests; two clients that share a Redis have names of their own."""
    name = f"{uuid4().hex}@acme.example"
    login(replicas[0], name, f"{PASSWORD}-{name}")
    with redis.client() as client:
        keys = list(client.scan_iter())
    assert keys
    assert all(key.startswith(b"vault:acme") for key in keys)
    assert name.encode() not in redis.contents()
    assert PASSWORD.encode() not in redis.contents()


@pytest.mark.parametrize("how", ["down", "halted"])
def test_without_redis_nobody_gets_in_and_n8n_goes_on(replicas, redis, email, how):
    """503 for passwords and for strangers, as documented; credentials are read and health is well; then all is as before."""
    one = replicas[0]
    unlocked(one, email)
    one.ask("PUT", contract.user_path(USER), {"email": "lea@acme.example"}, one.internal)
    one.ask("PUT", contract.credentials_path(USER, "google"), {"apiKey": "k" * 20}, one.internal)
    redis.stop() if how == "down" else redis.halt()
    try:
        for refused in (login(one, email), guess(one)):
            assert (refused.status, refused.json["code"]) == (503, "unavailable")
            assert refused.head["retry-after"]
        assert one.ask("GET", contract.credentials_path(USER, "google"), None, one.node).status == 200
        assert one.ask("GET", contract.HEALTH_PATH).status == 200
    finally:
        redis.start() if how == "down" else redis.go_on()
    until(lambda: login(one, email).status == 200, "the sessions", pause_s=0.2)


def unlocked(one, email):
    """Whatever the tests before have counted."""
    found = one.ask("GET", admin.USERS_PATH, None, one.operator, status=200).json["users"]
    user = next(each["id"] for each in found if each["email"] == email)
    one.ask("POST", admin.USER_UNLOCK_PATH.format(user=user), None, one.operator, status=204)


def test_a_wrong_password_of_redis_is_told_and_not_shown(environment, redis, tmp_path):
    """The vault serves, nobody logs in, the log says that the limits cannot be counted and shows no password."""
    wrong = redis.url.replace(redis.password, "not-the-password-of-this-redis")
    log = tmp_path / "log.jsonl"
    with vault.serving(environment | {"VAULT_REDIS_URL": wrong, "VAULT_LOG_LEVEL": "debug"}, log) as running:
        one = Caller(running.url, Book(), environment)
        assert login(one, "lea@acme.example").status == 503
        assert one.ask("GET", contract.SERVICES_PATH, None, one.internal).status == 200
    text = log.read_text()
    assert '"limits_unavailable"' in text
    assert "AuthenticationError" in text
    assert "not-the-password-of-this-redis" not in text
    assert redis.password not in text


def test_a_nonsense_address_of_redis_stops_the_start(environment, tmp_path):
    """Exit 2 with the variable's name, and without the password in it."""
    import subprocess
    import sys

    given = environment | {"VAULT_REDIS_URL": "nonsense://:a-password-in-it@127.0.0.1"}
    argv = [sys.executable, "-m", "otobotctl.vault_api", "serve", "--port", "1"]
    done = subprocess.run(argv, env=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "VAULT_REDIS_URL" in done.stderr
    assert "a-password-in-it" not in done.stderr + done.stdout
