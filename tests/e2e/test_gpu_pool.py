"""Two GPU hosts of one name, each a machine of its own: who answers, who takes over, and what nobody notices."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from otobotctl.render.pool import server_name
from otobotctl.secrets import certificate
from tests.e2e import ia
from tests.e2e.deployed import eventually
from tests.e2e.operator import Operator
from tests.e2e.site import answers
from tests.lab.authority import Authority
from tests.lab.host import Host

pytestmark = pytest.mark.timeout(900)

READ = "docker exec otobot-front-ia-proxy-1 wget -q -O - http://127.0.0.1:8081/pool"  # the digest of what it has read
ANSWERED = "docker logs otobot-front-ollama-1 2>&1 | grep -c 'POST /v1/chat' || true"


@dataclass
class Pooled:
    """The first host has the name's address, tiny:1b and acme's key; the second one has small:2b besides."""

    operator: Operator
    authority: Authority
    one: Host
    two: Host
    key: str

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both."""
        return self.one, self.two

    def chat(self, host: Host, model: str = "tiny:1b") -> httpx.Response:
        """A short answer, by the proxy of this host."""
        return ia.ask(host, self.key, "/v1/chat/completions", json={"messages": [], "model": model, "max_tokens": 2})

    def answered(self, host: Host) -> int:
        """How many questions the engine of a host was asked."""
        return int(ia.root(host, ANSWERED))

    def running(self, host: Host) -> int:
        """How many answers the engine of a host is making."""
        return int(json.loads(ia.root(host, "curl -s http://127.0.0.1:11434/stand-in/running"))["now"])


@pytest.fixture(scope="module")
def pooled(lab, tmp_path_factory) -> Iterator[Pooled]:
    """Set up one after the other, as an operator does who needs a second one; the name stays at the first one's address."""
    operator = Operator(tmp_path_factory.mktemp("operator"))
    operator.init()
    authority = Authority(lab.slot)
    hosts: list[Host] = []
    try:
        for name in ("gpu-1", "gpu-2"):
            hosts.append(lab.make("warm"))
            operator.add_host(name, hosts[-1])
        authority.names({ia.DOMAIN: hosts[0].address})
        authority.start()
        operator.run("host", "add", "vps-1", "--address", "203.0.113.10")
        operator.run(
            "client", "create", "acme", "--company", "ACME", "--email", "it@acme.example", "--host", "vps-1",
            "--domain", "acme.example", "--service", "mongo", "--service", "librechat",
        )  # fmt: skip
        _set_up(operator, authority, "gpu-1", "tiny:1b")
        operator.run("gpu", "keys", "add", "acme")
        _set_up(operator, authority, "gpu-2", "tiny:1b", "small:2b")
        yield Pooled(operator, authority, *hosts, operator.secrets("acme")["IA_INTERNE_API_KEY"])
    finally:
        authority.stop()
        for host in hosts:
            lab.destroy(host)


def _set_up(operator: Operator, authority: Authority, name: str, *models: str) -> None:
    path = operator.fleet / "clients-config.json"
    manifest = json.loads(path.read_text())
    own = {"acme_directory": authority.directory, "acme_ca": authority.root()}
    gpu = {"domain": ia.DOMAIN, "email": "it@otobot.example", "tls": "acme", "settings": {"ia-proxy": own}}
    manifest["hosts"][name] |= {"stack": "gpu", "gpu": gpu}
    path.write_text(json.dumps(manifest, indent=2))
    operator.run("gpu", "setup", name, "--cpu", *(word for model in models for word in ("--model", model)))


def test_a_second_host_joins_by_one_command(pooled):
    """The first one knows of it and hands the authority's question on; nothing is left to be done on either."""
    for host in pooled.hosts:
        assert eventually(lambda host=host: ia.trusted(host, ia.DOMAIN, pooled.authority))
    for name in ("gpu-1", "gpu-2"):
        assert pooled.operator.data("gpu", "setup", name)["changed"] == []


