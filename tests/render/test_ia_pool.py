"""Several GPU hosts behind one name: what is rendered, and real Caddys that hand requests to each other."""

import asyncio
import hashlib
import json
import os
import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from otobotctl.render import pool
from otobotctl.secrets import certificate
from tests.render.pooled import BEARER, DOMAIN, KEY, NAMES, Pool, eventually, fleet, seeds, started, streams
from tests.render.sample import catalog, composed, front, text
from tests.render.test_caddy import caddy, run  # noqa: F401 - a fixture among them
from tests.render.test_nginx import free_port

MODEL = "mistralai/Mistral-7B-Instruct-v0.3"
SAME = dict.fromkeys(NAMES, ("tiny:1b",))
MIXED = {"gpu-1": ("tiny:1b",), "gpu-2": ("tiny:1b", "small:2b"), "gpu-3": (MODEL,)}


def files(models, name="gpu-1"):
    found = fleet(models, tuple(models))
    return {each.name: each for each in pool.files(found.host(name), seeds(*models), catalog())}


def test_hosts_of_one_name_know_each_other_and_have_the_same_callers():
    """Whoever may ask one may ask all; each has a certificate of its own, and trusts those of all."""
    found = fleet(SAME)
    assert [list(found.host(name).gpu.callers) for name in NAMES] == [["acme"]] * 3
    assert [peer.address for peer in found.host("gpu-2").pool] == ["10.9.0.1", "10.9.0.2", "10.9.0.3"]
    one, two = files(SAME), files(SAME, "gpu-2")
    assert one["peers.pem"] == two["peers.pem"]
    assert one["peer.pem"].content != two["peer.pem"].content
    assert one["peer.pem"].content in one["peers.pem"].content
    assert [each.name for each in one.values() if each.secret] == ["peer.key"]
    key = seeds(*NAMES)["gpu-1"].reveal()
    assert all(key not in each.content for each in one.values())
    assert one["digest.caddy"] != two["digest.caddy"]
    assert "https://127.0.0.1:443 https://10.9.0.2:443 https://10.9.0.3:443" in one["pool.caddy"].content
    assert "https://10.9.0.1:443 https://127.0.0.1:443 https://10.9.0.3:443" in two["pool.caddy"].content


def test_a_host_more_changes_no_container():
    """What the proxy reads again is a folder on the host, and no file of the release."""
    few = front(fleet({name: SAME[name] for name in NAMES[:2]}, NAMES[:2]), "gpu-1")
    many = front(fleet(SAME), "gpu-1")
    assert few.digest == many.digest
    assert "/etc/otobot/ia-proxy:/etc/ia:ro" in composed(many)["services"]["ia-proxy"]["volumes"]
    assert "peer" not in text(many, "compose.yaml")


def test_a_host_alone_has_nothing_of_it():
    """No second certificate, no second way in, nothing that changes while it runs."""
    alone = front(fleet({"gpu-1": ("tiny:1b",)}, ("gpu-1",)), "gpu-1")
    for word in ("peers.", "/etc/ia", "admin unix"):
        assert word not in text(alone, "ia-proxy/Caddyfile")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        pytest.param({"model": "hf.co/a/b:Q4_K_M", "messages": []}, True, id="first"),
        pytest.param({"messages": [{"content": "x"}], "model": "tiny:1b"}, True, id="last"),
        pytest.param({"model": "tiny:1bb"}, False, id="another that begins so"),
        pytest.param({"model": "tinyx1b"}, False, id="a dot or colon is itself"),
        pytest.param({"model": "x", "messages": [{"content": '"model": "tiny:1b"'}]}, False, id="said in a question"),
        pytest.param({"tools": [{"model": {"type": "tiny:1b"}}]}, False, id="a tool's own word"),
    ],
)
def test_the_model_of_a_request_is_found(body, wanted):
    """However JSON writes it, and not in what somebody says."""
    looked = re.compile(pool.pattern(["tiny:1b", "hf.co/a/b:Q4_K_M"]))
    for text_of in (json.dumps(body), json.dumps(body, indent=1), json.dumps(body, separators=(",", ":"))):
        assert bool(looked.search(text_of)) == wanted
        assert bool(looked.search(text_of.replace("/", r"\/"))) == wanted


def test_below_api_only_hosts_with_ollama_are_asked():
    """VLLM has none of it; where all are alike there is one way for everything."""
    [everything] = pool.parts(fleet(SAME).host("gpu-1").pool, "gpu-1")
    assert (everything["path"], everything["listed"]) == ("", "")
    api, rest = pool.parts(fleet(MIXED).host("gpu-1").pool, "gpu-1")
    assert [peer["name"] for peer in api["hosts"]] == ["gpu-1", "gpu-2"]
    assert [model["id"] for model in json.loads(rest["listed"])["data"]] == ["tiny:1b", "small:2b", MODEL]
    assert [[peer["name"] for peer in each["hosts"]] for each in rest["choices"]] == [
        ["gpu-1", "gpu-2"],
        ["gpu-2"],
        ["gpu-3"],
    ]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The list of keys that all hosts have."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    caller = {"name": "acme", "purpose": "chat", "sha256": [hashlib.sha256(KEY.encode()).hexdigest()], "per_minute": 0}
    path.write_text(json.dumps({"callers": [caller]}))
    return path


