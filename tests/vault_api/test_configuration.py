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
    "AUDIT_HMAC_KEY": "b2" * 32,
}
OWNER = {"VAULT_OWNER_USER", "VAULT_OWNER_PASSWORD"}


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
        Settings.from_environment({}, owner=True)
    assert {finding.partition(" ")[0] for finding in raised.value.findings} == set(GOOD)


def test_only_migrate_needs_the_owner():
    """Without the owner's login everything else starts."""
    without = {name: value for name, value in GOOD.items() if name not in OWNER}
    assert Settings.from_environment(without).owner is None
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_environment(without, owner=True)
    assert {finding.partition(" ")[0] for finding in raised.value.findings} == OWNER


def test_previous_master_keys_come_in_order():
    """The key that seals is first, those that only open follow; a bad one is named."""
    keys = {"ENCRYPTION_MASTER_KEY_PREVIOUS": "c3" * 32, "ENCRYPTION_MASTER_KEY_PREVIOUS_2": "d4" * 32}
    found = Settings.from_environment({**GOOD, **keys}).master_keys
    assert [key.reveal()[:2] for key in found] == ["a1", "c3", "d4"]
    assert findings(**{**keys, "ENCRYPTION_MASTER_KEY_PREVIOUS_2": "x"})[0].startswith(
        "ENCRYPTION_MASTER_KEY_PREVIOUS_2"
    )


@pytest.mark.parametrize(("name", "value"), [
    ("ENCRYPTION_MASTER_KEY", "VALUE"), ("ENCRYPTION_MASTER_KEY", "zz" * 32), ("ENCRYPTION_MASTER_KEY", "a1" * 33),
    ("VAULT_DATABASE_PORT", "VALUE"), ("VAULT_DATABASE_PORT", "0"), ("VAULT_DATABASE_PORT", "65536"), ("VAULT_DATABASE_PORT", "5" * 5000), ("AUDIT_HMAC_KEY", "VALUE"),
    ("VAULT_PUBLIC_URL", "javascript:VALUE"), ("VAULT_ALLOWED_ORIGINS", "https://a.example/VALUE"), ("VAULT_INTERNAL_RATE", "VALUE"),
    ("VAULT_TRUSTED_PROXIES", "-1"), ("VAULT_TRUSTED_PROXIES", "0000000009"), ("VAULT_OPERATOR_TOKEN", "VALUE"),
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
