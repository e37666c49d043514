"""The services that a client may add: n8n, ToolJet, LibreChat and what they stand on."""

import re
import subprocess

import pytest
import yaml

from otobotctl.errors import ManifestError
from otobotctl.render.client import render_client
from otobotctl.render.engine import NoSecrets, SecretView
from otobotctl.secrets import Secret, previous
from tests.render.sample import EVERYTHING, catalog, composed, front, rendered, resolved, secrets_of, text


def fleet_with(settings=None, services=(*EVERYTHING, "nginx"), **acme):
    """The sample with both clients on these services, and settings and fields for the first."""
    return resolved(
        lambda document: (
            document.update(defaults={"services": list(services)}),
            document["clients"]["acme"].update(settings=settings or {}, **acme),
        )
    )


def environment(release, name):
    """An environment file as a mapping."""
    lines = text(release, f"env/{name}.env").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("stage", ["dev", "stage", "prod"])
@pytest.mark.parametrize("mode", ["regular", "queue"])
def test_everything_renders_in_every_environment(stage, mode):
    """Each container has a pinned image, a health check or an end, limits, no capability it was not given."""
    release = rendered(fleet_with({"n8n": {"mode": mode}}, environment=stage))
    services = composed(release)["services"]
    assert set(EVERYTHING) <= set(services)
    assert ("n8n-worker" in services) == (mode == "queue")
    for name, tree in services.items():
        assert re.search(r":(v?\d[\w.]*|[0-9a-f]{16})$", tree["image"]), name
        assert "healthcheck" in tree or tree["restart"] == "no", name
        assert tree["cap_drop"] == ["ALL"], name
        assert "mem_limit" in tree, name
        assert not {"privileged", "network_mode"} & tree.keys() or tree["restart"] == "no", name


def test_everything_keeps_its_secrets_in_environment_files():
    """Every secret of every service is used: in files of root alone, or in what a healthy service is fed, nowhere else."""
    fleet = fleet_with({"n8n": {"mode": "queue"}})
    release, values = rendered(fleet), secrets_of(fleet.client("acme"))
    for file in release.files:
        held = [name for name, secret in values.items() if secret.reveal().encode() in file.content]
        assert file.secret == file.path.startswith("env/"), file.path
        assert bool(held) == (file.secret and file.path != "env/postgres.env"), (file.path, held)
        assert file.mode == (0o600 if file.secret else file.mode)
    fed = "".join(item for each in release.provisions for item in each.items)
    everywhere = b"".join(file.content for file in release.files) + fed.encode()
    assert "VALUE" not in repr(release)
    assert [name for name, secret in values.items() if secret.reveal().encode() not in everywhere] == []


def test_two_clients_with_everything_share_no_port_and_no_name():
    """Loopback ports, projects, aliases and host names of two full clients differ."""
    everything = {"services": [*EVERYTHING, "nginx"], "environment": "dev"}
    fleet = resolved(lambda document: document.update(defaults=everything))
    one, two = composed(rendered(fleet, "acme")), composed(rendered(fleet, "beta"))
    ports = [[port for tree in each["services"].values() for port in tree.get("ports", ())] for each in (one, two)]
    assert ports[0] == [f"127.0.0.1:{port}:{port}" for port in (5432, 6379, 27017, 3001, 5678, 8082, 3080)]
    published = [{port.split(":")[1] for port in found} for found in ports]
    assert published[0].isdisjoint(published[1])
    assert one["name"] != two["name"]
    names = re.findall(
        r"server_name (\S+);", "".join(text(front(fleet), f"nginx/sites/{c}.conf") for c in fleet.clients)
    )
    assert len(names) == 2 * len(set(names)) == 2 * 2 * 4


def test_databases_are_on_the_inner_network_alone():
    """PostgreSQL, MongoDB and redis reach nothing outside and publish nothing."""
    tree = composed(rendered(fleet_with()))
    assert tree["networks"]["data"] == {"internal": True}
    for name in ("postgres", "mongo", "redis"):
        assert list(tree["services"][name]["networks"]) == ["data"]
        assert "ports" not in tree["services"][name]


