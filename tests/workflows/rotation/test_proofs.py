"""Who is asked whether a value is valid, and what an answer means."""

from __future__ import annotations

import subprocess

import pytest

from otobotctl.converge import inside
from otobotctl.errors import StepFailedError
from otobotctl.secrets import Secret
from otobotctl.workflows.rotation import proofs
from tests.render.sample import EVERYTHING, catalog

SIGNING = {"API_JWT_SECRET", "JWT_SECRET", "JWT_REFRESH_SECRET", "N8N_USER_MANAGEMENT_JWT_SECRET", "SECRET_KEY_BASE"}


def ask(name, turn=0):
    return proofs.question(catalog(), EVERYTHING, name, turn)


def test_everything_that_can_be_exchanged_is_proved_but_what_only_signs():
    """A login, a token or a password has somebody who says whether it is valid."""
    able = {
        spec.name
        for spec in catalog().secret_specs(EVERYTHING)
        if spec.rotation not in {"refused", "key-ring"} and not spec.given
    }
    assert {name for name in able if ask(name) is None} == able & SIGNING


@pytest.mark.parametrize(
    ("name", "service", "role"),
    [
        ("VAULT_RUNTIME_PASSWORD", "postgres", "vault_runtime"),
        ("N8N_DB_PASSWORD", "postgres", "n8n_owner"),
        ("LIBRECHAT_DB_PASSWORD", "mongo", "librechat_owner"),
    ],
)
def test_a_roles_password_is_asked_of_its_engine_by_the_login_that_has_it(name, service, role):
    """The first login in its turn, the second in its own; the superusers have one."""
    for turn, login in ((0, role), (1, f"{role}_2")):
        asked = ask(name, turn)
        words = " ".join(asked.argv)
        assert asked.service == service
        assert f"--username={login} " in words or f'auth("{login}",' in words
        assert "{role}" not in words
        assert "{database}" not in words
    assert "otobot_admin" in " ".join(ask("POSTGRES_PASSWORD", 1).argv)
    assert "otobot_admin_2" not in " ".join(ask("POSTGRES_PASSWORD", 1).argv)


@pytest.mark.parametrize(("status", "said"), [(0, True), (1, False), (2, None), (127, None), (-9, None)])
def test_what_says_neither_yes_nor_no_is_an_error(monkeypatch, status, said):
    """A server that is away must not read as a value that is refused; the value goes over stdin and into no message."""
    seen = []

    def run(place, argv, stdin):
        seen.append((place, argv, stdin))
        return inside.Said(status, b"", ("the secret's own words: hunter2",))

    monkeypatch.setattr(inside, "run", run)
    place = inside.Place(lambda: None, "otobot-acme", "", "acme")
    asked = ask("REDIS_PASSWORD")
    if said is None:
        with pytest.raises(StepFailedError) as error:
            proofs.accepted(place, asked, Secret("REDIS_PASSWORD", "hunter2"))
        assert "hunter2" not in str(error.value.told())
    else:
        assert proofs.accepted(place, asked, Secret("REDIS_PASSWORD", "hunter2")) is said
    ((where, argv, stdin),) = seen
    assert (where.service, stdin) == ("redis", "hunter2\n")
    assert "hunter2" not in " ".join(argv)


def test_the_vaults_proof_tells_a_token_from_another(tmp_path):
    """Run as it is, against a server that knows one token; and where nobody answers, it says neither."""
    import http.server
    import sys
    import threading

    class Vault(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.headers["x-internal-token"] == "right" else 401)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Vault)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _, _, program, *words = ask("N8N_INTERNAL_TOKEN").argv
    try:
        for port, value, status in (
            (server.server_port, "right", 0),
            (server.server_port, "wrong", 1),
            (1, "right", 2),
        ):
            here = program.replace("3001", str(port))
            ran = subprocess.run([sys.executable, "-c", here, *words], input=f"{value}\n", text=True, check=False)
            assert ran.returncode == status
    finally:
        server.shutdown()
        server.server_close()
