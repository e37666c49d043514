"""Two clients' vaults on one database: whatever people do and whatever ids they pass round, nobody reads another's row."""

from __future__ import annotations

import secrets

import hypothesis
import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from otobotctl.vault_api import contract_people as people
from tests.vault_api.conftest import new_environment

from .conftest import PASSWORD, generous, opened

MOST_PEOPLE = 7
SERVICES = ("openai", "notion", "anthropic")


@pytest.fixture(scope="module")
def tenants(postgres, runner, log):
    """Two vaults that share the database, the internal token and even the secret of their access tokens."""
    first = generous(new_environment(postgres))
    second = {**first, "VAULT_CLIENT": "globex", "ENCRYPTION_MASTER_KEY": secrets.token_hex(32)}
    houses = [opened(runner, environment, log) for environment in (first, second)]
    yield houses
    for house in houses:
        house.close()


class Person:
    """What the model knows of a user."""

    def __init__(self, house):
        self.house = house
        self.id, email = house.person()
        self.token = house.login(email).body["token"]
        self.connections = {}  # service -> (id, key)
        self.sources = {}  # id -> value
        self.session = self.ask("GET", people.SESSIONS_PATH).body["sessions"]

    def ask(self, method, path, body=None, *, house=None):
        return (house or self.house).ask(method, path, body, bearer=self.token)


class Tenants(RuleBasedStateMachine):
    """Random acts of four to seven people of two clients; every answer is compared with what the model says is theirs."""

    houses = ()
    kept = ()

    @initialize()
    def people(self):
        if not Tenants.kept:
            Tenants.kept = tuple(Person(house) for house in self.houses for _ in range(2))

    @property
    def all(self):
        return {number: Tenants.kept[number % len(Tenants.kept)] for number in range(MOST_PEOPLE)}

    who = st.integers(0, MOST_PEOPLE - 1)
    service = st.sampled_from(SERVICES)

    @rule(tenant=st.integers(0, 1))
    def joins(self, tenant):
        if len(Tenants.kept) < MOST_PEOPLE:
            Tenants.kept += (Person(self.houses[tenant]),)

    @rule(who=who, service=service)
    def connect(self, who, service):
        person, key = self.all[who], f"sk-{secrets.token_hex(8)}"
        got = person.ask("POST", people.OWN_CONNECTIONS_PATH, {"service": service, "apiKey": key})
        assert got.status == (409 if service in person.connections else 201)
        if got.status == 201:
            person.connections[service] = (got.body["id"], key)

    @rule(who=who)
    def lists(self, who):
        person = self.all[who]
        listed = person.ask("GET", people.OWN_CONNECTIONS_PATH).body["connections"]
        assert {one["id"] for one in listed} == {row for row, _ in person.connections.values()}
        assert {one["user_id"] for one in listed} <= {person.id}
        sources = person.ask("GET", people.SOURCES_PATH).body["curation_sources"]
        assert {one["id"]: one["source_value"] for one in sources} == person.sources
        board = person.ask("GET", people.DASHBOARD_PATH).body
        assert (board["connections"], board["curationSources"]) == (len(person.connections), len(person.sources))

    @rule(who=who, owner=who, service=service)
    def reads(self, who, owner, service):
        house, person = self.all[who].house, self.all[owner]
        headers = {"x-internal-token": house.environment["N8N_INTERNAL_TOKEN"]}
        got = house.ask("GET", f"/api/internal/user/{person.id}/credentials/{service}", headers=headers)
        if house is person.house and service in person.connections:
            assert got.body["credentials"] == {"apiKey": person.connections[service][1]}
        else:
            assert got.status == 404
            assert "sk-" not in str(got.body)

    @rule(who=who, owner=who, service=service)
    def looks_at_a_status(self, who, owner, service):
        house, person = self.all[who].house, self.all[owner]
        if service not in person.connections:
            return
        headers = {"x-internal-token": house.environment["N8N_INTERNAL_TOKEN"]}
        path = f"/api/internal/connection-status/{person.connections[service][0]}"
        assert house.ask("GET", path, headers=headers).status == (200 if house is person.house else 404)

    @rule(who=who, owner=who, service=service)
    def disconnects(self, who, owner, service):
        person, other = self.all[who], self.all[owner]
        if service not in other.connections:
            return
        got = person.ask("DELETE", f"{people.OWN_CONNECTIONS_PATH}/{other.connections[service][0]}")
        assert got.status == (204 if person is other else 404)
        if got.status == 204:
            del other.connections[service]

    @rule(who=who, value=st.text("abc", min_size=1, max_size=5))
    def adds_a_source(self, who, value):
        body = {"source_type": "BLOG", "source_value": value}
        got = self.all[who].ask("POST", people.SOURCES_PATH, body)
        assert got.status == 201
        self.all[who].sources[got.body["id"]] = value

    @rule(who=who, owner=who)
    def removes_a_source(self, who, owner):
        person, other = self.all[who], self.all[owner]
        for source in list(other.sources)[:1]:
            got = person.ask("DELETE", f"{people.SOURCES_PATH}/{source}")
            assert got.status == (204 if person is other else 404)
            if got.status == 204:
                del other.sources[source]

    @rule(who=who, owner=who)
    def ends_a_session(self, who, owner):
        person, other = self.all[who], self.all[owner]
        if person is not other:
            for session in other.session:
                assert person.ask("DELETE", f"{people.SESSIONS_PATH}/{session['id']}").status == 404

    @rule(who=who)
    def shows_the_token_next_door(self, who):
        person = self.all[who]
        for house in self.houses:
            expected = 200 if house is person.house else 401
            assert person.ask("GET", people.DASHBOARD_PATH, house=house).status == expected

    @invariant()
    def a_bare_select_sees_one_client(self):
        for house in self.houses:
            assert bare(house) <= {house.run(house.vault.database.client())}


