"""IA Interne as it is rendered, and a real Caddy and the gate that read it."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from otobotctl.errors import ManifestError
from otobotctl.render import ia
from otobotctl.secrets import Secret
from tests.render.sample import composed, front, rendered, resolved, text
from tests.render.test_caddy import caddy, run  # noqa: F401 - a fixture among them
from tests.render.test_nginx import free_port

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests/lab/files/images/ollama/ollama.py"
VLLM = ROOT / "tests/lab/files/images/vllm-openai/vllm.py"
GATE = ROOT / "templates/services/ia-gate/gate.py"
METER = ROOT / "templates/services/ia-meter/meter.py"
KEY = "k" * 64


def fleet(**changes):
    """The sample, with a GPU host."""
    gpu = {"domain": "ia.example", "email": "it@ia.example", "callers": {"acme": {}}, **changes}
    host = {"address": "203.0.113.20", "stack": "gpu", "gpu": gpu}
    return resolved(lambda document: document["hosts"].update({"gpu-1": host}))


def release(**changes):
    return front(fleet(**changes), "gpu-1")


def test_four_containers_and_one_of_them_is_public():
    """Ollama is on 127.0.0.1 for the operator, the gate and the meter on no port, and the proxy alone listens on every address."""
    services = composed(release())["services"]
    assert {name: tree.get("ports", []) for name, tree in services.items()} == {
        "ollama": ["127.0.0.1:11434:11434"],
        "ia-gate": [],
        "ia-meter": [],
        "ia-proxy": ["0.0.0.0:80:80", "[::]:80:80", "0.0.0.0:443:443", "[::]:443:443"],
    }
    assert all(tree["read_only"] for tree in services.values())


def test_the_card_comes_by_cdi_and_a_host_without_one_asks_for_none():
    """A device of the Container Device Interface outlives a daemon-reload."""
    [device] = composed(release())["services"]["ollama"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "cdi", "device_ids": ["nvidia.com/gpu=all"], "capabilities": ["gpu"]}
    assert "deploy" not in composed(release(cpu=True))["services"]["ollama"]


def beside(services=("mongo", "librechat"), gpu=None, **client):
    """The sample with acme on the GPU host itself."""
    said = {"domain": "ia.example", "email": "it@ia.example", "callers": {"acme": {}}, "models": ["tiny:1b"]}
    host = {"address": "203.0.113.20", "stack": "gpu", "gpu": {**said, **(gpu or {})}}
    here = {"host": "gpu-1", "services": list(services), **client}
    return resolved(lambda d: (d["hosts"].update({"gpu-1": host}), d["clients"]["acme"].update(here)))


def test_a_client_on_the_gpu_host_has_its_chat_behind_the_one_proxy_there():
    """One container binds 443: it serves the client's names too, and its LibreChat finds IA Interne by name beside it."""
    fleet = beside()
    tree = composed(front(fleet, "gpu-1"))
    assert [name for name, each in tree["services"].items() if "0.0.0.0:443:443" in each.get("ports", [])] == [
        "ia-proxy"
    ]
    assert tree["services"]["ia-proxy"]["networks"] == {"default": {}, "edge-acme": {"aliases": ["ia.example"]}}
    assert tree["networks"]["edge-acme"] == {"name": "otobot-acme_edge", "external": True}
    sites = text(front(fleet, "gpu-1"), "ia-proxy/sites/acme.caddy")
    assert "https://chat.acme.example {" in sites
    assert "reverse_proxy librechat.acme:3080" in sites
    chat = rendered(fleet)
    assert sorted(chat.services) == ["librechat", "mongo", "mongo-init"]
    assert 'baseURL: "https://ia.example/v1"' in text(chat, "librechat/librechat.yaml")


def test_librechat_offers_the_models_that_are_there_and_knows_the_authority():
    """It asks IA Interne; the manifest's list stands in while that is silent; a root of one's own goes with it."""
    root = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"
    for fleet in (beside(), beside(gpu={"settings": {"ia-proxy": {"acme_ca": root}}})):
        release = rendered(fleet)
        assert '["tiny:1b"]' in text(release, "librechat/librechat.yaml")
        assert "fetch: true" in text(release, "librechat/librechat.yaml")
    assert "NODE_EXTRA_CA_CERTS=/app/ia-ca.pem" in text(release, "env/librechat.env")
    assert text(release, "librechat/ia-ca.pem").strip() == root.strip()
    assert "NODE_EXTRA_CA_CERTS" not in text(rendered(beside()), "env/librechat.env")
    chosen = beside(settings={"librechat": {"ai_models": ["other:1b"]}})
    assert "fetch: false" in text(rendered(chosen), "librechat/librechat.yaml")


