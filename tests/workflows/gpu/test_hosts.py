"""What `gpu setup` writes into the manifest."""

import json

import pytest

from otobotctl.converge.model import Quiet
from otobotctl.errors import UsageError
from otobotctl.fleet import Fleet
from otobotctl.manifest.models import Gpu
from otobotctl.workflows.gpu.hosts import Said, merged, setup

OLLAMA = Gpu(domain="ia.example", email="a@b.example", models=("mistral:7b",))
VLLM = Gpu(domain="ia.example", email="a@b.example", engine="vllm", models=("a/b",))


@pytest.mark.parametrize(
    ("before", "said", "wanted"),
    [
        pytest.param(OLLAMA, Said(models=("gemma2:27b",)), ["mistral:7b", "gemma2:27b"], id="one model more"),
        pytest.param(OLLAMA, Said(), ["mistral:7b"], id="nothing said"),
        pytest.param(OLLAMA, Said(engine="vllm", models=("a/b",)), ["a/b"], id="another engine has models of its own"),
        pytest.param(OLLAMA, Said(engine="vllm"), [], id="which have to be said"),
        pytest.param(OLLAMA, Said(engine="ollama"), ["mistral:7b"], id="the same engine"),
        pytest.param(VLLM, Said(models=("a/c",)), ["a/c"], id="vllm has one"),
        pytest.param(VLLM, Said(), ["a/b"], id="and keeps it"),
    ],
)
def test_models_belong_to_their_engine(before, said, wanted):
    """Ollama's add up; another engine begins anew, and a model of vLLM's takes the place of the one before."""
    assert merged(before, said)["models"] == wanted


def test_a_host_whose_clients_have_more_than_their_chat_is_refused_in_one_message(tmp_path):
    """Nothing is written, and nobody is asked; a client with its LibreChat alone may be there."""
    document = {
        "version": 1,
        "hosts": {"vps-1": {"address": "203.0.113.10"}},
        "clients": {
            "acme": {
                "company": "ACME", "email": "it@acme.example", "host": "vps-1", "domain": "acme.example",
                "services": ["mongo", "librechat"],
            },
            "bold": {
                "company": "Bold", "email": "it@bold.example", "host": "vps-1", "domain": "bold.example", "index": 1,
                "services": ["postgres", "n8n", "mongo"],
            },
        },
    }  # fmt: skip
    fleet = Fleet(tmp_path)
    fleet.manifest.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"bold has postgres, n8n on vps-1, and beside IA Interne run only"):
        setup(fleet, "vps-1", Said(domain="ia.example", email="a@b.example"), Quiet())
    assert json.loads(fleet.manifest.read_text()) == document
    del document["clients"]["bold"]
    fleet.manifest.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="nobody has said the domain yet"):
        setup(fleet, "vps-1", Said(), Quiet())
