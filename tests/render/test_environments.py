"""What differs between dev, stage and prod: the stack says it, the manifest's words win, and the rendering shows it."""

from pathlib import Path

import pytest

from otobotctl.data import data_dir
from otobotctl.workflows import clients
from tests.render.sample import EVERYTHING, catalog, composed, rendered, resolved, text
from tests.render.test_services import environment

ENVIRONMENTS = ("dev", "stage", "prod")


def client_in(name, slug="acme", change=lambda _document: None, **said):
    """The release of a client with every service in this environment, workers included."""
    settings = {"n8n": {"mode": "queue"}, **said.pop("settings", {})}
    return rendered(
        resolved(
            lambda document: (
                document["clients"][slug].update(
                    services=[*EVERYTHING, "nginx"], environment=name, settings=settings, **said
                ),
                change(document),
            )
        ),
        slug,
    )


def ports(release):
    """What is published, by container."""
    return {name: tree["ports"] for name, tree in composed(release)["services"].items() if "ports" in tree}


def backup_of(name, change=lambda _document: None):
    """The backup policy of a client in this environment."""
    return (
        resolved(
            lambda document: (document["clients"]["acme"].update(environment=name), change(document)),
            catalog().archives(),
        )
        .clients["acme"]
        .backup
    )


def test_dev_answers_to_a_tunnel():
    """Databases too are on 127.0.0.1 in dev, at their base plus the client's offset; nowhere else, and never in public."""
    published = ports(client_in("dev", "beta"))
    assert published == {
        "postgres": ["127.0.0.1:5532:5432"],
        "redis": ["127.0.0.1:6479:6379"],
        "mongo": ["127.0.0.1:27117:27017"],
        "vault-api": ["127.0.0.1:3101:3001"],
        "n8n": ["127.0.0.1:5778:5678"],
        "tooljet": ["127.0.0.1:8182:8082"],
        "librechat": ["127.0.0.1:3180:3080"],
    }
    assert set(ports(client_in("stage"))) == {"vault-api", "n8n", "tooljet", "librechat"}
    assert set(ports(client_in("prod"))) == {"vault-api"}


def test_a_published_database_still_reaches_nothing_outside():
    """Docker publishes nothing of an internal network: a second one carries the port, and leads nowhere."""
    tree = composed(client_in("dev"))
    assert tree["networks"]["data"] == {"internal": True}
    assert tree["networks"]["tunnel"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    for name in ("postgres", "redis", "mongo"):
        assert list(tree["services"][name]["networks"]) == ["data", "tunnel"]
    assert "tunnel" not in tree["services"]["n8n"]["networks"]
    for name in ("stage", "prod"):
        assert "tunnel" not in composed(client_in(name))["networks"]


def test_workers_by_environment():
    """One worker where little runs, two in prod."""
    replicas = {
        name: composed(client_in(name))["services"]["n8n-worker"]["deploy"]["replicas"] for name in ENVIRONMENTS
    }
    assert replicas == {"dev": 1, "stage": 1, "prod": 2}


def test_logs_and_debug_by_environment():
    """Everything is logged in dev; prod says what matters."""
    levels = {}
    for name in ENVIRONMENTS:
        release = client_in(name)
        levels[name] = (
            environment(release, "vault-api")["VAULT_LOG_LEVEL"],
            environment(release, "token-refresher")["VAULT_LOG_LEVEL"],
            environment(release, "n8n")["N8N_LOG_LEVEL"],
            environment(release, "tooljet")["ORM_LOGGING"],
            environment(release, "librechat")["DEBUG_LOGGING"],
        )
    assert levels["dev"] == ("debug", "debug", "debug", "all", "true")
    assert levels["stage"] == levels["prod"] == ("info", "info", "info", "error", "false")


def test_monitoring_by_environment():
    """Metrics where somebody watches, and the threshold above which each database calls something slow."""
    seen = {}
    for name in ENVIRONMENTS:
        release = client_in(name)
        services = composed(release)["services"]
        [slow] = [word for word in services["postgres"]["command"] if word.startswith("--log_min_duration")]
        [slow_mongo] = [word for word in services["mongo"]["command"] if word.startswith("--slowms")]
        [slow_redis] = [line for line in text(release, "redis/start.sh").splitlines() if "slowlog" in line]
        metrics = environment(release, "n8n")["N8N_METRICS"]
        seen[name] = (
            metrics,
            *(int(word.replace(" ", "=").partition("=")[2]) for word in (slow, slow_mongo, slow_redis)),
        )
    assert seen == {"dev": ("false", 0, 0, 0), "stage": ("true", 200, 50, 5000), "prod": ("true", 1000, 100, 10000)}


def test_backups_by_environment():
    """Dev keeps no archives by itself, stage a few, prod for years; a deploy of stage and prod makes one first."""
    dev, stage, prod = (backup_of(name) for name in ENVIRONMENTS)
    assert (dev.schedule, dev.before_deploy) == ("never", False)
    assert (stage.schedule, stage.keep_daily, stage.keep_weekly, stage.keep_yearly) == ("daily", 7, 4, 0)
    assert (prod.schedule, prod.keep_daily, prod.keep_weekly, prod.keep_monthly, prod.keep_yearly) == (
        *("4-hourly", 30, 12),
        *(12, 7),
    )
    assert stage.before_deploy
    assert prod.before_deploy


@pytest.mark.parametrize("layer", ["client", "environment", "defaults"])
def test_the_manifest_wins_over_the_stack(layer):
    """A client's words, the manifest's own environments and its defaults each replace just what they say."""
    said = {"settings": {"postgres": {"published": False}, "n8n": {"workers": 5}}, "backup": {"schedule": "hourly"}}

    def change(document):
        if layer == "client":
            client = document["clients"]["acme"]
            client.update(backup=said["backup"], settings={**said["settings"], "n8n": {"mode": "queue", "workers": 5}})
        else:
            document.update({"environments": {"dev": said}} if layer == "environment" else {"defaults": said})

    release = client_in("dev", change=change)
    assert "postgres" not in ports(release)
    assert "redis" in ports(release)
    assert composed(release)["services"]["n8n-worker"]["deploy"]["replicas"] == 5
    backup = backup_of("dev", change)
    assert (backup.schedule, backup.keep_daily, backup.before_deploy) == ("hourly", 7, False)


def test_show_says_what_it_comes_to(fleet):
    """`client show` has every setting, port and number of archives, wherever it was said."""
    shown = clients.shown(fleet, "acme")
    assert shown["settings"]["postgres"]["log_min_duration_ms"] == 0
    assert shown["settings"]["postgres"]["shared_buffers"] == "256MB"
    assert shown["ports"] == {"postgres.postgres": "127.0.0.1:5432", "vault-api.http": "127.0.0.1:3001"}
    assert shown["backup"]["schedule"] == "never"


@pytest.fixture
def fleet(tmp_path):
    """A fleet on disk with one client in dev."""
    from otobotctl.fleet import Fleet

    (tmp_path / "clients-config.json").write_text(
        """{"version": 1, "hosts": {"vps-1": {"address": "203.0.113.10"}}, "clients": {"acme": {"company": "ACME",
        "email": "it@acme.example", "host": "vps-1", "domain": "acme.example", "environment": "dev"}}}"""
    )
    return Fleet(tmp_path)


def test_no_template_asks_for_the_environment():
    """What differs is data of the stack: no template has a condition on the environment's name."""
    folder = data_dir("templates") / "services"
    for path in sorted(Path(folder).rglob("*.j2")):
        text_of = path.read_text()
        assert "environment ==" not in text_of, path
        assert "client.environment" not in text_of, path