def bare(house):
    """The clients of every row that a vault's own connection sees when a statement forgets to ask for one."""
    union = " UNION ALL ".join(f"SELECT client_id FROM {name}" for name in tables(house))
    return {row[0] for row in house.rows(f"SELECT DISTINCT client_id FROM ({union}) AS everything")}


def tables(house):
    """Every table and view with a client_id."""
    found = house.rows(
        "SELECT table_name::text FROM information_schema.columns "
        "WHERE table_schema = 'vault' AND column_name = 'client_id' ORDER BY 1"
    )
    return [name for (name,) in found]


def test_nobody_reads_anothers_row(tenants):
    """A state machine over two clients and their people finds no way across."""
    Tenants.houses, Tenants.kept = tuple(tenants), ()
    settings = hypothesis.settings(
        max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    run_state_machine_as_test(Tenants, settings=settings)


def test_the_database_alone_keeps_clients_apart(tenants):
    """Row-level security by itself: bare SELECT, UPDATE and DELETE of one vault touch nothing of the other."""
    one, two = tenants
    person = Person(one)
    person.ask("POST", people.SOURCES_PATH, {"source_type": "BLOG", "source_value": "x"})
    assert len(tables(one)) > 15
    assert bare(one) == {one.run(one.vault.database.client())}
    assert two.rows("SELECT 1 FROM users WHERE id = %s", person.id) == []
    assert two.run(two.vault.database.run("UPDATE users SET name = 'taken' WHERE id = %s", (person.id,))) == 0
    assert two.run(two.vault.database.run("DELETE FROM curation_sources WHERE user_id = %s", (person.id,))) == 0
    ours = one.run(one.vault.database.client())
    assert two.rows("SELECT slug FROM clients") == [("globex",)]
    assert two.run(two.vault.database.run("UPDATE clients SET email = 'taken@globex.example'")) == 1
    assert one.rows("SELECT email FROM clients") == [("",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        two.run(
            two.vault.database.run(
                "INSERT INTO workflows (client_id, name, webhook_path) VALUES (%s, 'x', 'x')", (ours,)
            )
        )


def test_a_connection_that_names_no_client_sees_nothing(tenants):
    """As vault_runtime without the pool's setting: every table of clients is empty, however it is asked."""
    house = tenants[0]
    Person(house)
    e = house.environment
    with psycopg.connect(
        host=e["VAULT_DATABASE_HOST"],
        port=e["VAULT_DATABASE_PORT"],
        dbname=e["VAULT_DATABASE_NAME"],
        user=e["VAULT_RUNTIME_USER"],
        password=e["VAULT_RUNTIME_PASSWORD"],
        options="-c search_path=vault",
    ) as connection:
        for name in (*tables(house), "clients"):
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name
    assert house.rows("SELECT count(*) FROM users") != [(0,)]


def test_a_sealed_value_moved_to_another_row_does_not_open(tenants):
    """Swapping two people's ciphertexts in the database gives neither the other's key."""
    house = tenants[0]
    first, second = Person(house), Person(house)
    for person in (first, second):
        key = {"service": "openai", "apiKey": f"sk-{person.id}"}
        assert person.ask("POST", people.OWN_CONNECTIONS_PATH, key).status == 201
    house.change(
        "UPDATE client_connections a SET encrypted_api_key = b.encrypted_api_key FROM client_connections b "
        "WHERE a.user_id = %s AND b.user_id = %s",
        first.id,
        second.id,
    )
    headers = {"x-internal-token": house.environment["N8N_INTERNAL_TOKEN"]}
    got = house.ask("GET", f"/api/internal/user/{first.id}/credentials/openai", headers=headers)
    assert got.status == 500
    assert second.id not in str(got.body)
    assert PASSWORD not in str(got.body)
