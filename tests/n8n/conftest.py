"""A real n8n with a real PostgreSQL and a real vault, shared by the tests of a module."""

from __future__ import annotations

import secrets

import psycopg
import pytest

from tests.lab.fixtures import unavailable
from tests.n8n import install, package, real
from tests.vault_api.conftest import environment, live, postgres, settings, user

__all__ = ["environment", "live", "postgres", "settings", "user"]


def pytest_collection_modifyitems(items):
    for item in items:
        if "n8n" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(1800))  # the first one lets npm download


@pytest.fixture(scope="session")
def tree(request):
    """The newest n8n as it comes from npm."""
    if reason := install.missing():
        unavailable(reason)
    return install.install(install.NEWEST)


@pytest.fixture(scope="module")
def n8n(tree, postgres, tmp_path_factory):
    """n8n with the package installed as a deploy installs it, and every save setting on."""
    name, password = f"n8n_{secrets.token_hex(3)}", secrets.token_hex(16)
    with psycopg.connect(postgres.server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    folder = tmp_path_factory.mktemp("n8n")
    package.place(tree / "bin/node", folder)
    settings = real.database_settings(postgres.server, name, password) | SAVING
    with real.serving(tree, folder, settings) as running:
        running.database = name
        yield running


SAVING = {
    "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "all",
    "EXECUTIONS_DATA_SAVE_ON_ERROR": "all",
    "EXECUTIONS_DATA_SAVE_ON_PROGRESS": "true",
    "EXECUTIONS_DATA_SAVE_MANUAL_EXECUTIONS": "true",
    "N8N_ENCRYPTION_KEY": secrets.token_hex(32),
}
