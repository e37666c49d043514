"""Three GPU hosts of one name on this machine: real Caddys by their whole rendered configuration, and stand-ins."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from otobotctl.render import pool
from otobotctl.secrets import Secret
from tests.render.sample import catalog, front, resolved, text
from tests.render.test_nginx import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
OLLAMA = ROOT / "tests/lab/files/images/ollama/ollama.py"
VLLM = ROOT / "tests/lab/files/images/vllm-openai/vllm.py"
METER = ROOT / "templates/services/ia-meter/meter.py"
GATE = ROOT / "templates/services/ia-gate/gate.py"
DOMAIN = "ia.example"
NAMES = ("gpu-1", "gpu-2", "gpu-3")
KEY = "k" * 64
BEARER = {"Authorization": f"Bearer {KEY}"}


def seeds(*names):
    """A key for each host."""
    return {name: Secret("IA_PEER_KEY", f"{number:064x}") for number, name in enumerate(names, 1)}


def fleet(models, names=NAMES, **gpu):
    """The sample with GPU hosts of one name; `models` by host, a model with a slash is vLLM's."""
    hosts = {
        name: {
            "address": f"10.9.0.{number}",
            "stack": "gpu",
            "gpu": {
                "domain": DOMAIN,
                "email": "it@ia.example",
                "tls": "self-signed",
                "models": list(models[name]),
                "engine": "vllm" if "/" in models[name][0] else "ollama",
                "callers": {"acme": {}} if name == names[0] else {},
                **gpu,
            },
        }
        for number, name in enumerate(names, 1)
    }
    return resolved(lambda document: document["hosts"].update(hosts))


@dataclass
class Machine:
    """One of the hosts: its folder, where it listens, and what runs on it."""

    name: str
    place: Path
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    health: int = field(default_factory=free_port)
    engine: int = field(default_factory=free_port)
    router: int = field(default_factory=free_port)
    meter: int = field(default_factory=free_port)
    processes: dict = field(default_factory=dict)

    def kill(self, what):
        """End a program at once, as a machine that loses its power does."""
        self.processes[what].send_signal(signal.SIGKILL)
        self.processes[what].wait()

    def running(self):
        """How many requests its engine works on."""
        return httpx.get(f"http://127.0.0.1:{self.engine}/stand-in/running", timeout=60, trust_env=False).json()["now"]

    def digest(self):
        """Which files its proxy has read."""
        return httpx.get(f"http://127.0.0.1:{self.health}/pool", timeout=60, trust_env=False).text