@pytest.mark.parametrize(
    ("services", "gpu", "said"),
    [
        pytest.param(("mongo", "librechat", "caddy"), {}, "caddy does not run .* own proxy serves", id="another proxy"),
        pytest.param(("postgres", "n8n"), {}, "postgres does not run on the stack gpu of gpu-1", id="other services"),
        pytest.param(
            ("mongo", "librechat"), {"domain": "chat.acme.example"}, "is a name of clients.acme", id="its name"
        ),
    ],
)
def test_what_cannot_be_beside_ia_interne_is_refused_with_one_message(services, gpu, said):
    """A second proxy, a service that needs another stack, and one name for two things."""
    with pytest.raises(ManifestError, match=said):
        front(beside(services, gpu), "gpu-1")


@pytest.mark.parametrize("tls", ["acme", "self-signed"])
@pytest.mark.parametrize("profile", ["intermediate", "modern"])
def test_a_real_caddy_accepts_a_client_beside_ia_interne(tls, profile, caddy, tmp_path):  # noqa: F811
    """Both names, with certificates by the same authority."""
    release = front(beside(gpu={"tls": tls, "settings": {"ia-proxy": {"tls": profile}}}, tls=tls), "gpu-1")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/acme.caddy").write_text(text(release, "ia-proxy/sites/acme.caddy"))
    file = tmp_path / "Caddyfile"
    file.write_text(text(release, "ia-proxy/Caddyfile").replace("/etc/caddy/sites", str(tmp_path / "sites")))
    done = run(caddy, tmp_path, "adapt", "--config", str(file), "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr
    for name in ("ia.example", "chat.acme.example", "acme.example"):
        assert f'"{name}"' in done.stdout
    assert ('"module":"acme"' in done.stdout.replace(" ", "")) == (tls == "acme")


MODEL = "mistralai/Mistral-7B-Instruct-v0.3"


def test_vllm_takes_ollamas_place_and_has_the_card_alone():
    """One engine a host, on 127.0.0.1, with the manifest's one model under its name; no secret among its arguments."""
    given = release(engine="vllm", models=[f"{MODEL}@abc123"], settings={"vllm": {"arguments": ["--quantization=awq"]}})
    services = composed(given)["services"]
    assert list(services) == ["vllm", "ia-gate", "ia-meter", "ia-proxy"]
    vllm = services["vllm"]
    assert vllm["ports"] == ["127.0.0.1:8000:8000"]
    assert vllm["image"].startswith("vllm/vllm-openai:v")
    assert vllm["entrypoint"] == ["vllm", "serve"]
    assert vllm["command"][:2] == [MODEL, "--revision=abc123"]
    assert {f"--served-model-name={MODEL}", "--max-model-len=8192", "--quantization=awq"} <= set(vllm["command"])
    assert vllm["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "cdi"
    assert "VLLM_NO_USAGE_STATS=1" in text(given, "env/vllm.env")
    assert services["ia-meter"]["environment"]["METER_ENGINE"] == "vllm:8000"
    assert "/metrics" not in text(given, "ia-proxy/Caddyfile")


def test_the_stand_in_knows_every_flag_that_is_rendered():
    """It refuses others, as the real one does."""
    command = composed(release(engine="vllm", models=[f"{MODEL}@main"]))["services"]["vllm"]["command"]
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(VLLM.parent)!r}); import vllm;"]
    words[-1] += "vllm.flags().parse_args(sys.argv[1:])"
    assert subprocess.run([*words, *command], check=False).returncode == 0
    assert subprocess.run([*words, *command, "--made-up"], check=False, capture_output=True).returncode == 2


def test_settings_of_the_manifest_reach_their_service_and_wrong_ones_are_named():
    """Each by its own service.yaml."""
    given = release(settings={"ollama": {"context": 4096}, "ia-proxy": {"max_body": "5MB"}})
    assert "OLLAMA_CONTEXT_LENGTH=4096" in text(given, "env/ollama.env")
    assert "max_size 5MB" in text(given, "ia-proxy/Caddyfile")
    with pytest.raises(ManifestError, match=r"settings\.ollama\.contxt: ollama has no such"):
        release(settings={"ollama": {"contxt": 4096}})
    with pytest.raises(ManifestError, match="has the wrong form"):
        release(settings={"ollama": {"parallel": 0}})