def test_n8n_is_told_all_it_needs_and_keeps_nothing():
    """Its database, both of its keys, its public address behind the proxy, and the four save settings off."""
    said = environment(rendered(fleet_with()), "n8n")
    assert said["DB_TYPE"] == "postgresdb"
    assert (said["DB_POSTGRESDB_DATABASE"], said["DB_POSTGRESDB_USER"]) == ("otobot_n8n", "n8n_owner")
    assert said["N8N_ENCRYPTION_KEY"] == "acme-n8n_encryption_key-VALUE"
    assert said["N8N_USER_MANAGEMENT_JWT_SECRET"] == "acme-n8n_user_management_jwt_secret-VALUE"
    assert "N8N_JWT_SECRET" not in said
    assert said["WEBHOOK_URL"] == said["N8N_EDITOR_BASE_URL"] == "https://n8n.acme.example/"
    assert (said["N8N_PROXY_HOPS"], said["N8N_SECURE_COOKIE"], said["NODE_ENV"]) == ("1", "true", "production")
    assert said["EXECUTIONS_DATA_SAVE_ON_SUCCESS"] == said["EXECUTIONS_DATA_SAVE_ON_ERROR"] == "none"
    assert said["EXECUTIONS_DATA_SAVE_ON_PROGRESS"] == said["EXECUTIONS_DATA_SAVE_MANUAL_EXECUTIONS"] == "false"
    assert said["N8N_DIAGNOSTICS_ENABLED"] == said["N8N_VERSION_NOTIFICATIONS_ENABLED"] == "false"
    assert said["N8N_METRICS"] == "true"
    assert "EXECUTIONS_MODE" not in said


def test_n8n_in_queue_mode_has_workers_that_share_its_keys():
    """As many workers as wanted, on the same database, keys and redis, that start when n8n has migrated."""
    release = rendered(fleet_with({"n8n": {"mode": "queue", "workers": 3, "concurrency": 7}}))
    worker = composed(release)["services"]["n8n-worker"]
    assert worker["deploy"] == {"replicas": 3}
    assert worker["command"] == ["worker", "--concurrency=7"]
    assert worker["depends_on"]["n8n"] == {"condition": "service_healthy"}
    said = environment(release, "n8n-worker")
    assert said == environment(release, "n8n")
    assert (said["EXECUTIONS_MODE"], said["QUEUE_BULL_REDIS_HOST"]) == ("queue", "redis")
    assert said["QUEUE_BULL_REDIS_PASSWORD"] == environment(release, "redis")["REDISCLI_AUTH"]
    with pytest.raises(ManifestError, match="n8n waits for redis") as error:
        rendered(fleet_with({"n8n": {"mode": "queue"}}, services=("postgres", "n8n")))
    assert error.value.hint == "add the service of redis, or leave out n8n"


def test_tooljet_is_told_what_it_really_reads():
    """Its own names, a database that is there already, no sign-ups, nothing sent home."""
    said = environment(rendered(fleet_with()), "tooljet")
    assert said["TOOLJET_HOST"] == "https://app.acme.example"
    assert (said["PG_HOST"], said["PG_DB"], said["PG_USER"]) == ("postgres", "otobot_tooljet", "tooljet_owner")
    assert said["PG_DB_OWNER"] == said["ENABLE_TOOLJET_DB"] == "false"
    assert "DATABASE_URL" not in said
    assert said["DISABLE_SIGNUPS"] == said["DISABLE_TOOLJET_TELEMETRY"] == said["SERVE_CLIENT"] == "true"
    assert (said["LISTEN_ADDR"], said["PORT"], said["CHECK_FOR_UPDATES"]) == ("0.0.0.0", "8082", "0")
    kinds = {name: need.kind for name, need in catalog().service("tooljet").secrets.items()}
    assert kinds == {
        "LOCKBOX_MASTER_KEY": "hex32",
        "SECRET_KEY_BASE": "hex64",
        "TOOLJET_DB_PASSWORD": "hex32",
        "TOOLJET_ADMIN_PASSWORD": "password",
    }
    assert composed(rendered(fleet_with()))["services"]["tooljet"]["command"] == ["npm", "run", "start:prod"]


def test_librechat_speaks_to_ia_interne_and_lets_nobody_register():
    """A configuration with a version and one endpoint whose key stays a placeholder; keys of the lengths it needs."""
    release = rendered(fleet_with({"librechat": {"ai_models": ["a:1", 'b"2'], "ai_url": "https://ia.example/v1"}}))
    said = environment(release, "librechat")
    assert said["ALLOW_REGISTRATION"] == said["ALLOW_SOCIAL_LOGIN"] == "false"
    assert said["MONGO_URI"] == "mongodb://librechat_owner:acme-librechat_db_password-VALUE@mongo:27017/librechat"
    assert said["DOMAIN_CLIENT"] == said["DOMAIN_SERVER"] == "https://chat.acme.example"
    configuration = yaml.safe_load(text(release, "librechat/librechat.yaml"))
    assert isinstance(configuration["version"], str)
    [endpoint] = configuration["endpoints"]["custom"]
    assert (endpoint["name"], endpoint["apiKey"]) == ("IA Interne", "${IA_INTERNE_API_KEY}")
    assert endpoint["baseURL"] == "https://ia.example/v1"
    assert endpoint["models"] == {"default": ["a:1", 'b"2'], "fetch": False}
    kinds = {name: need.kind for name, need in catalog().service("librechat").secrets.items()}
    assert (kinds["CREDS_KEY"], kinds["CREDS_IV"]) == ("hex32", "hex16")


