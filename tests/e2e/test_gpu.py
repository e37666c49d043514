"""IA Interne on a host without a card: from a bare system to models that answer clients, and nobody else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e import card, ia
from tests.e2e.deployed import eventually
from tests.e2e.ia import DOMAIN, URL, interrupted
from tests.e2e.operator import Operator
from tests.e2e.site import answers, browser
from tests.lab.authority import NAME, Authority
from tests.lab.host import Host

pytestmark = pytest.mark.timeout(900)

SETUP = ("gpu", "setup", "gpu-1", "--domain", DOMAIN, "--email", "it@otobot.example", "--tls", "acme", "--cpu")
CHAT = "chat.bold.example"  # of a client that lives on the GPU host
WORKER_DIES_IN = "docker,front"  # in the other stages it is the operator's command


@dataclass
class Served:
    """A GPU host that has been set up, and the key of the client acme for its LibreChat."""

    operator: Operator
    host: Host
    authority: Authority
    interrupted: list[str]
    key: str

    def ask(self, key: str = "", path: str = "/v1/models", **more: object) -> httpx.Response:
        """What a caller gets from outside."""
        return ia.ask(self.host, key, path, **more)

    def answers(self) -> bool:
        """Whether the models answer, through everything that has to be up."""
        return ia.status(self.host, self.key) == httpx.codes.OK

    def root(self, command: str) -> str:
        """What a command on the host says."""
        return ia.root(self.host, command)

    def holding(self, secret: str) -> list[str]:
        """Files of the host that have it: logs, what Caddy saves, releases, journals and every container's volumes."""
        places = "/etc /opt /root /home /run/otobot /tmp /var/log /var/lib/otobot /var/lib/docker/volumes"
        found = self.host.ssh(
            f"grep -rlaF -f - {places} 2>/dev/null || true", input=secret.encode(), user="root"
        ).stdout
        return found.splitlines()

    def finished(self) -> Counter[str]:
        """How often each step was brought to its end, by the journals of the host's runs."""
        lines = self.root("cat /var/lib/otobot/runs/*.jsonl").splitlines()
        ends = [record for record in map(json.loads, lines) if record["event"] == "step_end"]
        return Counter(record["step"] for record in ends if record["ok"])

    def trusted(self, name: str) -> bool:
        """Whether a visitor who trusts the authority alone, and checks the name, gets in."""
        return ia.trusted(self.host, name, self.authority)


@pytest.fixture(scope="module")
def served(lab, tmp_path_factory) -> Iterator[Served]:
    """One command sets the host up, killed in each of its stages; the client acme lives on another host, which nobody reaches."""
    authority = Authority(lab.slot)
    with contextlib.ExitStack() as ends:
        host = ends.enter_context(lab.host("warm"))
        ends.callback(authority.stop)
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        authority.names(dict.fromkeys((DOMAIN, "bold.example", CHAT), host.address))
        authority.start()
        operator.add_host("gpu-1", host)
        operator.run("host", "add", "vps-1", "--address", "203.0.113.10")
        operator.run(
            "client", "create", "acme", "--company", "ACME", "--email", "it@acme.example", "--host", "vps-1",
            "--domain", "acme.example", "--service", "mongo", "--service", "librechat",
        )  # fmt: skip
        path = operator.fleet / "clients-config.json"
        manifest = json.loads(path.read_text())
        own = {"acme_directory": authority.directory, "acme_ca": authority.root()}
        gpu = {"domain": DOMAIN, "email": "it@otobot.example", "settings": {"ia-proxy": own}}
        manifest["hosts"]["gpu-1"] |= {"stack": "gpu", "gpu": gpu}
        path.write_text(json.dumps(manifest, indent=2))
        seen = tmp_path_factory.mktemp("killed") / "seen"
        seen.touch()
        died = interrupted(operator, host, seen, WORKER_DIES_IN, *SETUP, "--model", "tiny:1b")
        operator.run("gpu", "keys", "add", "acme")
        yield Served(operator, host, authority, died, operator.secrets("acme")["IA_INTERNE_API_KEY"])


