"""Last chapter, where the machine can: a real throw-away host over SSH, its client opened through nginx."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl.vault_api import contract
from scripts.story import fleet, place
from scripts.story.credential import TOKEN
from scripts.story.proof import Story, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.story.operator import Operator
    from tests.lab.host import Host
    from tests.lab.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
HOST = "vps-lab"
CLIENT = "lab"
DOMAIN = "lab.example"


class NoLabError(Exception):
    """There can be no real host here; the text says why."""


def open_lab(stack: ExitStack) -> Lab:
    """Open the lab until the stack is closed. Raises NoLabError where this machine cannot have one."""
    try:
        from tests.lab.lab import Lab, missing
        from tests.lab.shell import LabError
    except ImportError:
        raise NoLabError("this checkout has no tests/lab") from None
    if reason := missing():
        raise NoLabError(reason)
    lab = Lab()
    stack.callback(_close, lab)
    try:
        lab.open()
    except (LabError, OSError) as error:  # for example root in a container that may not mount
        raise NoLabError(str(error).strip().partition("\n")[0]) from error
    return lab


def _close(lab: Lab) -> None:
    with place.undisturbed():
        lab.close()


def tell(story: Story, operator: Operator, lab: Lab) -> None:
    """Boot a host, deploy a client to it, look through its front door, and apply again."""
    story.chapter("A real host over SSH")
    with story.proof("a throw-away Debian host boots") as proof:
        host, base = _boot(lab)
        proof.evidence = f"systemd and sshd at {host.address}"
    _tell_trust(story, operator, host)
    _tell_provisioning(story, operator, host, base)
    with story.proof("one command deploys a client") as proof:
        options = ("--company", "Lab SAS", "--email", f"it@{DOMAIN}", "--host", HOST, "--domain", DOMAIN)
        done = operator.do("client", "create", CLIENT, *options, "--tls", "self-signed", "--deploy")
        proof.evidence = f"{done['executions']} remote executions, {len(done['changed'])} steps"
    with story.proof("nginx opens it over https") as proof:
        health = https_health(host.address, DOMAIN)
        require(health["status"] == "ok" and health["service"] == contract.SERVICE, f"it answered {health}")
        proof.evidence = f"https://{DOMAIN}{contract.HEALTH_PATH} says ok"
    _tell_credential(story, operator, host)
    with story.proof("a second apply changes nothing") as proof:
        host.mark_sessions()
        again = operator.do("host", "apply", HOST)
        require(not again["changed"], f"it changed {', '.join(again['changed'])}")
        counted = host.sessions()
        require(again["executions"] == counted == 1, f"{again['executions']} executions, sshd counted {counted}")
        proof.evidence = "1 execution by sshd's own log, 0 changes"


def _boot(lab: Lab) -> tuple[Host, str]:
    """Boot a host: plain the first time, later one that an earlier demo provisioned. Returns that base's name too."""
    from tests.lab import bases, debian, registry
    from tests.lab.pool import Pool

    plain = bases.warm(lab)
    made_by = [
        path for room in ("playbooks", "otobotctl/agent", "otobotctl/plan") for path in (ROOT / room).rglob("*.*")
    ]
    sources = sorted(path for path in made_by if path.suffix in {".py", ".yaml"})
    base = f"provisioned-{debian.digest(plain, *sources)}"
    lab.start_registry()
    host = lab.boot(plain if Pool.find(base) is None else base, HOST, registry.NAMES)
    host.inside("systemctl", "is-system-running", "--wait", check=False)  # a service that still starts is a difference
    return host, base


def _tell_provisioning(story: Story, operator: Operator, host: Host, base: str) -> None:
    from tests.lab import bases
    from tests.lab.pool import Pool

    with story.proof("the host is provisioned and hardened") as proof:
        done = operator.do("host", "apply", HOST)
        changed = len(done["changed"])
        if Pool.find(base) is not None:
            require(not changed, f"it changed {', '.join(done['changed'])}")
            proof.evidence = "by an earlier demo, which kept it: 0 changes"
        else:
            bases.keep(host, base)
            proof.evidence = f"{done['executions']} remote executions, {changed} steps; kept for the next demo"


def _tell_trust(story: Story, operator: Operator, host: Host) -> None:
    with story.proof("the host's key is pinned by fingerprint") as proof:
        operator.ssh_config.write_text(f"Host *\n  IdentityFile {host.key}\n  IdentitiesOnly yes\n", encoding="utf-8")
        words = ("--address", host.address, "--user", host.user, "--docker", "distribution")
        operator.do("host", "add", HOST, *words)
        fingerprint = _fingerprint(next(key for key in host.host_keys() if key.startswith("ssh-ed25519 ")))
        operator.do("host", "trust", HOST, "--host-key", fingerprint)
        proof.evidence = f"{fingerprint[:21]}…"


def _fingerprint(key: str) -> str:
    """The SHA256 fingerprint of a public key line, as ssh-keygen writes it."""
    from base64 import b64decode, b64encode
    from hashlib import sha256

    return "SHA256:" + b64encode(sha256(b64decode(key.split()[1])).digest()).decode().rstrip("=")


def https_health(address: str, domain: str) -> Any:
    """GET https://<domain>/health at that address; the certificate signs itself, so only its name is looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = f"GET {contract.HEALTH_PATH} HTTP/1.0\r\nHost: {domain}\r\n\r\n".encode()
    with (
        socket.create_connection((address, 443), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=domain) as line,
    ):
        line.sendall(request)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    require(b" 200 " in head.splitlines()[0], f"nginx answered {head.splitlines()[0].decode()}")
    return json.loads(body)


def _tell_credential(story: Story, operator: Operator, host: Host) -> None:
    with story.proof("n8n's call works on the host") as proof:
        out = operator.home / "lab-release"
        operator.do("client", "render", CLIENT, "--out", str(out))
        known = fleet.Rendered(out).environment("vault-api")
        tokens = {contract.TOKEN_HEADER: known["N8N_INTERNAL_TOKEN"], contract.NODE_HEADER: known["N8N_NODE_TOKEN"]}
        user = str(uuid.uuid4())
        _curl(host, tokens, contract.user_path(user), {"email": f"lea@{DOMAIN}"})
        _curl(host, tokens, contract.credentials_path(user, "notion"), {"apiKey": TOKEN})
        read = _curl(host, tokens, contract.credentials_path(user, "notion"))
        require(read["credentials"] == {"apiKey": TOKEN}, "another value came back")
        proof.evidence = f"stored and read at 127.0.0.1:{contract.PORT}"


def _curl(host: Host, tokens: Mapping[str, str], path: str, body: dict[str, str] | None = None) -> Any:
    """Ask the vault on the host's loopback; tokens and body travel on stdin, so that `ps` there shows neither."""
    lines = [f'url = "http://127.0.0.1:{contract.PORT}{path}"']
    lines += [f'header = "{name}: {token}"' for name, token in tokens.items()]
    if body is not None:
        lines += ["request = PUT", f"data = {json.dumps(json.dumps(body))}"]
    command = shlex.join(("curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--config", "-"))
    return json.loads(host.ssh(command, input="\n".join(lines) + "\n").stdout)
