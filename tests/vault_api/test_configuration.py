"""The environment is checked whole, and no finding shows a value."""

from __future__ import annotations

import pytest

from otobotctl.vault_api.configuration import ConfigurationError, Settings

GOOD = {
    "VAULT_CLIENT": "acme",
    "VAULT_DATABASE_HOST": "postgres",
    "VAULT_DATABASE_NAME": "otobot_frontend",
    "VAULT_OWNER_USER": "vault_owner",
    "VAULT_OWNER_PASSWORD": "OWNER-VALUE",
    "VAULT_RUNTIME_USER": "vault_runtime",
    "VAULT_RUNTIME_PASSWORD": "RUNTIME-VALUE",
    "ENCRYPTION_MASTER_KEY": "a1" * 32,
    "N8N_INTERNAL_TOKEN": "TOKEN-VALUE-" * 4,
    "API_JWT_SECRET": "JWT-VALUE-" * 4,
}


def findings(**changed):
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment({**GOOD, **changed})
    return raised.value.findings


def test_a_good_environment_is_read():
    """Port and log level have defaults; a previous token is optional and comes second."""
    settings = Settings.from_environment(GOOD)
    assert (settings.client, settings.port, settings.log_level, len(settings.tokens)) == ("acme", 5432, "info", 1)
    both = Settings.from_environment({**GOOD, "N8N_INTERNAL_TOKEN_PREVIOUS": "PREVIOUS-" * 5}).tokens
    assert [token.reveal() for token in both] == [GOOD["N8N_INTERNAL_TOKEN"], "PREVIOUS-" * 5]


def test_an_empty_environment_names_everything_at_once():
    """Every variable that has no default is named in one error."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment({})
    assert {finding.partition(" ")[0] for finding in raised.value.findings} == set(GOOD)


@pytest.mark.parametrize(("name", "value"), [
    ("ENCRYPTION_MASTER_KEY", "VALUE"), ("ENCRYPTION_MASTER_KEY", "zz" * 32), ("ENCRYPTION_MASTER_KEY", "a1" * 33),
    ("VAULT_DATABASE_PORT", "VALUE"), ("VAULT_DATABASE_PORT", "0"), ("VAULT_DATABASE_PORT", "65536"), ("VAULT_DATABASE_PORT", "5" * 5000),
    ("N8N_INTERNAL_TOKEN", "VALUE"), ("API_JWT_SECRET", "VALUE"), ("VAULT_LOG_LEVEL", "VALUE"), ("VAULT_CLIENT", "VALUE"),
    ("VAULT_OWNER_USER", 'x"; DROP'), ("N8N_INTERNAL_TOKEN_PREVIOUS", "VALUE"),
])  # fmt: skip
def test_a_bad_value_is_named_and_not_shown(name, value):
    """One finding, which begins with the variable and does not hold its value."""
    (finding,) = findings(**{name: value})
    assert finding.startswith(name)
    assert value not in finding.replace(name, "")


def test_roles_and_secrets_must_differ():
    """One role for both, or one value for two secrets, is refused."""
    assert "two roles" in findings(VAULT_RUNTIME_USER="vault_owner")[0]
    assert "differ" in findings(API_JWT_SECRET=GOOD["N8N_INTERNAL_TOKEN"])[0]


def test_nothing_shows_a_value():
    """Neither the settings' repr nor an error's text holds a secret."""
    assert "VALUE" not in repr(Settings.from_environment(GOOD))
    assert GOOD["ENCRYPTION_MASTER_KEY"] not in repr(Settings.from_environment(GOOD))