@pytest.fixture(scope="module")
def alike(caddy, tmp_path_factory, keys):  # noqa: F811
    """Three hosts with the same model; whoever changes the first one's list of hosts puts it back."""
    with Pool(caddy, tmp_path_factory.mktemp("alike"), SAME).up(SAME, keys) as found:
        yield found


@pytest.fixture
def doomed(caddy, tmp_path, keys):  # noqa: F811
    """The same, for a test that kills some of them."""
    with Pool(caddy, tmp_path, SAME).up(SAME, keys) as found:
        yield found


@pytest.fixture(scope="module")
def mixed(caddy, tmp_path_factory, keys):  # noqa: F811
    """A model on two, a model on one of them, and vLLM on the third."""
    with Pool(caddy, tmp_path_factory.mktemp("mixed"), MIXED).up(MIXED, keys) as found:
        yield found


def test_a_model_is_asked_of_a_host_that_has_it(mixed):
    """Whichever host the caller came to; the list has them all; Ollama's own API finds an Ollama."""
    for machine in mixed.machines.values():
        listed = mixed.ask(machine).json()
        assert [model["id"] for model in listed["data"]] == ["tiny:1b", "small:2b", MODEL]
        for model in ("tiny:1b", "small:2b", MODEL):
            answer = mixed.chat(machine, model)
            assert (answer.status_code, answer.json()["model"]) == (200, model)
        for _ in range(4):
            assert mixed.ask(machine, "/api/tags").json()["models"]
        assert mixed.chat(machine, "none:1b").status_code == 404
        assert mixed.ask(machine, "/api/pull", json={}).status_code == 403
        assert mixed.ask(machine, headers={}).status_code == 401


def test_nobody_comes_in_as_a_host_who_is_none(mixed, tmp_path):
    """Without a certificate, and with one of his own, the handshake fails; with a host's, only questions pass."""
    machine = mixed.machines["gpu-2"]
    stranger = (certificate.self_signed(b"x" * 32, "gpu-1", pool.server_name(DOMAIN)), certificate.key(b"x" * 32))
    friend = ((mixed.place / "gpu-1/peer.pem").read_text(), (mixed.place / "gpu-1/peer.key").read_text())
    for shown, comes in ((None, False), (stranger, False), (friend, True)):
        context = ssl.create_default_context(cadata=(machine.place / "peer.pem").read_text())
        if shown:
            (tmp_path / "own.pem").write_text("".join(shown))
            context.load_cert_chain(tmp_path / "own.pem")
        name = pool.server_name(DOMAIN)

        def ask(path, context=context, name=name):
            with httpx.Client(verify=context, timeout=60, trust_env=False) as caller:
                url = f"https://127.0.0.1:{machine.https}{path}"
                return caller.get(url, headers={"Host": name}, extensions={"sni_hostname": name}).status_code

        if comes:
            assert [ask(path) for path in ("/health", "/v1/models", "/api/delete", "/metrics")] == [200, 200, 403, 403]
        else:
            with pytest.raises(httpx.TransportError):
                ask("/v1/models")
    # Who has no certificate cannot come by the public name either: its hosts' name is another site.
    assert mixed.ask(machine, headers={**BEARER, "Host": name}).status_code in (403, 421)


def test_requests_go_to_the_host_with_the_fewest(alike):
    """Twelve at once, by one front: four on each."""
    one, two, three = alike.machines.values()
    asked = threading.Thread(target=lambda: asyncio.run(streams(one.https, 12, 900)))
    asked.start()
    eventually(lambda: sorted(each.running() for each in (one, two, three)) == [4, 4, 4])
    asked.join()


def test_the_others_answer_for_a_host_that_is_gone(doomed):
    """At once for one without power, and within seconds where only its engine is: the next requests succeed."""
    one, two, three = doomed.machines.values()
    begun = threading.Thread(target=lambda: asyncio.run(streams(one.https, 12, 600)))
    begun.start()
    eventually(lambda: two.running() > 0)
    two.kill("caddy")
    assert [doomed.chat(one, "tiny:1b").status_code for _ in range(20)] == [200] * 20
    assert asyncio.run(streams(one.https, 20, 5)) == [(7, True)] * 20
    three.kill("engine")
    eventually(lambda: [doomed.chat(one, "tiny:1b").status_code for _ in range(10)] == [200] * 10)
    begun.join()