def test_the_list_of_keys_holds_digests_and_the_value_before_while_there_is_one():
    """No value is in it, and an ended one neither."""
    gpu = fleet(callers={"acme": {"purposes": ["librechat", "n8n"], "per_minute": 9}}).host("gpu-1").gpu
    named = {"IA_INTERNE_API_KEY": "new", "IA_INTERNE_API_KEY_PREVIOUS": "old", "IA_INTERNE_API_KEY_N8N": "other"}
    named["IA_INTERNE_API_KEY_N8N_PREVIOUS"] = ""
    found = json.loads(ia.key_list(gpu, {"acme": {name: Secret(name, value) for name, value in named.items()}}))
    digests = [hashlib.sha256(value.encode()).hexdigest() for value in ("new", "old", "other")]
    assert found["callers"] == [
        {"name": "acme", "purpose": "librechat", "sha256": digests[:2], "per_minute": 9},
        {"name": "acme", "purpose": "n8n", "sha256": digests[2:], "per_minute": 9},
    ]


def test_a_caller_without_a_key_is_told_how_to_get_one():
    """An empty key would let in whoever shows none."""
    for store in ({}, {"IA_INTERNE_API_KEY": Secret("IA_INTERNE_API_KEY", "")}):
        with pytest.raises(ManifestError) as raised:
            ia.key_list(fleet().host("gpu-1").gpu, {"acme": store})
        assert raised.value.hint == "otobotctl gpu keys add acme --purpose librechat"


@pytest.mark.parametrize("tls", ["acme", "self-signed"])
def test_a_real_caddy_accepts_what_is_rendered(tls, caddy, tmp_path):  # noqa: F811
    """With the authority's roots and without."""
    file = tmp_path / "Caddyfile"
    file.write_text(text(release(tls=tls), "ia-proxy/Caddyfile"))
    done = run(caddy, tmp_path, "adapt", "--config", str(file), "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr
    policies = json.loads(done.stdout)["apps"]["tls"]["automation"]["policies"]
    assert policies[0]["issuers"][-1]["module"] == "internal"
    assert (policies[0]["issuers"][0]["module"] == "acme") == (tls == "acme")


@contextmanager
def started(*argv, env=None):
    """A program that runs as long as this."""
    process = subprocess.Popen(
        argv, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def served(caddy, tmp_path):  # noqa: F811
    """The rendered proxy over plain HTTP on this machine, with the gate and a server behind it."""
    front_port, gate_port, meter_port, ollama_port = (free_port() for _ in range(4))
    keys = tmp_path / "keys.json"
    keys.write_text(listed())
    config = text(release(cpu=True), "ia-proxy/Caddyfile")
    site = config[config.index("https://ia.example {") :].replace(
        "https://ia.example", f"http://127.0.0.1:{front_port}"
    )
    site = site.replace("\ttls internal\n", "").replace("/var/log/ia", str(tmp_path))
    site = site.replace("ia-gate:8080", f"127.0.0.1:{gate_port}").replace("ia-meter:8080", f"127.0.0.1:{meter_port}")
    file = tmp_path / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + site)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    own = {"IA_KEYS": str(keys), "IA_LISTEN": "127.0.0.1", "IA_PORT": str(gate_port)}
    counts = {"METER_ENGINE": f"127.0.0.1:{ollama_port}", "METER_LOGS": str(tmp_path)}
    counts |= {"METER_LISTEN": "127.0.0.1", "METER_PORT": str(meter_port)}
    model = {"OLLAMA_HOST": f"127.0.0.1:{ollama_port}", "OLLAMA_MODELS": str(tmp_path / "models")}
    words = (caddy, "run", "--config", str(file), "--adapter", "caddyfile")
    with (
        started(sys.executable, str(GATE), env=own),
        started(sys.executable, "-E", "-s", "-B", str(METER), env=counts),
        started(sys.executable, str(STAND_IN), "serve", env=model),
        started(*words, env=env),
        httpx.Client(base_url=f"http://127.0.0.1:{front_port}", timeout=60, trust_env=False) as caller,
    ):
        until_up(caller)
        (tmp_path / "engine").write_text(counts["METER_ENGINE"])
        httpx.post(f"http://127.0.0.1:{ollama_port}/api/pull", json={"model": "tiny:1b"}, timeout=60, trust_env=False)
        yield caller, keys, tmp_path / "access.log"


def listed(*callers):
    """A list of keys."""
    own = {"name": "acme", "purpose": "chat", "sha256": [hashlib.sha256(KEY.encode()).hexdigest()], "per_minute": 0}
    return json.dumps({"callers": [own, *callers]})


def until_up(caller):
    end = time.monotonic() + 60
    while True:
        try:
            if caller.get("/api/version", headers=bearer(KEY)).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end
        time.sleep(0.1)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_nobody_passes_without_a_key_and_nobody_is_who_he_says(served):
    """Refused in every spelling; a header that names a caller is not believed; the key goes no further."""
    caller, _, log = served
    for headers in (
        {},
        {"Authorization": "Bearer"},
        bearer("x"),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
    ):
        assert caller.get("/v1/models", headers={**headers, "X-Otobot-Caller": "root/root"}).status_code == 401
    repeated = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer x")]
    assert caller.get("/v1/models", headers=repeated).status_code != 200
    assert caller.get("/v1/models", headers={"authorization": f"bearer {KEY}"}).status_code == 200
    for path in ("/api/pull", "/api/delete", "/v1/..%2fapi/pull", "//api/pull", "/api/tags/../pull"):
        assert caller.post(path, headers=bearer(KEY), json={}).status_code == 403
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["user_id"] for entry in entries} == {"", "acme/chat"}
    assert KEY not in log.read_text()


