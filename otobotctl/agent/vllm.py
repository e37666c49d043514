"""vLLM's API on this host: what is asked of it. Standard library only."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, Iterator, List

from otobotctl.agent import ollama

# Where its container keeps what it has fetched; the volume `vllm` of the front's project.
HUB = "/var/lib/docker/volumes/otobot-front_vllm/_data/huggingface/hub"
_SAMPLE = re.compile(r"^(vllm:[a-z_]+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)


def models(url: str) -> List[Dict[str, Any]]:
    """What it serves, in the shape of Ollama's list: name, size (bytes of what was fetched for it) and digest."""
    served = ollama.ask(url, "/v1/models").get("data") or []
    return [
        {"name": str(each["id"]), "size": fetched(str(each.get("root") or each["id"])), "digest": ""} for each in served
    ]


def fetched(model: str, hub: str = HUB) -> int:
    """Bytes of what was fetched of a model of Hugging Face's; 0 where nothing is known of it."""
    blobs = os.path.join(hub, "models--" + model.replace("/", "--"), "blobs")
    try:
        return sum(each.stat().st_size for each in os.scandir(blobs))
    except OSError:
        return 0


def queue(url: str) -> Dict[str, int]:
    """How many requests it works on and how many wait: running, waiting. Raises ollama.ApiError."""
    return counted(ollama.text(url, "/metrics"))


def counted(metrics: str) -> Dict[str, int]:
    """The same out of what /metrics says: the sum of all engines. Pure."""
    found = {"running": 0, "waiting": 0}
    for name, value in _SAMPLE.findall(metrics):
        word = name[len("vllm:num_requests_") :] if name.startswith("vllm:num_requests_") else ""
        if word in found:
            found[word] += int(float(value))
    return found


def events(url: str, body: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Each event of an answer to /v1/chat/completions. Raises ollama.ApiError, also where it ends before its end."""
    for line in ollama.raw_lines(url, "/v1/chat/completions", body):
        if not line.startswith(b"data: "):
            continue
        said = line[len(b"data: ") :].strip()
        if said == b"[DONE]":
            return
        try:
            record = json.loads(said)
        except ValueError:
            break
        if "error" in record:
            raise ollama.ApiError(ollama.word_of(record["error"]))
        yield record
    raise ollama.ApiError("the answer broke off", passing=True)