def test_a_reload_ends_no_stream(alike):
    """Fifty of them, through two changes of the hosts; what comes after goes by the new ones."""
    one, two, three = alike.machines.values()
    answers = []
    asked = threading.Thread(target=lambda: answers.extend(asyncio.run(streams(one.https, 50, 1200))))
    asked.start()
    eventually(lambda: sum(each.running() for each in (one, two, three)) == 50)
    for names in (NAMES[:2], NAMES):
        wanted = alike.write(one, {name: SAME[name] for name in names}, names)
        alike.reload(one)
        assert one.digest() == wanted
    assert sum(each.running() for each in (one, two, three)) > 0
    asked.join()
    assert answers == [(1202, True)] * 50


def test_a_host_that_is_taken_out_is_asked_no_more(alike):
    """From the reload on, although it is well."""
    one, _, three = alike.machines.values()
    alike.write(one, {name: SAME[name] for name in NAMES[:2]}, NAMES[:2])
    alike.reload(one)
    before = (three.place / "engine.log").read_text().count("/v1/chat/completions")
    assert asyncio.run(streams(one.https, 12, 5)) == [(7, True)] * 12
    assert (three.place / "engine.log").read_text().count("/v1/chat/completions") == before
    alike.write(one, SAME)
    alike.reload(one)


def test_tokens_are_counted_where_they_are_made_for_who_asked_in_front(mixed):
    """A front tells the others whose request it is; nobody else can."""
    mixed.chat(mixed.machines["gpu-1"], MODEL)
    lines = (mixed.machines["gpu-3"].place / "usage.log").read_text().splitlines()
    assert {(each["caller"], each["model"]) for each in map(json.loads, lines)} >= {("acme/chat", MODEL)}
    assert {each["caller"] for each in map(json.loads, lines)} == {"acme/chat"}


def test_no_key_is_in_what_they_tell(mixed):
    """Not the caller's and not the hosts'."""
    mixed.ask(mixed.machines["gpu-1"])
    for machine in mixed.machines.values():
        told = (machine.place / "caddy.log").read_text() + (machine.place / "access.log").read_text()
        assert KEY not in told
        assert "PRIVATE" not in told


@pytest.mark.parametrize("models", [SAME, MIXED], ids=["alike", "mixed"])
def test_a_real_caddy_accepts_what_is_rendered_with_public_certificates(models, caddy, tmp_path):  # noqa: F811
    """The authority's way for the public name, and the hosts' own for theirs."""
    found = fleet(models, tls="acme")
    config = text(front(found, "gpu-1"), "ia-proxy/Caddyfile").replace("/etc/ia/", f"{tmp_path}/")
    for each in pool.files(found.host("gpu-1"), seeds(*NAMES), catalog()):
        (tmp_path / each.name).write_text(each.content.replace("/etc/ia/", f"{tmp_path}/"))
    (tmp_path / "Caddyfile").write_text(config)
    done = run(caddy, tmp_path, "adapt", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr
    assert '"require_and_verify"' in done.stdout
    [alpn] = re.findall(r'"tls-alpn":(\{[^}]*\})', done.stdout)
    assert json.loads(alpn) == {"disabled": True}


def test_the_authoritys_question_reaches_the_host_that_has_the_answer(caddy, tmp_path):  # noqa: F811
    """The next one is dead, the one after has no answer, the last one has it; nobody asks in a circle."""
    names = ("gpu-1", "gpu-2", "gpu-3", "gpu-4")
    found = fleet(dict.fromkeys(names, ("tiny:1b",)), names, tls="acme")
    front_port = free_port()
    config = text(front(found, "gpu-1"), "ia-proxy/Caddyfile")
    site = config[config.index("http://ia.example {") : config.index("https://ia.example {")]
    files_of = {each.name: each.content for each in pool.files(found.host("gpu-1"), seeds(*names), catalog())}
    heard = []
    with answering(heard, 404) as empty, answering(heard, 200) as right:
        challenge = files_of["challenge.caddy"]
        for number, port in ((2, free_port()), (3, empty), (4, right)):
            challenge = challenge.replace(f"10.9.0.{number}:80", f"127.0.0.1:{port}")
        (tmp_path / "challenge.caddy").write_text(challenge)
        site = site.replace("http://ia.example", f"http://127.0.0.1:{front_port}").replace("/etc/ia", str(tmp_path))
        (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n}\n" + site)
        words = (caddy, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile")
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        with started(words, env, tmp_path / "caddy.log"):
            url = f"http://127.0.0.1:{front_port}/.well-known/acme-challenge/x"

            def ask(**headers):
                return httpx.get(url, headers=headers, timeout=60, trust_env=False)

            eventually(lambda: ask().text == "200 /.well-known/acme-challenge/x")
            assert ask(**{"X-Otobot-Asked": "1"}).status_code == 301
            assert set(heard) == {"1"}


@contextmanager
def answering(heard, status):
    """A host on port 80 that says its status and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["X-Otobot-Asked"])
            said = f"{status} {self.path}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, form, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
