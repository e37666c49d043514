"""IA Interne on a host without a card: from a bare system to models that answer clients, and nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e import card
from tests.e2e.deployed import eventually
from tests.e2e.operator import Operator
from tests.e2e.site import answers, browser
from tests.lab.host import Host

pytestmark = pytest.mark.timeout(900)

DOMAIN = "ia.otobot.example"
URL = f"https://{DOMAIN}"
SETUP = ("gpu", "setup", "gpu-1", "--domain", DOMAIN, "--email", "it@otobot.example", "--tls", "self-signed", "--cpu")


@dataclass
class Served:
    """A GPU host that has been set up, and the key of the client acme for its LibreChat."""

    operator: Operator
    host: Host
    changed: list[str]
    key: str

    def ask(self, key: str = "", path: str = "/v1/models", **more: object) -> httpx.Response:
        """What a caller gets from outside."""
        with browser(self.host.address) as visitor:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return visitor.request("POST" if more else "GET", URL + path, headers=headers, **more)

    def answers(self) -> bool:
        """Whether the models answer, through everything that has to be up."""
        try:
            return self.ask(self.key).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def root(self, command: str) -> str:
        """What a command on the host says."""
        return self.host.ssh(command, user="root").stdout


@pytest.fixture(scope="module")
def served(warm_host, tmp_path_factory) -> Iterator[Served]:
    """One command sets the host up; the client lives on another host, which nobody reaches here."""
    operator = Operator(tmp_path_factory.mktemp("operator"))
    operator.init()
    operator.add_host("gpu-1", warm_host)
    operator.run("host", "add", "vps-1", "--address", "203.0.113.10")
    operator.run(
        "client", "create", "acme", "--company", "ACME", "--email", "it@acme.example", "--host", "vps-1",
        "--domain", "acme.example", "--service", "mongo", "--service", "librechat",
    )  # fmt: skip
    done = operator.data(*SETUP, "--model", "tiny:1b")
    operator.run("gpu", "keys", "add", "acme")
    yield Served(operator, warm_host, done["changed"], operator.secrets("acme")["IA_INTERNE_API_KEY"])


def test_one_command_makes_it_and_the_same_command_changes_nothing(served):
    """Every stage was applied once; the models are there; a second call finds everything as it should be."""
    assert {"ia/keys", "front/release", "models/tiny:1b"} <= set(served.changed)
    assert served.operator.data(*SETUP)["changed"] == []
    [model] = served.operator.data("gpu", "models", "list", "gpu-1")
    assert (model["name"], model["wanted"], model["size_bytes"]) == ("tiny:1b", True, 8 << 20)


def test_from_outside_there_is_https_alone_and_nothing_without_a_key(served):
    """401 without a key or with another, 403 for what is the operator's, and Ollama itself on no public port."""
    for address in (served.host.address, served.host.address6):
        assert all(answers(address, port) for port in (22, 80, 443))
        assert not any(answers(address, port, limit_s=1) for port in (2019, 8080, 8081, 11434))
    assert served.ask().status_code == 401
    assert served.ask("x" * 64).status_code == 401
    assert served.ask(served.key).json()["data"][0]["id"] == "tiny:1b"
    for path in ("/api/pull", "/api/delete", "/api/create", "/api/push", "/", "/stand-in/running", "/v1/../api/pull"):
        assert served.ask(path=path, json={}).status_code == 401
        assert served.ask(served.key, path, json={}).status_code == 403


def test_an_answer_is_streamed_word_by_word_and_ends_with_the_caller(served):
    """Every event arrives, the first one before the last is made; who leaves ends the generation."""
    question = {"model": "tiny:1b", "stream": True, "max_tokens": 400}
    headers = {"Authorization": f"Bearer {served.key}"}
    running = "curl -s http://127.0.0.1:11434/stand-in/running"
    with browser(served.host.address) as visitor:
        with visitor.stream("POST", URL + "/v1/chat/completions", headers=headers, json=question) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["delta"]["content"]
            assert json.loads(served.root(running))["now"] == 1
            events = [line for line in lines if line]
        assert len(events) == 401  # the first word is gone; then the end and [DONE]
        assert events[-1] == "data: [DONE]"
        question["max_tokens"] = 100_000
        with visitor.stream("POST", URL + "/v1/chat/completions", headers=headers, json=question) as answer:
            next(answer.iter_lines())
    assert eventually(lambda: json.loads(served.root(running)) == {"now": 0, "cut": 1})