def test_mongodb_has_a_user_for_each_database():
    """MongoDB asks for a password; LibreChat's own user may not touch what is not its own."""
    release = rendered(fleet_with())
    assert "--auth" in composed(release)["services"]["mongo"]["command"]
    script = text(release, "mongo/init.js")
    assert 'user("librechat", "librechat_owner", [{ role: "dbOwner", db: "librechat" }]);' in script
    assert environment(release, "mongo-init")["PASSWORD_LIBRECHAT_OWNER"] == "acme-librechat_db_password-VALUE"
    alone = rendered(fleet_with(services=("postgres", "mongo")))
    assert "mongo-init" not in alone.services


def test_redis_gets_its_password_without_an_argument():
    """The script is shell, writes the password to a file of its own, and no command line holds it."""
    release = rendered(fleet_with())
    tree = composed(release)["services"]["redis"]
    assert tree["user"] == "redis"
    assert tree["read_only"] is True
    assert "redis_password" not in text(release, "compose.yaml")
    subprocess.run(["sh", "-n"], input=release.file("redis/start.sh").content, check=True, capture_output=True)


def test_each_application_has_a_database_and_an_owner_of_its_own():
    """Three databases, three owners, pgcrypto where the server has it."""
    sql = text(rendered(fleet_with()), "postgres/init.sql")
    owners = re.findall(r"CREATE DATABASE (\w+) OWNER (\w+)", sql)
    assert owners == [
        ("otobot_frontend", "vault_owner"),
        ("otobot_n8n", "n8n_owner"),
        ("otobot_tooljet", "tooljet_owner"),
    ]
    assert sql.count("WHERE EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto')") == 3


def test_every_route_is_limited_as_it_needs():
    """Log-ins are slow, editors may load at once, long connections stay open, metrics are not passed on."""
    site = text(front(fleet_with()), "nginx/sites/acme.conf")
    assert "zone=acme_n8n_1:1m rate=30r/m;" in site
    assert "limit_req zone=acme_n8n_0 burst=300 nodelay;" in site
    assert site.count("proxy_read_timeout 3600s;") == 3
    assert "client_max_body_size 50m;" in site
    assert "location ~* ^/metrics(/|$) {\n        return 404;" in site


def test_adding_services_leaves_the_others_alone():
    """The vault's container is the same with n8n beside it, but for the digest that covers what it waits for."""
    few = composed(rendered(resolved()))["services"]
    many = composed(rendered(fleet_with()))["services"]
    for name in ("postgres", "vault-api", "token-refresher"):
        for tree in (few[name], many[name]):
            tree["labels"].pop("otobot.digest", None)
        assert few[name] == many[name]


@pytest.mark.parametrize("name", ["ENCRYPTION_MASTER_KEY", "N8N_INTERNAL_TOKEN", "API_JWT_SECRET"])
def test_a_value_before_is_given_to_the_vault_while_there_is_one(name):
    """Neither before a rotation nor once it is emptied; and to the vault's containers alone."""
    fleet = resolved()
    client, given = fleet.client("acme"), secrets_of(fleet.client("acme"))

    def names(values):
        made = render_client(client, fleet.host(client.host), client.index, values, catalog())
        return {
            file.path for file in made.files if f"{name}_PREVIOUS=".encode() in file.content
        }, b"the-value-before" in b"".join(file.content for file in made.files)

    before = Secret(previous(name), "the-value-before")
    assert names(given) == (set(), False)
    assert names({**given, previous(name): Secret(previous(name), "")}) == (set(), False)
    found, there = names({**given, previous(name): before})
    expected = {"env/vault-api.env"}
    if name == "ENCRYPTION_MASTER_KEY":
        expected |= {"env/vault-migrate.env", "env/token-refresher.env"}
    assert (found, there) == (expected, True)


def test_a_value_before_is_for_the_services_that_name_the_secret():
    """Another service's template cannot have it, nor a file that is no environment file."""
    view = SecretView({previous("A"): Secret(previous("A"), "x")}, {"B"}, "n8n")
    with pytest.raises(ManifestError, match="does not name"):
        view.previous["A"]
    with pytest.raises(ManifestError, match="does not name"):
        NoSecrets("n8n").previous["A"]
    assert "x" not in repr(SecretView({previous("A"): Secret(previous("A"), "x")}, {"A"}, "n8n").previous)
