"""A host that runs vLLM, asked through the agent: a server that speaks its API stands in for it."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from otobotctl.agent import ollama, vllm
from otobotctl.agent.kinds import gpu_bench, gpu_status
from tests.waiting import until

STAND_IN = Path(__file__).parents[2] / "lab/files/images/vllm-openai/vllm.py"
MODEL = "mistralai/Mistral-7B-Instruct-v0.3"


@pytest.fixture(scope="module")
def url():
    """It serves one model and works on two requests at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    words = ("serve", MODEL, f"--port={port}", f"--served-model-name={MODEL}", "--max-num-seqs=2")
    server = subprocess.Popen([sys.executable, str(STAND_IN), *words], stdout=subprocess.DEVNULL)
    try:
        until(lambda: vllm.models(f"http://127.0.0.1:{port}"), "the stand-in", but=(ollama.ApiError,))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def test_the_status_tells_its_version_its_model_and_its_queue(url):
    """The model's size is what was fetched of it; here that is nothing."""
    facts = gpu_status.probe({"url": url, "engine": "vllm"})
    assert facts["error"] == ""
    assert facts["version"] == "0.33.0"
    assert facts["models"] == [{"name": MODEL, "size": 0, "digest": ""}]
    assert facts["requests"] == {"running": 0, "waiting": 0}


def test_requests_above_what_it_works_on_wait_and_are_counted(url):
    """Two of five run, three wait, as its metrics say; who leaves is not counted any more."""
    body = json.dumps({"model": MODEL, "stream": True, "max_tokens": 3000})
    callers = [http.client.HTTPConnection(url.removeprefix("http://"), timeout=60) for _ in range(5)]
    for each in callers:
        threading.Thread(target=each.request, args=("POST", "/v1/chat/completions", body), daemon=True).start()
    until(lambda: vllm.queue(url) == {"running": 2, "waiting": 3}, but=(ollama.ApiError,))
    for each in callers:
        each.close()
    until(lambda: vllm.queue(url) == {"running": 0, "waiting": 0}, but=(ollama.ApiError,))


def test_what_was_fetched_of_a_model_is_the_size_of_its_blobs(tmp_path):
    """Where Hugging Face's client puts them; nothing there is 0."""
    blobs = tmp_path / "models--mistralai--Mistral-7B-Instruct-v0.3" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "a").write_bytes(b"x" * 10)
    (blobs / "b.incomplete").write_bytes(b"x" * 5)
    assert vllm.fetched(MODEL, str(tmp_path)) == 15
    assert vllm.fetched("none/none", str(tmp_path)) == 0


@pytest.mark.parametrize(
    ("metrics", "wanted"),
    [
        pytest.param("", {"running": 0, "waiting": 0}, id="nothing"),
        pytest.param(
            'vllm:num_requests_running{engine="0",model_name="m"} 3.0\nvllm:num_requests_waiting{engine="0"} 1e+02\n'
            'vllm:num_requests_running{engine="1",model_name="m"} 4.0\n',
            {"running": 7, "waiting": 100},
            id="two engines add up",
        ),
        pytest.param(
            'vllm:num_requests_waiting_by_reason{reason="capacity"} 5.0\nvllm:num_requests_waiting 2.0\n',
            {"running": 0, "waiting": 2},
            id="another metric with the same beginning",
        ),
    ],
)
def test_metrics(metrics, wanted):
    """Gauges of every engine, and only those two."""
    assert vllm.counted(metrics) == wanted


def test_it_is_asked_by_several_at_once(url):
    """Each gets its tokens as the server counts them at the end; a model that it has not is told in its words."""
    asked = {"url": url, "engine": "vllm", "models": [MODEL, "none/none"], "callers": [1, 4], "tokens": 6}
    rows = gpu_bench.probe(asked)["rows"]
    assert [(row["model"], row["callers"], row["tokens"], row["failed"]) for row in rows] == [
        (MODEL, 0, 1, 0),
        (MODEL, 1, 6, 0),
        (MODEL, 4, 24, 0),
        ("none/none", 0, 0, 1),
    ]
    assert len(rows[2]["first_s"]) == 4
    assert rows[3]["error"] == "The model `none/none` does not exist."


def test_an_answer_that_ends_before_its_end_is_none(monkeypatch):
    """Without [DONE] it broke off, whatever came; an error in it is told."""
    said = [b'data: {"choices": []}\n', b"\n"]
    monkeypatch.setattr(ollama, "raw_lines", lambda *_: iter(said))
    events = vllm.events("http://127.0.0.1:9", {})
    assert next(events) == {"choices": []}
    with pytest.raises(ollama.ApiError, match="broke off"):
        next(events)
    said[:] = [b'data: {"error": {"message": "out of memory", "code": 500}}\n']
    with pytest.raises(ollama.ApiError, match="out of memory"):
        next(vllm.events("http://127.0.0.1:9", {}))
