"""The containers of a host's clients: how they are, where they listen and what they can reach."""

from __future__ import annotations

import json
import re

from tests.lab.host import Host

_PORTS = {
    "postgres": 5432,
    "redis": 6379,
    "mongo": 27017,
    "vault-api": 3001,
    "n8n": 5678,
    "tooljet": 8082,
    "librechat": 3080,
}
_CONNECT = """
const net = require("net"), wanted = JSON.parse(process.argv[1]);
Promise.all(wanted.map(([host, port]) => new Promise((done) => {
  const line = net.connect({host, port, timeout: 4000});
  const end = (yes) => { line.destroy(); done(yes); };
  line.on("connect", () => end(true)).on("error", () => end(false)).on("timeout", () => end(false));
}))).then((found) => console.log(JSON.stringify(found)));
"""


def containers(host: Host, project: str) -> list[dict]:
    """What Docker says of each container of a project that is there to stay."""
    listed = f"docker ps --all --quiet --no-trunc --filter label=com.docker.compose.project={project}"
    found = json.loads(host.ssh(f"docker inspect $({listed})", user="root").stdout)
    return [each for each in found if each["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"]


def service(container: dict) -> str:
    """The name of its service."""
    return container["Config"]["Labels"]["com.docker.compose.service"]


def all_healthy(host: Host, project: str) -> bool:
    """Whether every container that is there to stay says so."""
    return all(each["State"].get("Health", {}).get("Status") == "healthy" for each in containers(host, project))


def worked(host: Host) -> int:
    """How many executions the workers' logs tell of."""
    names = [each["Name"].lstrip("/") for each in containers(host, "otobot-acme") if service(each) == "n8n-worker"]
    said = "".join(host.ssh(f"docker logs {name} 2>&1", user="root").stdout for name in names)
    return len(re.findall(r"Worker finished execution \d+", said))


def places(host: Host, client: str) -> set[tuple[str, int]]:
    """Where a client's containers listen: each of their addresses and names, with each port."""
    found = set()
    for each in containers(host, f"otobot-{client}"):
        if port := _PORTS.get(service(each)):
            networks = each["NetworkSettings"]["Networks"].values()
            names = {
                each["Name"].lstrip("/"),
                f"{service(each)}.{client}",
                *(network["IPAddress"] for network in networks),
            }
            found |= {(name, port) for name in names}
    return found


def reached(host: Host, container: str, wanted: list[tuple[str, int]]) -> set[tuple[str, int]]:
    """Which of these a program in a container can connect to; its own services are among them by their plain names."""
    tried = sorted({*wanted, ("postgres", 5432), ("vault-api", 3001)})
    words = ["docker", "exec", container, "node", "-e", _CONNECT, json.dumps(tried)]
    found = json.loads(host.inside(*words).stdout)
    return {place for place, yes in zip(tried, found, strict=True) if yes}
