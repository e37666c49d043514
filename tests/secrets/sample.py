"""Specs of every kind, and a store of them."""

import random
from datetime import UTC, datetime

from otobotctl.secrets import SecretSpec, mint_missing, set_given
from otobotctl.secrets.store import empty

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GIVEN = SecretSpec("API_KEY", "given", "n8n", given=True, description="the provider's key")
MINTED = (
    SecretSpec("IV", "hex16", "librechat"),
    SecretSpec("MASTER_KEY", "hex32", "vault-api", description="encrypts: everything"),
    SecretSpec("KEY_BASE", "hex64", "tooljet"),
    SecretSpec("TOKEN", "base64url48", "vault-api", rotate_days=90),
    SecretSpec("DB_PASSWORD", "password", "postgres", rotate_days=180),
)
SPECS = (*MINTED, GIVEN)


def certain(seed=1):
    """Bytes that are the same in every run."""
    return random.Random(seed).randbytes


def full():
    """A store with one secret of each kind."""
    store, _ = mint_missing(empty(certain()), SPECS, NOW, certain())
    return set_given(store, GIVEN, "sk-é 'quoted' \"text\"\n", NOW)


def revealed(store):
    """Name to value."""
    return {name: secret.reveal() for name, secret in store.values.items()}
