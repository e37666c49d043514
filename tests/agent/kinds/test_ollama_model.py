"""Models, fetched from a server that speaks Ollama's API and breaks off as the real one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from otobotctl.agent import nvidia, ollama
from otobotctl.agent.kinds import gpu_bench, gpu_status, ollama_model
from otobotctl.agent.run import ProbeError, Run, StepError
from tests.waiting import until

STAND_IN = Path(__file__).parents[2] / "lab/files/images/ollama/ollama.py"
GIB = 1 << 30


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A server with an empty folder of models."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    home = tmp_path_factory.mktemp("models")
    env = {**os.environ, "OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(home)}
    server = subprocess.Popen([sys.executable, str(STAND_IN), "serve"], env=env, stdout=subprocess.DEVNULL)
    try:
        until(lambda: ollama.ask(f"http://127.0.0.1:{port}", "/api/version"), "the stand-in", but=(ollama.ApiError,))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def said():
    return []


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """No pause between tries, and this machine's disk."""
    monkeypatch.setattr(ollama_model, "PAUSE_S", 0.01)
    monkeypatch.setattr(ollama_model, "DOCKER", str(tmp_path))


def params(url, name, **more):
    return {"name": name, "url": url, "state": "present", "cpu": True, "spare_mb": 0, "tries": 5, **more}


def test_a_model_is_fetched_with_progress_and_removed(url, said):
    """What comes is told as bytes of bytes; a second apply asks for nothing; absent takes it away."""
    wanted = params(url, "tiny:1b")
    assert ollama_model.probe(wanted) == {"size": None, "digest": ""}
    ollama_model.apply(wanted, Run(said.append))
    assert ollama_model.probe(wanted)["size"] == 8 << 20
    last = json.loads(said[-1].removeprefix(ollama_model.PROGRESS))
    assert last == {"model": "tiny:1b", "status": "success", "completed": 8 << 20, "total": 8 << 20}
    heard = len(said)
    ollama_model.apply(wanted, Run(said.append))
    assert len(said) == heard
    assert ollama_model.probe_all([wanted, params(url, "none:1b")])[1]["size"] is None
    ollama_model.apply(params(url, "tiny:1b", state="absent"), Run(said.append))
    assert ollama_model.probe(wanted)["size"] is None


def test_an_error_late_in_a_200_is_tried_again(url, said):
    """Twice broken off, the third try ends with success; each is told as a warning."""
    ollama_model.apply(params(url, "late:1b"), Run(said.append))
    assert len([line for line in said if line.startswith("warning: late:1b: max retries exceeded")]) == 2
    assert ollama_model.probe(params(url, "late:1b"))["size"] == 8 << 20


def test_a_name_that_does_not_exist_is_not_tried_again(url, said):
    """The registry's own word, once."""
    with pytest.raises(StepError, match="none:1b: pull model manifest: file does not exist"):
        ollama_model.apply(params(url, "none:1b"), Run(said.append))
    assert not [line for line in said if line.startswith("warning")]


def test_what_the_disk_cannot_hold_is_refused_with_the_arithmetic(url, said):
    """At the first word of its size, and without another try."""
    with pytest.raises(
        StepError, match=r"huge:70b: the disk cannot hold it: 1024\.0 GiB to fetch and 0\.0 MiB to spare"
    ):
        ollama_model.apply(params(url, "huge:70b"), Run(said.append))
    assert ollama_model.probe(params(url, "huge:70b"))["size"] is None


def test_what_the_cards_cannot_hold_is_refused(url, said, monkeypatch):
    """Without --cpu the weights must fit in the cards, or every word would come from the processor."""
    monkeypatch.setattr(nvidia, "cards", lambda: [{"memory.total": 16.0, "trouble": "", "mig.mode.current": ""}])
    with pytest.raises(StepError, match="the cards' memory cannot hold it"):
        ollama_model.apply(params(url, "small:2b", cpu=False), Run(said.append))


@pytest.mark.parametrize(
    ("needed", "had", "free", "cards", "memory", "word"),
    [
        pytest.param(4 * GIB, 0, 7 * GIB, None, 16 * GIB, "", id="room on disk and in memory"),
        pytest.param(4 * GIB, 0, 5 * GIB, None, 16 * GIB, "5.0 GiB are free", id="a byte more than the disk has"),
        pytest.param(4 * GIB, 3 * GIB, 4 * GIB, None, 16 * GIB, "", id="what has come already counts"),
        pytest.param(16 * GIB, 0, 99 * GIB, 22 * GIB, 8 * GIB, "", id="an L4 holds 16 GiB, whatever the memory"),
        pytest.param(22 * GIB, 0, 99 * GIB, 22 * GIB, 90 * GIB, "the cards' memory", id="and not 22"),
        pytest.param(16 * GIB, 0, 99 * GIB, None, 16 * GIB, "memory cannot hold it", id="a processor needs memory"),
    ],
)
def test_room(needed, had, free, cards, memory, word):
    """Disk: what is missing and what must stay free. Memory: the largest part and a tenth."""
    found = ollama.no_room(needed, had, free, 2 * GIB, cards, memory, needed)
    assert word in found
    assert bool(found) == bool(word)


def test_a_host_without_ollama_cannot_be_looked_at_but_tells_its_status():
    """The step has no answer; the status says why."""
    nobody = "http://127.0.0.1:9"
    with pytest.raises(ProbeError, match="refused"):
        ollama_model.probe(params(nobody, "tiny:1b"))
    facts = gpu_status.probe({"url": nobody})
    assert "refused" in facts["error"]
    assert facts["models"] == []


def test_a_model_is_asked_by_several_at_once(url, said):
    """Each gets its tokens, as the server counts them; a model that is not there is told."""
    ollama_model.apply(params(url, "tiny:1b"), Run(said.append))
    asked = {"url": url, "models": ["tiny:1b", "none:1b"], "callers": [1, 4], "tokens": 6}
    rows = gpu_bench.probe(asked)["rows"]
    assert [(row["model"], row["callers"], row["tokens"], row["failed"]) for row in rows] == [
        ("tiny:1b", 0, 1, 0),
        ("tiny:1b", 1, 6, 0),
        ("tiny:1b", 4, 24, 0),
        ("none:1b", 0, 0, 1),
    ]
    assert len(rows[2]["first_s"]) == 4
    assert rows[2]["first_s"] == sorted(rows[2]["first_s"])
    assert rows[2]["seconds"] >= rows[2]["first_s"][-1] > 0
    assert rows[3]["error"] == "model 'none:1b' not found"
