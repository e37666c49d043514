"""`gpu` as it is typed: what is asked before something goes, and the shapes that --json answers in."""

from __future__ import annotations

import io
import json

import pytest

from otobotctl.cli.main import main

_VLLM = {"domain": "ia.example", "email": "it@ia.example", "engine": "vllm", "models": ["owner/model"]}


@pytest.fixture
def gpu(tmp_path, monkeypatch, capsys):
    """`otobotctl gpu ... --json` in a fleet with one GPU host that runs vLLM; returns its code and its envelope."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n")
    monkeypatch.setenv("OTOBOTCTL_IDENTITY", str(tmp_path / "identity"))
    hosts = {"gpu-1": {"address": "10.9.0.1", "stack": "gpu", "gpu": _VLLM}}
    document = {"version": 1, "recipients": [str(identity.to_public())], "hosts": hosts}
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet/clients-config.json").write_text(json.dumps(document))

    def ask(*words: str, stdin: str = "") -> tuple[int, dict]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(["gpu", *words, "--json", "--fleet", str(tmp_path / "fleet")])
        return code, json.loads(capsys.readouterr().out)

    return ask


def test_a_token_is_given_on_stdin_and_forgotten_only_when_that_is_confirmed(gpu):
    """Nobody can read it again; the answer says what to do next, and never the value."""
    next_ = "otobotctl host apply gpu-1"
    code, said = gpu("token", "gpu-1", stdin="hf_very_secret\n")
    assert (code, said["command"], said["data"]) == (0, "gpu token", {"host": "gpu-1", "there": True, "next": next_})
    assert "hf_very_secret" not in json.dumps(said)
    code, said = gpu("token", "gpu-1", "--remove")
    assert (code, said["ok"]) == (2, False)
    assert "--yes" in said["error"]["hint"]
    code, said = gpu("token", "gpu-1", "--remove", "--yes")
    assert (code, said["data"]) == (0, {"host": "gpu-1", "there": False, "next": next_})


def test_an_export_is_text_with_the_hosts_that_are_in_it(gpu):
    """What another kind of engine takes, within the envelope; what is no kind is refused with those that are."""
    code, said = gpu("export", "gpu-1", "--kind", "ray-serve")
    assert (code, said["command"], said["data"]["kind"], said["data"]["hosts"]) == (
        0,
        "gpu export",
        "ray-serve",
        ["gpu-1"],
    )
    assert "model_id: owner/model" in said["data"]["text"]
    code, said = gpu("export", "gpu-1", "--kind", "swarm")
    assert (code, said["error"]["hint"]) == (2, "one of: ray-serve, production-stack")


def test_who_watches_says_how_often_as_with_every_status(gpu, monkeypatch):
    """--watch with --every, as of `status` and `vault tokens`; each look is one envelope, and Ctrl-C ends it well."""
    from otobotctl.errors import InterruptedRunError

    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        raise InterruptedRunError("interrupted")

    monkeypatch.setattr("otobotctl.workflows.gpu.status.looked", lambda *_: _FACTS)
    monkeypatch.setattr("otobotctl.cli.session.time.sleep", pause)
    code, said = gpu("status", "--watch", "--every", "7")
    assert (code, said["command"], pauses) == (0, "gpu status", [7])
    assert [each["host"] for each in said["data"]] == ["gpu-1"]


def test_a_measurement_is_an_answer_with_its_warnings(gpu, monkeypatch):
    """Numbers by model and callers; a caller that failed is a warning in the answer."""
    rows = [
        {"model": "owner/model", "callers": callers, "tokens": 64, "seconds": 2.0, "first_s": [0.1], "failed": failed, "error": "x"}
        for callers, failed in ((0, 0), (2, 1))
    ]  # fmt: skip
    monkeypatch.setattr("otobotctl.workflows.gpu.bench.asked", lambda *_: {"rows": rows})
    code, said = gpu("bench", "gpu-1", "--callers", "2")
    assert (code, said["command"]) == (0, "gpu bench")
    assert said["data"] == {
        "host": "gpu-1", "tokens": 128, "load_s": {"owner/model": 2.0},
        "speeds": [{
            "model": "owner/model", "callers": 2, "tokens_s": 32.0, "each_tokens_s": 16.0,
            "first_s": 0.1, "first_most_s": 0.1, "failed": 1,
        }],
        "warnings": ["owner/model, 2 callers: x"],
    }  # fmt: skip


_FACTS = {
    "error": "", "version": "0.20", "cards": [], "models": [], "loaded": [], "memory": {}, "disk": {"total": 0, "free": 0},
    "metered": {"error": "", "lost": 0, "in_flight": [], "recent": {}},
}  # fmt: skip
