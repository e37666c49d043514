"""The vLLM hosts of one name, written for engines of many more: documented fields, and nothing that is not said."""

import pytest
import yaml

from otobotctl.errors import UsageError
from otobotctl.render import growth
from tests.render.pooled import fleet
from tests.render.sample import catalog

BIG, SMALL = "mistralai/Mistral-7B-Instruct-v0.3@abc", "Qwen/Qwen3-8B"
MODELS = {"gpu-1": (BIG,), "gpu-2": (BIG,), "gpu-3": (SMALL,), "gpu-4": ("tiny:1b",)}
# As docs.ray.io (LLMConfig) and the chart's values.yaml have them.
RAY = {"model_loading_config", "engine_kwargs", "deployment_config", "accelerator_type"}
SPEC = {
    "name",
    "repository",
    "tag",
    "modelURL",
    "replicaCount",
    "requestCPU",
    "requestMemory",
    "requestGPU",
    "vllmConfig",
}
CONFIG = {"maxModelLen", "maxNumSeqs", "gpuMemoryUtilization", "tensorParallelSize", "extraArgs"}


def made(kind, models=MODELS, **settings):
    found = fleet(models, tuple(models), settings={"vllm": settings})
    return yaml.safe_load(growth.exported(kind, list(found.hosts.values()), catalog()))


def test_ray_serve_gets_a_configuration_for_each_model():
    """As many replicas at most as hosts have it; arguments as Python has them; Ollama's are not in it."""
    tree = made("ray-serve", context=4096, arguments=["--quantization=awq", "--enforce-eager"])
    [application] = tree["applications"]
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    big, small = application["args"]["llm_configs"]
    assert set(big) <= RAY
    assert big["model_loading_config"]["model_source"] == "mistralai/Mistral-7B-Instruct-v0.3"
    assert big["deployment_config"]["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 2}
    assert big["engine_kwargs"] == {
        "revision": "abc",
        "max_model_len": 4096,
        "max_num_seqs": 64,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 1,
        "quantization": "awq",
        "enforce_eager": True,
    }
    assert "revision" not in small["engine_kwargs"]


def test_the_production_stack_gets_its_values():
    """One entry a model, with the image and settings of the hosts; a name that Kubernetes takes."""
    big, small = made("production-stack", arguments=["--quantization=awq"])["servingEngineSpec"]["modelSpec"]
    assert set(big) <= SPEC
    assert set(big["vllmConfig"]) <= CONFIG
    assert (big["name"], big["replicaCount"], big["modelURL"]) == (
        "mistral-7b-instruct-v0-3",
        2,
        "mistralai/Mistral-7B-Instruct-v0.3",
    )
    assert (big["repository"], big["tag"], big["requestMemory"]) == ("vllm/vllm-openai", "v0.33.0", "64Gi")
    assert big["vllmConfig"]["extraArgs"] == ["--revision=abc", "--quantization=awq"]
    assert (small["name"], small["replicaCount"]) == ("qwen3-8b", 1)


def test_what_cannot_be_exported_is_refused():
    """Ollama's hosts, and another kind."""
    with pytest.raises(UsageError, match="none of these hosts runs vLLM"):
        made("ray-serve", {"gpu-1": ("tiny:1b",)})
    with pytest.raises(UsageError) as raised:
        made("slurm")
    assert raised.value.hint == "one of: ray-serve, production-stack"