def test_a_key_is_given_and_taken_by_writing_the_list(served):
    """By the next request, without a restart; a list that cannot be read lets nobody in."""
    caller, keys, _ = served
    other = {"name": "beta", "purpose": "n8n", "sha256": [hashlib.sha256(b"b").hexdigest()], "per_minute": 0}
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 401
    written(keys, listed(other))
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 200
    written(keys, listed())
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 401
    for broken in ("{", "[]", '{"callers": [{}]}', '{"callers": 3}'):
        written(keys, broken)
        assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 503
    keys.unlink()
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 503
    written(keys, listed())
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 200


def test_a_caller_has_so_many_requests_a_minute(served):
    """The next one is told how long to wait."""
    caller, keys, _ = served
    few = {"name": "beta", "purpose": "n8n", "sha256": [hashlib.sha256(b"b").hexdigest()], "per_minute": 2}
    written(keys, listed(few))
    seen = [caller.get("/v1/models", headers=bearer("b")) for _ in range(4)]
    assert [each.status_code for each in seen[:2]] == [200, 200]
    assert 429 in [each.status_code for each in seen]
    assert 1 <= int(next(each for each in seen if each.status_code == 429).headers["retry-after"]) <= 31
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 200


def written(path, content):
    """Replace a file as the agent does."""
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.rename(path)


