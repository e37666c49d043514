"""Every column that holds a sealed value: written as it is in earnest, sealed anew, and read without the old key."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
from datetime import timedelta

import psycopg

from otobotctl.vault_api import contract, rewrap, schema
from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api.actor import INTERNAL, SYSTEM
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.oauth import applications, renewal
from otobotctl.vault_api.oauth.renewal import Outcome
from otobotctl.vault_api.reads import Asked
from tests.vault_api.access.conftest import House
from tests.vault_api.access.test_second_factor import enrolled

AHEAD = timedelta(minutes=35)


class DiedError(Exception):
    """The process ends here."""


def tokens_header(place):
    return {contract.TOKEN_HEADER: place.environment["N8N_INTERNAL_TOKEN"]}


@contextlib.contextmanager
def house_of(place, runner):
    """A vault with the place's environment as it is now."""
    settings = Settings.from_environment(place.environment)
    schema.migrate(settings)
    made = House(runner, settings, place.environment, io.StringIO())
    try:
        yield made
    finally:
        made.close()


def versions(place):
    """By column, the versions that seal its values."""
    with place.database() as connection:
        return {
            f"{column.table}.{column.name}": {
                row[0]
                for row in connection.execute(
                    psycopg.sql.SQL("SELECT DISTINCT split_part({0}, ':', 1) FROM {1} WHERE {0} IS NOT NULL").format(
                        psycopg.sql.Identifier(column.name), psycopg.sql.Identifier(column.table)
                    )
                ).fetchall()
            }
            for column in rewrap.COLUMNS
        }


def cut_short(house, place, connection, monkeypatch):
    """A refresh whose process dies when the provider has rotated the token: what it rotated to waits in its column."""

    async def die(*_):
        raise DiedError

    async def refresh():
        with contextlib.suppress(DiedError):
            await house.vault.refresh.start(connection, AHEAD, force=True)

    with monkeypatch.context() as patch:
        patch.setattr(renewal, "_finish", die)
        house.run(refresh())
    place.at_once(connection)


def test_each_writers_value_is_sealed_anew_and_read_by_its_reader(place, monkeypatch):
    """No column is forgotten, and each place that the rewrap seals for is the one that the readers open."""
    with asyncio.Runner() as runner:
        with house_of(place, runner) as house:
            user, email, _, phone, _ = enrolled(house)
            path = contract.credentials_path(user, "google")
            given = {"accessToken": "access-1", "refreshToken": "refresh-1", "apiKey": "key-1"}
            assert house.ask("PUT", path, given, headers=tokens_header(place)).status == 201
            new = {"service": "notion", "appName": "N", "clientId": "notion-id", "clientSecret": "notion-secret"}
            assert house.operate("POST", admin.APPS_PATH, new).status == 201
            other, connection = house.run(place.connected(house.vault))
            cut_short(house, place, connection, monkeypatch)
        assert versions(place) == {name: {"1"} for name in versions(place)}

        old = place.environment["ENCRYPTION_MASTER_KEY"]
        place.environment |= {"ENCRYPTION_MASTER_KEY": secrets.token_hex(32), "ENCRYPTION_MASTER_KEY_PREVIOUS": old}
        with house_of(place, runner) as house:
            vault = house.vault
            done = house.run(rewrap.run(vault.database, vault.keyring, vault.audit, vault.settings.client, SYSTEM))
            assert (done.left, done.retired) == ({}, (1,))
        assert versions(place) == {name: {"2"} for name in versions(place)}

        del place.environment["ENCRYPTION_MASTER_KEY_PREVIOUS"]
        with house_of(place, runner) as house:
            assert house.vault.keyring.versions == {2}
            got = house.ask("GET", path, headers=tokens_header(place))
            assert got.body["credentials"] == {"accessToken": "access-1", "apiKey": "key-1"}
            assert house.login(email, otp=phone.code(1)).status == 200
            notion = house.run(applications.find(house.vault, "notion"))
            assert (notion.client.id, notion.client.secret) == ("notion-id", "notion-secret")

            async def refresh():
                return await house.vault.refresh.start(connection, AHEAD, force=True)

            assert house.run(refresh()).outcome is Outcome.REFRESHED  # the stub's application, and the rotated token
            found = house.run(house.vault.reads.read(Asked(str(other), "stub", str(other), INTERNAL)))
            assert found.access_token
            assert [token for token, _ in place.stub.refreshes] == ["refresh-SECRET-lea-1", "refresh-SECRET-lea-2"]
