"""The search at the end of a run finds what a vault would have logged."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from otobotctl.vault_api import logs
from scripts.story import vault
from tests.vault_api.conftest import new_environment
from tests.vault_api.leaks.search import forms
from tests.vault_api.watch import Watch, watching

SECRET = 'zé"secret"+/= of a test'


def test_every_vault_of_the_run_is_watched(watch, postgres, tmp_path):
    """What is started anywhere in a test has its log, its environment and its answers with the watch of the session."""
    environment, log = new_environment(postgres), tmp_path / "log.jsonl"
    with vault.serving(environment, log) as running:
        running.ask("/api/tooljet/auth/login", "POST", body={"email": "a@acme.example", "password": SECRET})
    assert log in watch.logs
    assert {environment["ENCRYPTION_MASTER_KEY"], environment["VAULT_RUNTIME_PASSWORD"], SECRET} <= watch.secrets.keys()
    before = len(watch.texts)
    argv = [sys.executable, "-m", "otobotctl.vault_api", "rewrap", "--look"]
    subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert len(watch.texts) > before


@pytest.mark.parametrize("form", sorted(forms(SECRET)))
def test_a_logged_secret_is_a_finding(tmp_path, form):
    """A value of a body in a log, however it is written; the finding names its field and its log, and not the value."""
    one = Watch(tmp_path)
    one.told({"users": [{"password": SECRET}], "name": "Léa Martin from Lyon"})
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"event": "x", "name": "Lea Martin from Lyon", "body": "' + forms(SECRET)[form] + b'"}\n')
    one.keep(log)
    found = one.findings()
    assert any(str(log) in each and "password" in each for each in found)
    assert SECRET not in str(found)
    log.write_text("nothing")
    assert one.findings() == []


def test_a_variable_in_a_log_is_a_finding(tmp_path):
    """A key of the environment, also of a rotation; what is no secret is not looked for."""
    one = Watch(tmp_path)
    one.environment({"ENCRYPTION_MASTER_KEY_PREVIOUS_2": "ab" * 32, "VAULT_DATABASE_HOST": "database.example"})
    log = tmp_path / "log"
    log.write_text(f"at database.example with {'ab' * 32}")
    one.keep(log)
    assert {each.rpartition("(")[0] for each in one.findings()} == {f"{log}: ENCRYPTION_MASTER_KEY_PREVIOUS_2 0 "}


def test_what_this_process_logs_is_searched_too(tmp_path):
    """A vault that a test opens in its own process."""
    own = "which-no-other-watch-knows"
    with watching(tmp_path) as one:
        one.told({"password": own})
        logger = logging.getLogger("vault")
        logger.error(own)
    assert one.findings()
    with watching(tmp_path) as one:
        one.told({"password": own})
        logs.failed(ValueError(own), "request")
    assert one.texts
    assert one.findings() == []


def test_a_log_that_a_test_cleared_away_is_searched_too(tmp_path):
    """What was written is found, whatever became of the file."""
    one, log = Watch(tmp_path), tmp_path / "log.jsonl"
    one.told({"password": SECRET})
    log.touch()
    one.keep(log)
    log.write_text(SECRET)
    log.unlink()
    assert one.findings()
