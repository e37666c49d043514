"""What a manifest may say of IA Interne, and what is found wrong with it."""

import pytest

from otobotctl import manifest
from otobotctl.manifest import ServiceShape, SettingShape
from otobotctl.manifest.gpu import check, name_of, served
from tests.manifest.sample import SERVICES, encoded, right

GPU = {"domain": "IA.otobot.example.", "email": "it@otobot.example", "models": ["mistral:7b"], "callers": {"acme": {}}}


def findings(host, **gpu):
    document = right()
    document["hosts"]["gpu-1"] = {"address": "203.0.113.20", "stack": "gpu", "gpu": {**GPU, **gpu}, **host}
    return [str(finding) for finding in manifest.findings(encoded(document), "clients-config.json", SERVICES)]


def test_a_gpu_host_has_its_playbook_and_the_fleets_certificates():
    """Its name is written in one way; callers have a key for LibreChat unless they say otherwise."""
    document = right()
    document["hosts"]["gpu-1"] = {"address": "203.0.113.20", "stack": "gpu", "gpu": GPU}
    resolved = manifest.resolve(manifest.decode(encoded(document), "clients-config.json", SERVICES))
    host = resolved.host("gpu-1")
    assert (host.playbook, host.gpu.domain, host.gpu.tls) == ("gpu", "ia.otobot.example", "acme")
    assert host.gpu.callers["acme"].purposes == ("librechat",)
    assert (resolved.host("vps-1").playbook, resolved.host("vps-1").gpu) == ("vps", None)


@pytest.mark.parametrize(
    ("host", "gpu", "place"),
    [
        pytest.param({}, {"models": ["mistral"]}, "gpu.models[0]", id="a model without its tag"),
        pytest.param({}, {"models": ["mistral:7b", "mistral:7b"]}, "gpu.models[1]", id="a model twice"),
        pytest.param({}, {"models": ["../x:1"]}, "gpu.models[0]", id="a path as a model"),
        pytest.param({}, {"callers": {"acne": {}}}, "gpu.callers.acne", id="a client that there is not"),
        pytest.param({}, {"callers": {"acme": {"purposes": ["N8N"]}}}, "purposes[0]", id="a purpose in capitals"),
        pytest.param({}, {"callers": {"acme": {"purposes": []}}}, "purposes", id="a caller for nothing"),
        pytest.param({}, {"domain": "acme.example"}, "gpu.domain", id="a client's domain"),
        pytest.param({}, {"domain": "ia"}, "gpu.domain", id="no domain name"),
        pytest.param({}, {"email": "it"}, "gpu.email", id="no address"),
        pytest.param({"stack": "client-vps"}, {}, "hosts.gpu-1.stack", id="another stack"),
        pytest.param({}, {"engine": "vllm"}, "gpu.models[0]", id="a model of Ollama's for vllm"),
        pytest.param({}, {"engine": "vllm", "models": []}, "gpu.models: vllm serves one", id="vllm without a model"),
        pytest.param({}, {"engine": "vllm", "models": ["a/b", "a/c"]}, "here are 2", id="vllm with two models"),
        pytest.param({}, {"engine": "vllm", "models": ["a/b"], "cpu": True}, "gpu.engine", id="vllm without a card"),
        pytest.param({}, {"engine": "triton"}, "gpu.engine", id="an engine that there is not"),
        pytest.param({"gpu": None}, {}, "hosts.gpu-1.gpu", id="the stack without its words"),
    ],
)
def test_what_is_wrong_is_found_where_it_stands(host, gpu, place):
    """One finding, at its place."""
    [found] = findings(host, **gpu)
    assert place in found


@pytest.mark.parametrize(
    ("callers", "own", "wanted"),
    [
        pytest.param(
            {"acme": {}},
            {},
            {"ai_url": "https://ia.otobot.example/v1", "ai_models": ["mistral:7b"]},
            id="a caller finds it, and its models",
        ),
        pytest.param(
            {"acme": {}},
            {"ai_models": ["gemma:7b"]},
            {"ai_url": "https://ia.otobot.example/v1", "ai_models": ["gemma:7b"], "ai_fetch": False},
            id="its own words win, and no other models are offered",
        ),
        pytest.param({"acme": {"purposes": ["n8n"]}}, {}, {}, id="a key for something else is none for LibreChat"),
        pytest.param({"bold": {}}, {}, {}, id="another client's"),
    ],
)
def test_a_callers_librechat_is_wired_to_the_host_that_lets_it_in(callers, own, wanted):
    """Without a word in the client's settings."""
    document = right()
    document["hosts"]["gpu-1"] = {"address": "203.0.113.20", "stack": "gpu", "gpu": {**GPU, "callers": callers}}
    document["clients"]["acme"].update(services=["librechat"], settings={"librechat": own} if own else {})
    services = {**SERVICES, "librechat": ServiceShape("librechat", {"ai_models": SettingShape("list")})}
    resolved = manifest.resolve(manifest.decode(encoded(document), "clients-config.json", services))
    assert resolved.client("acme").settings == {"librechat": wanted}


def test_a_model_of_vllms_has_a_revision_that_callers_do_not_say():
    """LibreChat asks for the repository's name; nothing is wrong with either form."""
    models = ["mistralai/Mistral-7B-Instruct-v0.3@main"]
    assert findings({}, engine="vllm", models=models) == []
    assert served("vllm", models) == ("mistralai/Mistral-7B-Instruct-v0.3",)
    assert served("ollama", ["hf.co/someone/model:Q4_K_M"]) == ("hf.co/someone/model:Q4_K_M",)


def test_a_domain_is_written_in_one_way_everywhere():
    """A client's and a host's, with the dot of the root or in capitals, are the same name."""
    assert name_of("IA.Otobot.example.") == "ia.otobot.example"
    [found] = findings({}, domain="ACME.example.")
    assert "gpu.domain" in found


def test_hosts_of_one_name_agree_on_certificates_also_where_one_says_the_default():
    """What nobody says is the fleet's default; another word is found."""

    def found(default, **said):
        hosts = {
            name: {"address": f"10.9.0.{number}", "stack": "gpu", "gpu": {"domain": "ia.example", **more}}
            for number, (name, more) in enumerate(said.items(), 1)
        }
        return [".".join(map(str, each.path)) for each in check(hosts, {}, default)]

    assert found("acme", one={}, two={"tls": "acme"}) == []
    assert found("self-signed", one={"tls": "self-signed"}, two={}) == []
    assert found("self-signed", one={"tls": "acme"}, two={}) == ["hosts.two.gpu.tls"]
