"""The program behind one proxy, over HTTP: addresses, pages of other origins, and a log without secrets."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from scripts.story import vault
from tests.vault_api.conftest import new_environment

PAGE = "https://app.acme.example"
PASSWORD = "Correct-Horse-7"


class Front:
    """A vault in a process of its own that believes one proxy and one page."""

    def __init__(self, running, environment):
        self.where = urlsplit(running.url)
        self.environment = environment
        self.log = running.log

    def ask(self, method, path, body=None, **headers):
        """(status, JSON or None, headers)."""
        connection = http.client.HTTPConnection(self.where.hostname, self.where.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None, dict(answer.getheaders())


@pytest.fixture(scope="module")
def front(postgres, tmp_path_factory):
    """With limits of six attempts an address."""
    environment = {
        **new_environment(postgres),
        "VAULT_TRUSTED_PROXIES": "1",
        "VAULT_ALLOWED_ORIGINS": PAGE,
        "VAULT_PUBLIC_RATE": "6/15minutes",
    }
    with vault.serving(environment, tmp_path_factory.mktemp("front") / "log.jsonl") as running:
        yield Front(running, environment)


def login(front, number, forwarded):
    body = {"email": f"u{number}@acme.example", "password": "Wrong-Horse-77"}
    return front.ask("POST", people.LOGIN_PATH, body, x_forwarded_for=forwarded)


def test_a_forged_address_does_not_help(front):
    """Seven logins from one address are one too many, whatever the caller writes before the proxy's entry."""
    told = [login(front, number, f"198.51.100.{number}, 203.0.113.7")[0] for number in range(7)]
    assert told == [401] * 6 + [429]
    status, _, headers = login(front, 8, "203.0.113.7")
    assert status == 429
    assert int(headers["retry-after"]) > 0
    assert login(front, 9, "203.0.113.8")[0] == 401, "another address goes on"


def test_pages_of_other_origins_get_no_permission(front):
    """The preflight of the configured page passes, with the guard's headers; another one's does not."""
    asked = {"origin": PAGE, "access_control_request_method": "POST"}
    status, _, headers = front.ask("OPTIONS", people.LOGIN_PATH, **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, PAGE)
    assert headers["cache-control"] == "no-store"
    status, _, headers = front.ask("OPTIONS", people.LOGIN_PATH, **{**asked, "origin": "https://evil.example"})
    assert status == 403
    assert "access-control-allow-origin" not in headers
    _, _, headers = front.ask("GET", contract.HEALTH_PATH, origin=PAGE)
    assert headers["access-control-allow-origin"] == PAGE


def test_the_programs_log_holds_no_secret(front):
    """One-time and chosen passwords, tokens of every kind and wrong passwords: none is in the log of the process."""
    operator = {"x_operator_token": front.environment["VAULT_OPERATOR_TOKEN"], "x_forwarded_for": "203.0.113.50"}
    _, made, _ = front.ask("POST", admin.USERS_PATH, {"email": "log@acme.example"}, **operator)
    renewal = {"email": "log@acme.example", "password": made["password"], "newPassword": PASSWORD}
    status, pair, _ = front.ask("POST", people.RENEW_PATH, renewal, x_forwarded_for="203.0.113.51")
    assert status == 200, pair
    bearer = f"Bearer {pair['token']}"
    key = {"service": "openai", "apiKey": "sk-front-word"}
    assert front.ask("POST", people.OWN_CONNECTIONS_PATH, key, authorization=bearer)[0] == 201
    front.ask("POST", people.OWN_CONNECTIONS_PATH, {**key, "service": "sk-front-word!"}, authorization=bearer)
    front.ask("GET", f"{people.DASHBOARD_PATH}?token={pair['token']}", authorization=bearer)
    _, minted, _ = front.ask("POST", admin.KEYS_PATH, {"name": "k", "scopes": ["users.read"]}, **operator)
    text = front.log.read_text()
    assert '"route": "login"' in text
    values = [
        made["password"], PASSWORD, pair["token"], pair["refreshToken"], "sk-front-word", minted["key"],
        "Wrong-Horse-77", *(front.environment[name] for name in ("VAULT_OPERATOR_TOKEN", "API_JWT_SECRET")),
    ]  # fmt: skip
    assert [value for value in values if value in text] == []