class Pool:
    """The hosts, by name."""

    def __init__(self, caddy, place, models):
        self.caddy = caddy
        self.place = place
        self.gate = free_port()
        self.machines = {name: Machine(name, place / name) for name in models}
        for machine in self.machines.values():
            machine.place.mkdir()

    def write(self, machine, models, names=NAMES):
        """Lay out a host's files with the others' places in them; give the digest that it should have read."""
        found = fleet(models, names)
        host = found.host(machine.name)
        made = pool.files(host, seeds(*names), catalog())
        for file in made:
            content = file.content
            for number, name in enumerate(names, 1):
                there = f"127.0.0.1:{self.machines[name].https}"
                content = content.replace(f"10.9.0.{number}:443", there)
                content = content.replace("127.0.0.1:443", there) if name == machine.name else content
            (machine.place / file.name).write_text(self._moved(machine, content))
        config = text(front(found, machine.name), "ia-proxy/Caddyfile")
        ports = f"{{\n\thttp_port {machine.http}\n\thttps_port {machine.https}\n"
        (machine.place / "Caddyfile").write_text(self._moved(machine, config.replace("{\n", ports, 1)))
        return pool.digest(made[:-1])

    def _moved(self, machine, content):
        moved = {
            "/etc/ia/": f"{machine.place}/",
            "/tmp/admin.sock": f"{machine.place}/admin.sock",
            "/var/log/ia": str(machine.place),
            "127.0.0.1:8081": f"127.0.0.1:{machine.health}",
            "127.0.0.1:8082": f"127.0.0.1:{machine.router}",
            "http://:8082": f"http://:{machine.router}",
            "ia-gate:8080": f"127.0.0.1:{self.gate}",
            "ia-meter:8080": f"127.0.0.1:{machine.meter}",
        }
        for before, after in moved.items():
            content = content.replace(before, after)
        return content

    def environment(self, machine):
        return {"PATH": os.environ["PATH"], "HOME": str(machine.place), "XDG_DATA_HOME": str(machine.place)}

    def reload(self, machine):
        """As playbooks/gpu.yaml does in the container."""
        words = ("reload", "--force", "--config", str(machine.place / "Caddyfile"), "--adapter", "caddyfile")
        done = subprocess.run(
            [self.caddy, *words], env=self.environment(machine), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    @contextmanager
    def up(self, models, keys):
        """Everything runs as long as this."""
        with ExitStack() as stack:
            own = {"IA_KEYS": str(keys), "IA_LISTEN": "127.0.0.1", "IA_PORT": str(self.gate)}
            stack.enter_context(started([sys.executable, str(GATE)], {**os.environ, **own}, self.place / "gate.log"))
            for name, machine in self.machines.items():
                self.write(machine, models, tuple(models))
                machine.processes["engine"] = stack.enter_context(self._engine(machine, models[name]))
                stack.enter_context(self._meter(machine))
                words = (self.caddy, "run", "--config", str(machine.place / "Caddyfile"), "--adapter", "caddyfile")
                log = machine.place / "caddy.log"
                machine.processes["caddy"] = stack.enter_context(started(words, self.environment(machine), log))
            for name, machine in self.machines.items():
                fetch(machine, models[name])
            for machine in self.machines.values():
                for model in dict.fromkeys(model for each in models.values() for model in each):
                    eventually(lambda front=machine, model=model: self.chat(front, model).status_code == 200)
            yield self

    def _meter(self, machine):
        env = {"METER_ENGINE": f"127.0.0.1:{machine.engine}", "METER_LISTEN": "127.0.0.1"}
        env |= {"METER_LOGS": str(machine.place), "METER_PORT": str(machine.meter)}
        words = [sys.executable, "-E", "-s", "-B", str(METER)]
        return started(words, {**os.environ, **env}, machine.place / "meter.log")

    def _engine(self, machine, models):
        if "/" in models[0]:
            words = (str(VLLM), "serve", models[0], f"--port={machine.engine}", f"--served-model-name={models[0]}")
            return started([sys.executable, *words], None, machine.place / "engine.log")
        env = {"OLLAMA_HOST": f"127.0.0.1:{machine.engine}", "OLLAMA_MODELS": str(machine.place / "models")}
        words = [sys.executable, str(OLLAMA), "serve"]
        return started(words, {**os.environ, **env}, machine.place / "engine.log")

    def ask(self, machine, path="/v1/models", headers=BEARER, **more):
        """What a caller gets from outside."""
        with httpx.Client(verify=False, timeout=60, trust_env=False) as caller:
            return caller.request(
                "POST" if more else "GET",
                f"https://127.0.0.1:{machine.https}{path}",
                headers={"Host": DOMAIN, **headers},
                extensions={"sni_hostname": DOMAIN},
                **more,
            )

    def chat(self, machine, model, **more):
        """One short answer."""
        return self.ask(machine, "/v1/chat/completions", json={"messages": [], "model": model, "max_tokens": 2, **more})


@contextmanager
def started(words, env, log):
    """A program that runs as long as this."""
    with log.open("wb") as told:
        process = subprocess.Popen(words, env=env, stdout=told, stderr=told)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def fetch(machine, models):
    """The models of an Ollama; vLLM has its own."""
    url = f"http://127.0.0.1:{machine.engine}"
    eventually(lambda: httpx.get(f"{url}/v1/models", timeout=60, trust_env=False).status_code == 200)
    for model in models if "/" not in models[0] else ():
        httpx.post(f"{url}/api/pull", json={"model": model}, timeout=60, trust_env=False)


def eventually(true):
    """Ask again until it is so; nobody there is not yet."""
    until(true, but=(httpx.TransportError,))


async def streams(port, count, tokens, model="tiny:1b"):
    """Ask so many at once for so many words; give each one's number of events and whether it came to its end."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = json.dumps({"model": model, "stream": True, "max_tokens": tokens})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {DOMAIN}\r\nAuthorization: Bearer {KEY}\r\n"
    sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=DOMAIN)
        try:
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(-1), 300)
        finally:
            writer.close()
        return answer.count(b"data: "), b"data: [DONE]" in answer

    return await asyncio.gather(*(one() for _ in range(count)))