def test_killed_in_every_stage_the_same_command_completes_and_repeats_nothing(served):
    """The operator's command, or the worker on the host, died in each stage: no step came to its end twice, nothing is left."""
    finished = served.finished()
    print(served.interrupted, finished)
    assert {*WORKER_DIES_IN.split(","), "otobot", "hardening", "models"} <= set(served.interrupted)
    assert {name.partition("/")[0] for name in finished} <= set(served.interrupted)
    assert {"ia/logs", "front/release", "models/tiny:1b"} <= set(finished)
    assert [name for name, times in finished.items() if times > 1 and name != "ia/keys"] == []  # a key was added since
    assert served.operator.data(*SETUP)["changed"] == []
    assert served.finished() == finished
    [model] = served.operator.data("gpu", "models", "list", "gpu-1")
    assert (model["name"], model["wanted"], model["size_bytes"]) == ("tiny:1b", True, 8 << 20)


def test_from_outside_there_is_https_alone_and_nothing_without_a_key(served):
    """401 without a key or with another, 403 for what is the operator's, and Ollama itself on no public port."""
    for address in (served.host.address, served.host.address6):
        assert all(answers(address, port) for port in (22, 80, 443))
        assert not any(answers(address, port, limit_s=1) for port in (2019, 8080, 8081, 11434))
    # What Docker publishes goes around the firewall, so the host's own list has to be as short.
    listening = {line.split()[3] for line in served.root("ss -Hltn").splitlines()}
    own = {address for address in listening if not address.startswith(("127.", "[::1]"))}
    assert {address.rpartition(":")[2] for address in own} == {"22", "80", "443"}, own
    with browser(served.host.address) as visitor:
        assert visitor.get(f"http://{DOMAIN}/v1/models").status_code == 301  # and nothing else is there without TLS
    assert served.ask().status_code == 401
    assert served.ask("x" * 64).status_code == 401
    assert served.ask(served.key).json()["data"][0]["id"] == "tiny:1b"
    for path in ("/api/pull", "/api/delete", "/api/create", "/api/push", "/", "/stand-in/running", "/v1/../api/pull"):
        assert served.ask(path=path, json={}).status_code == 401
        assert served.ask(served.key, path, json={}).status_code == 403


def test_its_certificate_is_the_authoritys_and_status_watches_it(served):
    """By ACME, got by the proxy itself: a visitor who trusts the authority alone gets in, and nobody else is shown another."""
    assert eventually(lambda: served.trusted(DOMAIN))
    [front] = served.operator.data("status", "gpu-1")["hosts"][0]["releases"]
    assert NAME in front["certificate_issuer"]
    assert (front["certificate"], front["certificate_due"]) == ("", False)


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
    told = (
        "( ps -ef; journalctl --no-pager -o cat; docker ps -q | xargs docker inspect;"
        " docker ps -q | xargs -n1 docker logs 2>&1 ) 2>/dev/null"
    )
    said = served.root(told)
    for secret in (served.key, "wrong-but-long-enough", "key=hidden"):
        assert secret not in said
        assert served.holding(secret) == []
    assert "otobot-front" in said
    digest = hashlib.sha256(served.key.encode()).hexdigest()
    assert "/etc/otobot/ia/keys.json" in served.holding(digest)  # so a key would have been found
    assert any("/var/log/otobot/ia/access.log" in path for path in served.holding("acme/librechat"))
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
    served.root("systemd-run --quiet --unit=watcher sh -c 'while :; do ps -eo args; sleep 0.05; done > /run/watched'")
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
    served.root("systemctl stop watcher")
    watched = served.root("cat /run/watched; rm /run/watched")
    assert "python3 -I" in watched  # the agent was there all along
    assert not [key for key in (first, second, served.key) if key in watched]
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
    assert document["hosts"]["gpu-1"]["gpu"]["models"] == ["tiny:1b", "late:1b"]  # of what was refused nothing is left
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


def test_its_models_are_measured_by_one_four_and_sixteen_callers(served):
    """A table for people and rows for programs, each with tokens per second and the wait for the first one."""
    found = served.operator.data("gpu", "bench", "gpu-1", "--tokens", "16")
    assert [(each["model"], each["callers"], each["failed"]) for each in found["speeds"]] == [
        ("tiny:1b", callers, 0) for callers in (1, 4, 16)
    ]
    assert all(each["tokens_s"] > 0 and each["first_most_s"] >= each["first_s"] > 0 for each in found["speeds"])
    table = served.operator.run("gpu", "bench", "gpu-1", "--tokens", "2", "--callers", "2").stdout.splitlines()
    assert table[0].split()[:3] == ["MODEL", "CALLERS", "TOKENS/S"]
    assert table[1].split()[:2] == ["tiny:1b", "2"]