def test_the_log_names_callers_and_no_key_is_anywhere_on_the_host(served):
    """Not in a log, Caddy's own state, the containers' settings, the process list or the list of keys."""
    served.ask(served.key, "/v1/chat/completions?key=hidden", json={"model": "tiny:1b"})
    served.ask("wrong-but-long-enough-to-be-found")
    log = [json.loads(line) for line in served.root("cat /var/log/otobot/ia/access.log").splitlines()]
    assert {entry["user_id"] for entry in log} == {"", "acme/librechat"}
    assert any(entry["request"]["uri"] == "/v1/chat/completions" for entry in log)
    everywhere = (
        "cat /var/log/otobot/ia/* /var/log/otobot/ia/usage/*.log /etc/otobot/ia/*; ps -ef; journalctl --no-pager -o cat;"
        " docker ps -q | xargs docker inspect; docker ps -q | xargs -n1 docker logs 2>&1;"
        " cat /var/lib/docker/volumes/otobot-front_caddy_*/_data/caddy/*.json; cat /var/lib/otobot/audit.jsonl || true"
    )
    found = served.root(f"( {everywhere} ) 2>/dev/null")
    for secret in (served.key, "wrong-but-long-enough", "hidden"):
        assert secret not in found
    assert "acme" in found
    [acme] = [each for each in served.operator.data("gpu", "usage")["callers"] if each["client"] == "acme"]
    assert acme["purpose"] == "librechat"
    assert acme["by_path"]["/v1/chat/completions"] >= 1
    tiny = acme["by_model"]["tiny:1b"]
    assert tiny["tokens_in"] >= 5
    assert tiny["tokens_out"] >= 8
    assert tiny["left"] == 1  # of the test before
    served.operator.run("gpu", "usage", "--html", str(served.operator.fleet / "usage.html"))
    assert "tokens in (grey) and out by day" in (served.operator.fleet / "usage.html").read_text()
    [now] = served.operator.data("gpu", "status", "gpu-1")
    assert now["version"]
    assert [(each["client"], each["in_flight"]) for each in now["askers"]] == [("acme", 0)]
    assert now["warnings"] == []


def test_a_key_is_rotated_with_both_valid_and_revoked_without_a_restart(served):
    """A second purpose has a key of its own; revoking it is felt by the next request, and no container is another one."""
    operator = served.operator
    containers = served.root("docker ps --quiet --no-trunc")
    operator.run("gpu", "keys", "add", "acme", "--purpose", "n8n")
    first = operator.secrets("acme")["IA_INTERNE_API_KEY_N8N"]
    assert served.ask(first).status_code == 200
    operator.run("gpu", "keys", "rotate", "acme", "--purpose", "n8n")
    second = operator.secrets("acme")["IA_INTERNE_API_KEY_N8N"]
    assert first != second
    assert [served.ask(key).status_code for key in (first, second)] == [200, 200]
    assert {row["purpose"]: row["state"] for row in operator.data("gpu", "keys", "list")} == {
        "librechat": "valid",
        "n8n": "rotating",
    }
    operator.run("gpu", "keys", "rotate", "acme", "--purpose", "n8n", "--finish")
    assert [served.ask(key).status_code for key in (first, second)] == [401, 200]
    operator.run("gpu", "keys", "revoke", "acme", "--purpose", "n8n", "--yes")
    assert [served.ask(key).status_code for key in (first, second, served.key)] == [401, 401, 200]
    assert "IA_INTERNE_API_KEY_N8N" not in operator.secrets("acme")
    assert served.root("docker ps --quiet --no-trunc") == containers


def test_more_than_a_minutes_requests_are_refused_with_how_long_to_wait(served):
    """The limit is the caller's own, and takes effect at once."""
    served.operator.run("gpu", "keys", "add", "acme", "--per-minute", "3")
    seen = [served.ask(served.key) for _ in range(5)]
    assert [each.status_code for each in seen][:3] == [200, 200, 200]
    refused = [each for each in seen if each.status_code == 429]
    assert refused
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    served.operator.run("gpu", "keys", "add", "acme", "--per-minute", "0")
    assert served.ask(served.key).status_code == 200


def test_models_are_fetched_resumed_refused_and_removed(served):
    """A late error in a 200 is tried again; what is too large or unknown is refused; sync follows the manifest."""
    operator = served.operator
    done = operator.run("gpu", "models", "pull", "gpu-1", "late:1b")
    assert "max retries exceeded" in done.stderr
    huge = operator.run("gpu", "models", "pull", "gpu-1", "huge:70b", check=False)
    assert huge.returncode == 1
    assert "the disk cannot hold it: 1024.0 GiB to fetch and 2.0 GiB to spare are 1026.0 GiB" in huge.stderr
    unknown = operator.run("gpu", "models", "pull", "gpu-1", "tiny:9b", check=False)
    assert "file does not exist" in unknown.stderr
    manifest = operator.fleet / "clients-config.json"
    document = json.loads(manifest.read_text())
    document["hosts"]["gpu-1"]["gpu"]["models"] = ["tiny:1b"]
    manifest.write_text(json.dumps(document, indent=2))
    refused = operator.run("gpu", "models", "sync", "gpu-1", check=False)
    assert refused.returncode == 2
    assert "Remove late:1b" in refused.stderr
    operator.run("gpu", "models", "sync", "gpu-1", "--yes")
    assert [model["name"] for model in operator.data("gpu", "models", "list", "gpu-1")] == ["tiny:1b"]