def test_a_model_of_one_host_is_answered_by_the_other(pooled):
    """Whichever the caller came to, by one key; both list every model."""
    before = pooled.answered(pooled.two)
    for host in pooled.hosts:
        assert eventually(lambda host=host: pooled.chat(host, "small:2b").status_code == 200)
        assert pooled.chat(host, "small:2b").json()["model"] == "small:2b"
        listed = ia.ask(host, pooled.key).json()["data"]
        assert sorted(model["id"] for model in listed) == ["small:2b", "tiny:1b"]
        assert pooled.chat(host, "none:1b").status_code == 404
        assert ia.ask(host).status_code == 401
    assert pooled.answered(pooled.two) >= before + 4


def test_requests_go_to_the_host_with_the_fewest(pooled):
    """Eight by one front: four on each machine; when their callers leave, both stop."""
    with ia.Streaming(pooled.one, pooled.key, 8):
        assert eventually(lambda: [pooled.running(host) for host in pooled.hosts] == [4, 4])
    assert eventually(lambda: [pooled.running(host) for host in pooled.hosts] == [0, 0])


def test_a_reload_and_a_revoked_key_end_no_stream(pooled):
    """Ten of them on two machines, while a model comes, both proxies read that, and the streams' own key is refused."""
    operator = pooled.operator
    operator.run("gpu", "keys", "add", "acme", "--purpose", "n8n")
    key = operator.secrets("acme")["IA_INTERNE_API_KEY_N8N"]
    containers = [ia.root(host, "docker ps --quiet --no-trunc") for host in pooled.hosts]
    with ia.Streaming(pooled.one, key, 10) as streams:
        assert streams.go_on()
        assert min(pooled.running(host) for host in pooled.hosts) > 0
        before = [ia.root(host, READ) for host in pooled.hosts]
        operator.run("gpu", "models", "pull", "gpu-1", "small:2b")
        operator.run("gpu", "keys", "revoke", "acme", "--purpose", "n8n", "--yes")
        now = [ia.root(host, READ) for host in pooled.hosts]
        assert [len(each.strip()) for each in (*before, *now)] == [64] * 4
        assert [was == digest for was, digest in zip(before, now, strict=True)] == [False, False]
        assert [ia.status(host, key) for host in pooled.hosts] == [401, 401]
        assert streams.go_on()
    assert [ia.root(host, "docker ps --quiet --no-trunc") for host in pooled.hosts] == containers
    operator.run("gpu", "models", "rm", "gpu-1", "small:2b", "--yes")
    assert operator.data("host", "apply", "gpu-2")["changed"] == []


def test_a_stranger_is_no_host_of_the_name(pooled, tmp_path):
    """By the hosts' own name there is no answer without a certificate of theirs; no port is open for it besides 443."""
    tried = [
        (address, port)
        for host in pooled.hosts
        for address in (host.address, host.address6)
        for port in (22, 80, 443, 2019, 8080, 8081, 8082, 11434)
    ]
    with ThreadPoolExecutor(len(tried)) as pool:
        open_ = [port for (_, port), yes in zip(tried, pool.map(lambda at: answers(*at), tried), strict=True) if yes]
    assert open_ == [22, 80, 443] * 4
    name = server_name(ia.DOMAIN)
    folder = "/etc/otobot/ia-proxy"
    friend = ia.root(pooled.one, f"cat {folder}/peer.pem {folder}/peer.key")
    stranger = certificate.self_signed(b"x" * 32, "gpu-1", name) + certificate.key(b"x" * 32)
    trust = ia.root(pooled.two, f"cat {folder}/peer.pem")
    assert ia.root(pooled.two, f"stat -c '%a %U' {folder} {folder}/peer.key").split("\n")[:2] == [
        "700 root",
        "600 root",
    ]
    for shown, comes in (("", False), (stranger, False), (friend, True)):
        (tmp_path / "own.pem").write_text(shown)
        assert _comes_in(pooled.two, name, trust, str(tmp_path / "own.pem") if shown else "") is comes