ASK = """
const yaml = require("js-yaml"), fs = require("fs");
const [own] = yaml.load(fs.readFileSync("/app/librechat.yaml", "utf8")).endpoints.custom;
const key = own.apiKey.replace(/\\$\\{(\\w+)\\}/, (_, name) => process.env[name]);
fetch(own.baseURL + "/models", {headers: {Authorization: "Bearer " + key}})
  .then(answer => answer.json())
  .then(told => console.log(JSON.stringify([own.models.fetch, told.data.map(each => each.id).sort()])));
"""


def test_a_client_beside_it_has_its_librechat_wired_with_its_own_key_and_the_models_that_are_there(served):
    """Behind the one proxy, with a certificate by the same authority; a model that comes or goes needs no deploy."""
    operator = served.operator
    operator.run(
        "client", "create", "bold", "--company", "Bold", "--email", "it@bold.example", "--host", "gpu-1",
        "--domain", "bold.example", "--tls", "acme", "--service", "mongo", "--service", "librechat",
    )  # fmt: skip
    operator.run("gpu", "keys", "add", "bold")
    operator.run("deploy", "bold")
    assert eventually(lambda: served.trusted(CHAT))
    with browser(served.host.address) as visitor:
        assert "LibreChat" in visitor.get(f"https://{CHAT}/").text
        assert visitor.get(f"{URL}/v1/models").status_code == 401

    def offered() -> list[object]:
        served.host.ssh("cat > /tmp/ask.js", input=ASK.encode(), user="root")
        said = served.root("docker exec -i $(docker ps -q --filter name=otobot-bold-librechat) node - < /tmp/ask.js")
        return list(json.loads(said))

    assert eventually(lambda: offered() == [True, ["tiny:1b"]])
    operator.run("gpu", "models", "pull", "gpu-1", "small:2b")
    assert offered() == [True, ["small:2b", "tiny:1b"]]
    operator.run("gpu", "models", "rm", "gpu-1", "small:2b", "--yes")
    assert offered() == [True, ["tiny:1b"]]
    log = [json.loads(line) for line in served.root("cat /var/log/otobot/ia/access.log").splitlines()]
    assert "bold/librechat" in {entry["user_id"] for entry in log}
    assert operator.data("host", "apply", "gpu-1")["changed"] == []


def test_the_gate_lets_nobody_in_while_its_list_cannot_be_read(served):
    """503, and not what was true before; the next apply puts it right."""
    served.root("echo broken > /etc/otobot/ia/keys.json")
    assert served.ask(served.key).status_code == 503
    served.operator.run("gpu", "setup", "gpu-1")
    assert served.ask(served.key).status_code == 200


def test_a_card_is_set_up_through_its_reboot_and_killed_in_every_stage_of_its_own(served, tmp_path):
    """The same command ends with a card in Ollama's container: the driver is installed once, and nothing is done twice."""
    card.offer(served.host, tmp_path)
    seen, before = tmp_path / "seen", served.finished()
    seen.write_text("\n".join(served.interrupted) + "\n")
    died = interrupted(served.operator, served.host, seen, "toolkit", "gpu", "setup", "gpu-1", "--card")
    own = ["card", "driver", "reboot", "toolkit", "cards"]  # and the stage of the client that lives there
    assert [stage for stage in died[len(served.interrupted) :] if not stage.startswith("client-")] == own
    finished = served.finished() - before
    assert {"card/programs", "driver/nvidia", "toolkit/packages", "front/release"} <= set(finished)
    assert [name for name, times in finished.items() if times > 1] == []
    assert card.installed(served.host) == ["nvidia:580-server"]
    toolkit = served.root("dpkg-query --show --showformat='${Version}\\n' '*nvidia-container*'").split()
    assert toolkit == ["1.20.0-1"] * 4  # and not the newest that is offered
    assert "NVIDIA L4" in served.root("docker exec otobot-front-ollama-1 nvidia-smi --list-gpus")
    [now] = served.operator.data("gpu", "status")
    assert [(each["name"], each["driver"], each["errors"]) for each in now["cards"]] == [
        ("NVIDIA L4", "580.82.07", None)
    ]
    assert served.operator.data("gpu", "setup", "gpu-1")["changed"] == []
    chat = {"messages": [], "model": "tiny:1b", "max_tokens": 1}
    assert served.ask(served.key, "/v1/chat/completions", json=chat).status_code == 200
    [warning] = served.operator.data("gpu", "status")[0]["warnings"]
    assert "tiny:1b does not fit in the cards: 100% of it is on the processor" in warning  # as the stand-in has no card


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