def test_a_killed_fetch_goes_on_and_is_followed_by_the_same_command(served):
    """The host goes on without its operator; the same command again ends with the model there, fetched once."""
    operator = served.operator
    begun = operator.start("gpu", "models", "pull", "gpu-1", "slow:1b")
    parts = "ls /var/lib/docker/volumes/otobot-front_ollama/_data/models/ | grep -c slow_1b.part || true"
    eventually(lambda: served.root(parts).strip() == "1")
    begun.kill()
    begun.wait(timeout=60)
    operator.run("gpu", "models", "pull", "gpu-1", "slow:1b")
    pulls = served.root("docker logs otobot-front-ollama-1 2>&1")
    assert "slow:1b" in {
        model["name"] for model in operator.data("gpu", "models", "list", "gpu-1") if model["size_bytes"]
    }
    assert len(re.findall("POST /api/pull", pulls)) == 7  # tiny, late three times, huge, unknown, slow once
    operator.run("gpu", "models", "rm", "gpu-1", "slow:1b", "--yes")


def test_the_gate_lets_nobody_in_while_its_list_cannot_be_read(served):
    """503, and not what was true before; the next apply puts it right."""
    served.root("echo broken > /etc/otobot/ia/keys.json")
    assert served.ask(served.key).status_code == 503
    served.operator.run("gpu", "setup", "gpu-1")
    assert served.ask(served.key).status_code == 200


def test_a_card_is_set_up_through_its_reboot_although_its_operator_is_gone(served, tmp_path):
    """Killed while the host reboots, the same command ends with a card in Ollama's container; nothing is done twice."""
    card.offer(served.host, tmp_path)
    before = served.host.wait_for_login()
    begun = served.operator.start("gpu", "setup", "gpu-1", "--card")
    served.host.wait_for_login(400, other_than=before)
    begun.kill()
    begun.wait(timeout=60)
    done = served.operator.data("gpu", "setup", "gpu-1")
    assert card.installed(served.host) == ["nvidia:580-server"]
    assert not {"card/programs", "driver/nvidia", "reboot/loads-it"} & set(done["changed"])
    assert "front/release" in done["changed"]
    assert "NVIDIA L4" in served.root("docker exec otobot-front-ollama-1 nvidia-smi --list-gpus")
    [now] = served.operator.data("gpu", "status")
    assert [(each["name"], each["driver"], each["errors"]) for each in now["cards"]] == [
        ("NVIDIA L4", "580.82.07", None)
    ]
    assert served.operator.data("gpu", "setup", "gpu-1")["changed"] == []
    assert served.ask(served.key).status_code == 200


def test_the_card_is_there_again_after_a_boot(served):
    """Docker forgets containers whose cards it does not know yet when it starts (before 28.2, all of them)."""
    before = served.host.wait_for_login()
    served.host.ssh("systemctl reboot || true", user="root", check=False)
    served.host.wait_for_login(400, other_than=before)
    eventually(served.answers, limit_s=400)
    assert "NVIDIA L4" in served.root("docker exec otobot-front-ollama-1 nvidia-smi --list-gpus")
    # One whose first check of its health is still to come is waited for by an apply.
    eventually(lambda: not served.root("docker ps --quiet --filter health=starting"))
    assert served.operator.data("gpu", "setup", "gpu-1")["changed"] == []


def test_vllm_answers_in_ollamas_place(served):
    """The same URL and key, another engine with its one model; the status has its queue; Ollama's ways are refused."""
    model, operator = "mistralai/Mistral-7B-Instruct-v0.3", served.operator
    done = operator.data("gpu", "setup", "gpu-1", "--engine", "vllm", "--model", model)
    assert {"ia/token", "front/release"} <= set(done["changed"])
    answer = served.ask(served.key, "/v1/chat/completions", json={"model": model, "max_tokens": 3})
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 3)
    assert served.ask(path="/v1/models").status_code == 401
    assert served.ask(served.key, "/api/tags").status_code == 404
    assert served.ask(served.key, "/metrics").status_code == 403
    [now] = operator.data("gpu", "status")
    assert (now["engine"], now["running"], now["waiting"], now["warnings"]) == ("vllm", 0, 0, [])
    refused = operator.run("gpu", "models", "pull", "gpu-1", "tiny:1b", check=False)
    assert (refused.returncode, "serves the manifest's one model" in refused.stderr) == (2, True)
    assert operator.data("gpu", "models", "sync", "gpu-1")["changed"] == []
    assert operator.data("gpu", "setup", "gpu-1")["changed"] == []
