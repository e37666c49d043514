"""IA Interne as it is rendered, and a real Caddy that reads it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from otobotctl.errors import ManifestError
from otobotctl.render import ia_keys
from otobotctl.secrets import Secret
from tests.render.sample import composed, front, rendered, resolved, text
from tests.render.test_caddy import caddy, run  # noqa: F401 - a fixture among them

ROOT = Path(__file__).parents[2]
VLLM = ROOT / "tests/lab/files/images/vllm-openai/vllm.py"


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
    found = json.loads(ia_keys.key_list(gpu, {"acme": {name: Secret(name, value) for name, value in named.items()}}))
    digests = [hashlib.sha256(value.encode()).hexdigest() for value in ("new", "old", "other")]
    assert found["callers"] == [
        {"name": "acme", "purpose": "librechat", "sha256": digests[:2], "per_minute": 9},
        {"name": "acme", "purpose": "n8n", "sha256": digests[2:], "per_minute": 9},
    ]


def test_a_caller_without_a_key_is_told_how_to_get_one():
    """An empty key would let in whoever shows none."""
    for store in ({}, {"IA_INTERNE_API_KEY": Secret("IA_INTERNE_API_KEY", "")}):
        with pytest.raises(ManifestError) as raised:
            ia_keys.key_list(fleet().host("gpu-1").gpu, {"acme": store})
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
