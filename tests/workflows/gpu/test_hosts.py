"""What `gpu setup` writes into the manifest."""

import pytest

from otobotctl.manifest.models import Gpu
from otobotctl.workflows.gpu.hosts import Said, merged

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
