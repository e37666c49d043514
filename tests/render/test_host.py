"""What is rendered runs: Docker Compose, the database, the proxy and its certificates on a real host."""

import io
import json
import re
import shlex
import socket
import ssl
import tarfile
from dataclasses import replace

import pytest

from otobotctl.render import layout
from otobotctl.render.document import parse_yaml
from tests.lab.shell import LabError
from tests.render import combinations
from tests.render.sample import EVERYTHING, front, rendered, resolved, text
from tests.waiting import until


def upload(host, *releases):
    """Put releases where a deploy would, with their modes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for release in releases:
            for file in release.files:
                member = tarfile.TarInfo(f"{release.client}/current/{file.path}")
                member.size, member.mode = len(file.content), file.mode
                archive.addfile(member, io.BytesIO(file.content))
    host.ssh(f"mkdir -p {layout.BASE} && tar -xf - -C {layout.BASE}", input=packed.getvalue(), user="root")


def compose(host, client, *words, **more):
    """Run Docker Compose on one project as a deploy does."""
    current = f"{layout.BASE}/{client}/current"
    argv = ["docker", "compose", "--project-name", layout.project(client), "--project-directory", current]
    return host.ssh(shlex.join([*argv, "--file", f"{current}/compose.yaml", *words]), user="root", **more)


def certify(host, domain):
    """Make the certificate that the proxy starts with."""
    folder = f"{layout.TLS}/{domain}"
    host.ssh(
        f"umask 077 && mkdir -p {layout.LETSENCRYPT} {folder} && openssl req -x509 -newkey ec -nodes -days 9 -quiet "
        f"-pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=first -keyout {folder}/privkey.pem -out {folder}/fullchain.pem",
        user="root",
    )


@pytest.fixture(scope="module")
def host(warm_host):
    """A host with Docker and its images, and the sample laid out on it."""
    fleet = resolved()
    upload(warm_host, rendered(fleet, "acme"), rendered(fleet, "beta"), front(fleet))
    return warm_host


def visit(host, domain, path="/"):
    """What a visitor from outside gets: the issuer of the certificate, the status and the body."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host.address, 443), 30) as raw,
        context.wrap_socket(raw, server_hostname=domain) as line,
    ):
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
        certificate = line.getpeercert(binary_form=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    return certificate, int(head.split()[1]), body.decode()


def test_docker_compose_accepts_every_project(host):
    """`docker compose config` has nothing to say about any of them."""
    for client in ("acme", "beta", "front"):
        said = compose(host, client, "config", "--quiet")
        assert said.stdout + said.stderr == ""


@pytest.mark.parametrize("environment", ["dev", "stage", "prod"])
def test_docker_compose_accepts_every_service(host, environment):
    """With everything on, queue mode and Caddy, `docker compose config` has nothing to say either."""
    fleet = resolved(
        lambda document: (
            document["clients"].pop("beta"),
            document["clients"].update(gamma=document["clients"].pop("acme")),
            document["clients"]["gamma"].update(
                services=[*EVERYTHING, "caddy"], environment=environment, settings={"n8n": {"mode": "queue"}}
            ),
        )
    )
    proxy = front(fleet)
    upload(host, rendered(fleet, "gamma"), replace(proxy, client="gamma-front", project=layout.project("gamma-front")))
    for client in ("gamma", "gamma-front"):
        said = compose(host, client, "config", "--quiet")
        assert said.stdout + said.stderr == ""
    said = json.loads(compose(host, "gamma", "config", "--format", "json").stdout)["services"]
    assert said["n8n-worker"]["deploy"]["replicas"] == (2 if environment == "prod" else 1)
    assert said["n8n-worker"]["environment"]["QUEUE_BULL_REDIS_PASSWORD"] == "gamma-redis_password-VALUE"
    assert said["librechat"]["environment"]["CREDS_IV"] == "gamma-creds_iv-VALUE"
    assert said["tooljet"]["healthcheck"]["test"][:2] == ["CMD", "curl"]


def test_compose_reads_back_the_values_that_were_rendered(host):
    """What is in an environment file reaches the container unchanged."""
    said = compose(host, "acme", "config", "--format", "json").stdout
    assert '"ENCRYPTION_MASTER_KEY": "acme-encryption_master_key-VALUE"' in said
    assert '"POSTGRES_INITDB_ARGS": "--data-checksums --encoding=UTF8"' in said


def test_the_database_comes_up_initialised_and_again(host):
    """Twice: the server becomes healthy, and its roles and databases are there, in an unprivileged container."""
    for _ in range(2):
        compose(host, "acme", "up", "--detach", "--wait", "postgres", timeout_s=300)
        compose(host, "acme", "up", "postgres-init", "--exit-code-from", "postgres-init", timeout_s=120)
    asked = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin"
    said = compose(
        host, "acme", "exec", "-T", "postgres", "psql", "-U", "otobot_admin", "-d", "otobot_frontend", "-Atc", asked
    )
    assert said.stdout.split() == ["otobot_admin", "vault_owner", "vault_runtime"]


def test_the_proxy_serves_both_clients_and_takes_a_new_certificate_by_itself(host):
    """It starts on the first certificates, though both vaults are down; one is replaced and no visit is lost."""
    for client in ("acme", "beta"):
        certify(host, f"{client}.example")
        host.ssh(
            f"docker network inspect {layout.project(client)}_edge || docker network create {layout.project(client)}_edge",
            user="root",
        )
    compose(host, "front", "up", "--detach", "--wait", "nginx", timeout_s=300)
    first, status, body = visit(host, "acme.example")
    assert (status, "ACME &#34;Société&#34;" in body) == (200, True)
    assert visit(host, "beta.example")[1:] != (status, body)
    assert visit(host, "acme.example", "/health")[1] == 502
    with pytest.raises((ssl.SSLError, ConnectionError)):
        visit(host, "stranger.example")
    before = visit(host, "beta.example")[0]
    compose(host, "front", "up", "--detach", "--wait", timeout_s=300)
    certify(host, "acme.example")

    def replaced():
        certificate, status, _ = visit(host, "acme.example")
        assert status == 200
        return certificate != first

    until(replaced, pause_s=0.5)
    assert visit(host, "beta.example")[0] == before


def test_nothing_but_the_proxy_listens_in_public(host):
    """From outside, PostgreSQL and the vault do not answer; the proxy does."""
    open_ports = host.ssh("docker ps --format '{{.Names}} {{.Ports}}'", user="root").stdout
    assert "0.0.0.0:443->443/tcp" in open_ports
    for port in (3001, 3101, 5432):
        with pytest.raises(OSError):
            socket.create_connection((host.address, port), 5).close()


def test_the_rendered_nginx_is_the_one_that_was_tested(host):
    """`nginx -t` inside the running container is content, without a warning."""
    said = compose(host, "front", "exec", "-T", "nginx", "nginx", "-t")
    assert "warn" not in said.stderr
    with pytest.raises(LabError):
        compose(host, "front", "exec", "-T", "nginx", "touch", "/etc/nginx/mine")


def test_docker_compose_accepts_every_combination(host):
    """Every container, network and volume that any combination has is in a file that `docker compose config` takes.

    How they hang together in each combination, tests/render/test_combinations.py looks at: each call here takes a second.
    """
    chosen, seen = [], set()
    for release in sorted(every_release(), key=lambda release: len(release.services), reverse=True):
        parts = {f"{key} {name}: {tree}" for key, inner in plain(release).items() for name, tree in inner.items()}
        if not parts <= seen:
            chosen.append(release)
            seen |= parts
    folder = "every"
    upload(host, *(replace(release, client=f"{folder}/{number}") for number, release in enumerate(chosen)))
    look = (
        f"cd {layout.BASE}/{folder} && ls | xargs -P 2 -I N sh -c "
        "'said=$(docker compose --project-directory N/current --file N/current/compose.yaml config --quiet 2>&1) "
        '&& [ -z "$said" ] || echo "N: $said"\''
    )
    try:
        assert host.ssh(look, user="root", timeout_s=600).stdout == ""
    finally:
        host.ssh(f"rm -r {layout.BASE}/{folder}", user="root")
    assert len(chosen) > 5


def every_release():
    """Every release of a client, and of a front with one client."""
    yield from (release for _, release in combinations.rendered_clients())
    for proxy in combinations.PROXIES:
        for front_of in combinations.fronts(proxy):
            for client in combinations.variants(front_of):
                yield combinations.rendered_front(client)


def plain(release):
    """The containers, networks and volumes of a release, without what tells one client or slot from another."""
    said = re.sub(r"127\.0\.0\.1:\d+:", "127.0.0.1:", text(release, "compose.yaml"))
    said = re.sub(r"otobot\.(?:config|digest): \S+", "x: y", said)
    tree = parse_yaml(re.sub(r"\bv\d+(?![0-9a-z])", "v", said), "compose.yaml")
    return {key: tree.get(key, {}) for key in ("services", "networks", "volumes")}
