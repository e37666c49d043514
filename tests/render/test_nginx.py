"""A real nginx reads what is rendered, and answers as it says."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from otobotctl.render.document import parse_yaml
from tests.render.sample import EVERYTHING, catalog, front, resolved, text
from tests.waiting import until


@pytest.fixture(scope="module")
def nginx():
    """The nginx of this machine and its version."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        if os.environ.get("CI"):
            pytest.fail("no nginx: scripts/test-packages installs it", pytrace=False)
        pytest.skip("no nginx: scripts/test-packages installs it")
    said = subprocess.run([found, "-v"], check=True, capture_output=True, text=True).stderr
    return found, re.search(r"nginx/([0-9.]+)", said)[1]


@pytest.fixture
def folder():
    """A folder with a short path: sockets and long domains need the room."""
    with tempfile.TemporaryDirectory(prefix="otobot-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def free_port():
    """A port of 127.0.0.1 that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificate(folder, domain):
    """A certificate made by the very command of the playbook."""
    from otobotctl.data import data_dir

    playbook = parse_yaml((data_dir("playbooks") / "vps.yaml").read_text(), "vps.yaml")
    [front_stage] = [stage for stage in playbook["stages"] if stage["name"] == "front"]
    [step] = [step for step in front_stage["steps"] if step["name"].startswith("certificate-")]
    (folder / "tls" / domain).mkdir(parents=True)
    argv = [
        word.replace("{{ client.domain }}", domain).replace("/etc/otobot/tls", f"{folder}/tls")
        for word in step["command"]["argv"]
    ]
    subprocess.run(argv, check=True, capture_output=True)
    assert (folder / "tls" / domain / "privkey.pem").stat().st_mode & 0o077 == 0


def lay_out(folder, release, domains, ports=None):
    """Write the proxy's files as its container would see them, below `folder`; give its configuration's path."""
    (folder / "mime.types").write_text("types { text/html html; }\n")
    (folder / "tmp").mkdir(mode=0o777)
    places = {
        "/etc/nginx/mime.types": f"{folder}/mime.types",
        "/etc/nginx/sites/": f"{folder}/nginx/sites/",
        "/etc/nginx/tls/": f"{folder}/tls/",
        "/srv/": f"{folder}/srv/",
        "/dev/stdout": f"{folder}/access.log",
        " /tmp/": f" {folder}/tmp/",
        "user nginx;": "user root;" if os.geteuid() == 0 else "",
        **(ports or {}),
    }
    pattern = re.compile("|".join(re.escape(place) for place in places))
    for file in release.files:
        if file.path.startswith("nginx/"):
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pattern.sub(lambda found: places[found[0]], file.content.decode()))
            if path.suffix == ".html":
                page = folder / "srv" / "www" / path.stem / "index.html"
                page.parent.mkdir(parents=True)
                shutil.copyfile(path, page)
    for domain in domains:
        certificate(folder, domain)
    return folder / "nginx" / "nginx.conf"


def fleet_for(version, **client):
    """The sample with this nginx, without IPv6 where the machine may have none, and with changes to the first client."""
    shared = {"version": version, "ipv6": False}
    return resolved(
        lambda document: (
            document.update(defaults={"settings": {"nginx": shared}}),
            document["clients"]["acme"].update(client),
        )
    )


def checked(nginx, conf):
    """What `nginx -t` says about a configuration."""
    return subprocess.run([nginx, "-t", "-c", conf, "-e", "stderr"], check=False, capture_output=True, text=True)


def test_nginx_accepts_the_rendered_configuration(nginx, folder):
    """Two clients, TLS, limits and routes: `nginx -t` finds nothing to say but that all is well."""
    program, version = nginx
    conf = lay_out(
        folder, front(fleet_for(version)), ["acme.example", "beta.example"], {"listen 80": "listen 127.0.0.1:8180"}
    )
    said = checked(program, conf)
    assert said.returncode == 0, said.stderr
    assert "[warn]" not in said.stderr


@pytest.mark.parametrize("profile", ["intermediate", "modern"])
@pytest.mark.parametrize("environment", ["dev", "stage", "prod"])
def test_nginx_accepts_every_service(nginx, folder, environment, profile):
    """With all services of two clients, in every environment and both TLS profiles: nothing to say."""
    program, version = nginx
    shared = {"version": version, "ipv6": False, "tls": profile}
    everything = {"services": [*EVERYTHING, "nginx"], "environment": environment, "settings": {"nginx": shared}}
    release = front(resolved(lambda document: document.update(defaults=everything)))
    conf = lay_out(folder, release, ["acme.example", "beta.example"], {"listen 80": "listen 127.0.0.1:8180"})
    said = checked(program, conf)
    assert said.returncode == 0, said.stderr
    assert "[warn]" not in said.stderr
    assert ("TLSv1.2" in conf.read_text()) == (profile == "intermediate")


def test_nginx_accepts_the_longest_names(nginx, folder):
    """A slug of 32 characters and a domain of 253 do not break its hash tables."""
    program, version = nginx
    domain = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 53, "example"])
    assert len(domain) == 253
    fleet = resolved(
        lambda document: (
            document.update(defaults={"settings": {"nginx": {"version": version, "ipv6": False}}}),
            document["clients"].update({"c" * 32: document["clients"].pop("acme") | {"domain": domain}}),
        )
    )
    (folder / "tls" / domain).mkdir(parents=True)
    conf = lay_out(folder, front(fleet), ["beta.example"])
    for name in ("fullchain.pem", "privkey.pem"):
        shutil.copyfile(folder / "tls" / "beta.example" / name, folder / "tls" / domain / name)
    said = checked(program, conf)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(
    ("version", "directive"),
    [("1.22.1", False), ("1.25.0", False), ("1.25.1", True), ("1.28.2-alpine", True), ("stable", True)],
)
def test_http2_is_said_as_each_version_understands_it(version, directive):
    """`http2 on;` since 1.25.1, a parameter of `listen` before."""
    site = text(front(fleet_for(version)), "nginx/sites/acme.conf")
    assert ("http2 on;" in site) == directive
    assert ("listen 443 ssl http2;" in site) == (not directive)


@pytest.fixture
def running(nginx, folder):
    """Nginx with the sample's sites on free ports of 127.0.0.1; gives (port of HTTP, port of HTTPS)."""
    with served(nginx[0], folder, fleet_for(nginx[1], services=[*EVERYTHING, "nginx"])) as ports:
        yield ports


@contextmanager
def served(program, folder, fleet, places=None):
    """Nginx with a fleet's sites on free ports of 127.0.0.1; `places` replaces more words of its configuration."""
    plain, tls, health = free_port(), free_port(), free_port()
    ports = {
        "listen 80": f"listen 127.0.0.1:{plain}",
        "listen 443": f"listen 127.0.0.1:{tls}",
        "127.0.0.1:8081": f"127.0.0.1:{health}",
        "resolver 127.0.0.11": "resolver 127.0.0.1:9",  # nothing resolves: every upstream is down
        "resolver_timeout 5s": "resolver_timeout 50ms",
        **(places or {}),
    }
    conf = lay_out(folder, front(fleet), ["acme.example", "beta.example"], ports)
    (folder / "srv/acme/.well-known/acme-challenge").mkdir(parents=True)
    (folder / "srv/acme/.well-known/acme-challenge/token").write_text("proof")
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen([program, "-c", conf, "-e", "stderr", "-g", "daemon off;"], stderr=errors)
    try:

        def opened():
            assert process.poll() is None, (folder / "errors").read_text()
            socket.create_connection(("127.0.0.1", health), timeout=5).close()
            return True

        until(opened, "nginx", but=(OSError,))
        yield plain, tls
    finally:
        process.terminate()
        process.wait(60)


def get(url, host, port):
    """The status, headers and body that a visitor of `host` gets; status 0: no answer at all."""
    from urllib.parse import urlsplit

    import httpx

    port_of_url = urlsplit(url).port
    with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
        try:
            answer = client.get(
                url, headers={"Host": host}, extensions={"sni_hostname": host} if port_of_url == port else {}
            )
        except httpx.TransportError:
            return 0, {}, ""
        return answer.status_code, answer.headers, answer.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nginx_answers_as_rendered(running):
    """A page, a redirect, a challenge, no answer for strangers, and 502 (not a dead proxy) while the vault is down."""
    plain, tls = running
    status, headers, _ = get(f"http://127.0.0.1:{plain}/x?y=1", "acme.example", tls)
    assert (status, headers["location"]) == (301, "https://acme.example/x?y=1")
    assert get(f"http://127.0.0.1:{plain}/.well-known/acme-challenge/token", "acme.example", tls)[2] == "proof"
    status, headers, body = get(f"https://127.0.0.1:{tls}/", "acme.example", tls)
    assert status == 200
    assert "ACME &#34;Société&#34;" in body
    assert headers["strict-transport-security"] == "max-age=63072000"
    assert headers["server"] == "nginx"
    assert get(f"https://127.0.0.1:{tls}/", "beta.example", tls)[2].count("Beta") == 2
    assert get(f"https://127.0.0.1:{tls}/health", "acme.example", tls)[0] == 502
    for name in ("n8n", "app", "chat"):
        assert get(f"https://127.0.0.1:{tls}/", f"{name}.acme.example", tls)[0] == 502
    for path in ("/metrics", "/METRICS/", "//metrics", "/metric%73/x"):
        assert get(f"https://127.0.0.1:{tls}{path}", "n8n.acme.example", tls)[0] == 404
    assert get(f"http://127.0.0.1:{plain}/", "stranger.example", tls)[0] == 0
    assert get(f"https://127.0.0.1:{tls}/", "stranger.example", tls)[0] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_too_many_requests_are_answered_429(running):
    """One address that asks without end is slowed down and told so."""
    _, tls = running
    import httpx

    with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
        seen = set()
        for _ in range(400):
            answer = client.get(
                f"https://127.0.0.1:{tls}/",
                headers={"Host": "acme.example"},
                extensions={"sni_hostname": "acme.example"},
            )
            seen.add(answer.status_code)
            if 429 in seen:
                break
    assert seen == {200, 429}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_route_has_a_limit_of_its_own(running):
    """Guessing a password at n8n is stopped early, and the rest of n8n still answers."""
    _, tls = running
    statuses = [get(f"https://127.0.0.1:{tls}/rest/login", "n8n.acme.example", tls)[0] for _ in range(40)]
    assert statuses[0] == 502
    assert 429 in statuses
    assert get(f"https://127.0.0.1:{tls}/", "n8n.acme.example", tls)[0] == 502


def test_the_rendered_shell_scripts_are_shell():
    """Sh reads both scripts without a complaint."""
    release = front(resolved())
    for path in ("nginx/start.sh", "acme/renew.sh"):
        file = release.file(path)
        assert file.mode == 0o755
        subprocess.run(["sh", "-n"], input=file.content, check=True, capture_output=True)
    assert catalog().service("acme").offered is False