async def streamed(port, count, tokens):
    """Ask so many at once for so many words; give each one's number of events and whether it came to its end."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    body = json.dumps({"model": "tiny:1b", "stream": True, "max_tokens": tokens})
    sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(-1), 300)
        finally:
            writer.close()
        return answer.count(b"data: "), b"data: [DONE]" in answer, answer.partition(b"\r\n")[0]

    return await asyncio.gather(*(one() for _ in range(count)))


def test_a_thousand_answers_are_streamed_at_once_and_nothing_is_lost(served):
    """Every event of each, and its end; no generation goes on behind them."""
    caller, _, log = served
    answers = asyncio.run(streamed(caller.base_url.port, 1000, 10))
    assert {status for _, _, status in answers} == {b"HTTP/1.1 200 OK"}
    assert {(events, ended) for events, ended, _ in answers} == {(12, True)}
    assert generating(log) == {"now": 0, "cut": 0}


async def left(port, count):
    """Ask so many at once for a long answer, and leave once each has its first word."""
    body = json.dumps({"model": "tiny:1b", "stream": True, "max_tokens": 100_000})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in lines:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    for reader, _ in lines:
        await asyncio.wait_for(reader.readuntil(b"data: "), 120)
    for _, writer in lines:
        writer.transport.abort()


def generating(log):
    """How many answers the engine is making, and how many callers left before the end."""
    return httpx.get(f"http://{engine_of(log)}/stand-in/running", timeout=60, trust_env=False).json()


def test_every_caller_who_leaves_ends_his_own_generation(served):
    """All of fifty that went at once, through proxy and meter; the one who stays has his whole answer."""
    caller, _, log = served
    asyncio.run(left(caller.base_url.port, 50))
    [(events, ended, _)] = asyncio.run(streamed(caller.base_url.port, 1, 10))
    assert (events, ended) == (12, True)
    end = time.monotonic() + 60
    while generating(log) != {"now": 0, "cut": 50}:
        assert time.monotonic() < end, generating(log)
        time.sleep(0.1)


def engine_of(log):
    """Where the server behind it all listens."""
    return log.with_name("engine").read_text()


def lines_of(log, count):
    """The meter's lines, once so many are there."""
    path = log.with_name("usage.log")
    end = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.1)
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(log):
    """What the meter says on its socket."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(log.with_name("now.sock")))
        return json.loads(door.makefile().read())


def test_each_request_is_a_line_with_its_model_and_tokens_and_nothing_that_was_said(served):
    """Both APIs, streamed or not, with a late error in a 200; where a client wants no usage, the pieces are counted."""
    caller, _, log = served
    question = {"messages": [{"role": "user", "content": "hidden-question"}], "model": "tiny:1b", "max_tokens": 4}
    question["options"] = {"num_predict": 4}
    asked = [
        ("/api/chat", {}),
        ("/api/generate", {"stream": False}),
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {}),
        ("/api/chat", {"model": "none:1b"}),
    ]
    for path, more in asked:
        caller.post(path + "?secret=hidden-query", headers=bearer(KEY), json={**question, **more})
    caller.get("/api/tags", headers=bearer(KEY))
    found = lines_of(log, len(asked))
    assert [(line["path"], line["status"], line["tokens_in"], line["tokens_out"], line["told"]) for line in found] == [
        ("/api/chat", 200, 5, 4, True),
        ("/api/generate", 200, 5, 4, True),
        ("/v1/chat/completions", 200, 0, 4, False),
        ("/v1/chat/completions", 200, 5, 4, True),
        ("/v1/chat/completions", 200, 5, 4, True),
        ("/api/chat", 404, 0, 0, False),
    ]
    assert {(line["caller"], line["end"]) for line in found} == {("acme/chat", "whole")}
    assert [line["model"] for line in found] == ["tiny:1b"] * 5 + ["none:1b"]
    assert all(line["ms"] >= line["first_ms"] > 0 for line in found)
    for said in (KEY, "hidden", "Bonjour"):
        assert said not in log.with_name("usage.log").read_text()


def test_an_error_late_in_an_answer_is_counted_as_one(served):
    """In either API; the answer itself is as the engine gave it."""
    caller, _, log = served
    httpx.post(f"http://{engine_of(log)}/api/pull", json={"model": "broken:1b"}, timeout=60, trust_env=False)
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = caller.post(path, headers=bearer(KEY), json={"model": "broken:1b", "stream": True})
        assert answer.status_code == 200
        assert "CUDA error" in answer.text
    assert [(line["status"], line["end"]) for line in lines_of(log, 2)] == [(200, "error")] * 2


def test_who_leaves_is_seen_in_flight_and_then_ends_the_generation(served):
    """With what had come counted, and marked as left."""
    caller, _, log = served
    question = {"model": "tiny:1b", "stream": True, "max_tokens": 100_000}
    with caller.stream("POST", "/v1/chat/completions", headers=bearer(KEY), json=question) as answer:
        lines = answer.iter_lines()  # kept: the answer ends with it
        assert "Bonjour" in next(lines)
        assert told(log) == {
            "in_flight": [{"caller": "acme/chat", "model": "tiny:1b", "requests": 1, "begun": 1}],
            "lost": 0,
        }
    [line] = lines_of(log, 1)
    assert (line["end"], line["told"], line["tokens_in"]) == ("left", False, 0)
    assert line["tokens_out"] >= 1
    assert told(log)["in_flight"] == []
    end = time.monotonic() + 60
    running = f"http://{engine_of(log)}/stand-in/running"
    while httpx.get(running, trust_env=False).json() != {"now": 0, "cut": 1}:
        assert time.monotonic() < end
        time.sleep(0.1)
