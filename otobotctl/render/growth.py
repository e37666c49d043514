"""The vLLM hosts of one name as Ray Serve LLM or vLLM's production stack would run them: for more than a few. Pure.

Only what the manifest says is in it; what a cluster adds (its cards' kind, its storage) is for whoever runs one.
Fields as Ray's LLMConfig and the stack's helm/values.yaml have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.errors import UsageError
from otobotctl.render.settings import chosen

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedHost
    from otobotctl.render.catalog import Catalog

KINDS = ("ray-serve", "production-stack")


def exported(kind: str, hosts: Sequence[ResolvedHost], catalog: Catalog) -> str:
    """Return the YAML for the hosts of one name. Raises UsageError: another kind, or none of them runs vLLM."""
    import yaml

    if kind not in KINDS:
        raise UsageError(f'"{kind}" is nothing to export for', hint=f"one of: {', '.join(KINDS)}")
    models = _models(hosts, catalog)
    if not models:
        raise UsageError(
            "none of these hosts runs vLLM", hint="otobotctl gpu setup HOST --engine vllm --model OWNER/NAME"
        )
    tree = _ray(models) if kind == "ray-serve" else _stack(models)
    return str(yaml.safe_dump(tree, sort_keys=False, width=120))


def _models(hosts: Iterable[ResolvedHost], catalog: Catalog) -> list[dict[str, Any]]:
    """Each model once, with the settings of the first host that has it, and how many hosts have it."""
    service = catalog.service("vllm")
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        gpu = host.gpu
        if gpu is None or gpu.engine != "vllm":
            continue
        settings = chosen(service, (gpu.settings.get("vllm", {}),), f"hosts.{host.name}.gpu.settings")
        name, _, revision = gpu.models[0].partition("@")
        first = {"name": name, "revision": revision, "settings": settings, "image": service.image, "hosts": 0}
        found.setdefault(gpu.models[0], first)["hosts"] += 1
    return list(found.values())


def _ray(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The configuration that `serve deploy FILE` takes."""
    configs = [
        {
            "model_loading_config": {"model_id": model["name"], "model_source": model["name"]},
            "deployment_config": {"autoscaling_config": {"min_replicas": 1, "max_replicas": model["hosts"]}},
            "engine_kwargs": {
                **({"revision": model["revision"]} if model["revision"] else {}),
                "max_model_len": model["settings"]["context"],
                "max_num_seqs": model["settings"]["requests"],
                "gpu_memory_utilization": model["settings"]["share"],
                "tensor_parallel_size": model["settings"]["cards"],
                **dict(_argument(word) for word in model["settings"]["arguments"]),
            },
        }
        for model in models
    ]
    application = {
        "name": "ia-interne",
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": configs},
    }
    return {"applications": [application]}


def _argument(word: str) -> tuple[str, Any]:
    """One of vLLM's arguments as its engine is told in Python."""
    name, is_given, value = word.removeprefix("--").partition("=")
    return name.replace("-", "_"), value if is_given else True


def _stack(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that `helm install -f FILE` takes."""
    return {"servingEngineSpec": {"modelSpec": [_entry(model) for model in models]}}


def _entry(model: Mapping[str, Any]) -> dict[str, Any]:
    settings = model["settings"]
    revision = [f"--revision={model['revision']}"] if model["revision"] else []
    more = [*revision, *settings["arguments"]]
    return {
        "name": re.sub(r"[^a-z0-9]+", "-", model["name"].rpartition("/")[2].lower()).strip("-"),
        "repository": model["image"],
        "tag": settings["version"],
        "modelURL": model["name"],
        "replicaCount": model["hosts"],
        "requestCPU": 4,
        "requestMemory": settings["memory"].upper() + "i",
        "requestGPU": settings["cards"],
        "vllmConfig": {
            "maxModelLen": settings["context"],
            "maxNumSeqs": settings["requests"],
            "gpuMemoryUtilization": settings["share"],
            "tensorParallelSize": settings["cards"],
            **({"extraArgs": more} if more else {}),
        },
    }