def _comes_in(host: Host, name: str, trust: str, shown: str) -> bool:
    """Whether the host answers at its peers' name to whom shows this certificate."""
    context = ssl.create_default_context(cadata=trust)
    if shown:
        context.load_cert_chain(shown)
    try:
        with (
            socket.create_connection((host.address, 443), 30) as raw,
            context.wrap_socket(raw, server_hostname=name) as line,
        ):
            line.sendall(f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in line.recv(4096).partition(b"\r\n")[0]
    except OSError:
        return False


def test_no_key_is_in_what_the_hosts_keep(pooled):
    """Not in Caddy's saved configuration, which it has for its reloads, nor in a log; a host's own is in one file."""
    own = ia.root(pooled.two, "grep -v -- ---- /etc/otobot/ia-proxy/peer.key").strip()
    for host in pooled.hosts:
        saved = ia.root(host, "cat /var/lib/docker/volumes/*caddy_config/_data/caddy/autosave.json")
        assert "least_conn" in saved  # it is the one with the pool
        for secret, places in ((pooled.key, []), (own, ["/etc/otobot/ia-proxy/peer.key"] * (host is pooled.two))):
            found = host.ssh(
                "grep -rlaF -f - /etc /opt /root /home /tmp /var/log /var/lib/otobot /var/lib/docker/volumes /run/otobot"
                " 2>/dev/null || true",
                input=secret.encode(),
                user="root",
            )
            assert found.stdout.split() == places
            assert secret not in ia.root(
                host, "ps -ef; docker ps -q | xargs docker inspect; docker ps -q | xargs -n1 docker logs 2>&1"
            )


def test_an_engine_that_is_gone_is_left_out_and_used_again(pooled):
    """The other machine answers within seconds; once the engine is back, it has its share."""
    ia.root(pooled.two, "docker start otobot-front-ollama-1")  # a try before this one may have left it stopped
    _shares(pooled)
    ia.root(pooled.two, "docker stop -t 1 otobot-front-ollama-1")
    began = time.monotonic()
    assert eventually(lambda: [pooled.chat(pooled.one).status_code for _ in range(6)] == [200] * 6)
    print(f"engine gone: six in a row are answered after {time.monotonic() - began:.1f} s")
    ia.root(pooled.two, "docker start otobot-front-ollama-1")
    _shares(pooled)


def _shares(pooled: Pooled) -> None:
    """Wait until the second machine answers again what the first is asked."""
    before, began = pooled.answered(pooled.two), time.monotonic()

    def asked() -> bool:
        assert {pooled.chat(pooled.one).status_code for _ in range(4)} == {200}
        return pooled.answered(pooled.two) > before

    assert eventually(asked)
    print(f"back: it answers after {time.monotonic() - began:.1f} s")


def test_a_machine_without_power_is_felt_by_nobody(pooled):
    """Every next request is answered; keys and status work for the one that is left, and the other one catches up."""
    operator = pooled.operator
    if not pooled.two.running():  # a try before this one left it so
        pooled.two.boot()
    boot = pooled.two.wait_for_login()
    pooled.two.power_cut()
    took = []
    for _ in range(8):
        began = time.monotonic()
        assert pooled.chat(pooled.one).status_code == 200
        took.append(time.monotonic() - began)
    print("power cut: each of the next requests took", [f"{each:.2f}" for each in took])
    seen = operator.run("gpu", "status", "--json", check=False)
    assert seen.returncode == 3
    assert [bool(each["error"]) for each in json.loads(seen.stdout)["data"]] == [False, True]
    told = operator.run("gpu", "keys", "add", "acme", "--purpose", "late", check=False)
    assert told.returncode == 3, told.stderr
    assert "gpu-2" in told.stderr
    late = operator.secrets("acme")["IA_INTERNE_API_KEY_LATE"]
    assert ia.ask(pooled.one, late).status_code == 200
    pooled.two.boot()
    assert pooled.two.wait_for_login(400, other_than=boot)
    operator.run("gpu", "keys", "add", "acme", "--purpose", "late")
    assert eventually(lambda: ia.status(pooled.two, late) == 200)
    _shares(pooled)
    operator.run("gpu", "keys", "revoke", "acme", "--purpose", "late", "--yes")
    assert [ia.ask(host, late).status_code for host in pooled.hosts] == [401, 401]
