"""First chapter: from nothing to a sealed, valid, rendered client."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.story.operator import Operator
from scripts.story.proof import Story, require

CLIENT = "acme"
DOMAIN = "acme.example"
MANIFEST = "clients-config.json"
EXIT_MANIFEST = 10


@dataclass(frozen=True)
class Rendered:
    """A client's files on disk, as a deploy would upload them."""

    directory: Path

    def environment(self, name: str) -> dict[str, str]:
        """The variables of `env/<name>.env`, as Compose would read them."""
        lines = (self.directory / "env" / f"{name}.env").read_text(encoding="utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {key: value.strip("'\"") for key, _, value in pairs}


def tell(story: Story, operator: Operator, address: str = "203.0.113.10", host: str = "vps-1") -> None:
    """Make the fleet, its host and its client, and check what stands in it."""
    story.chapter("A fleet, a host, a client")
    with story.proof("a fleet is made") as proof:
        made = operator.do("init", str(operator.fleet))
        proof.evidence = f"{len(made['made'])} files, sealed for {len(made['recipients'])} recipient"
    with story.proof("a host and a client are added") as proof:
        operator.do("host", "add", host, "--address", address, "--user", "ubuntu", "--docker", "distribution")
        created = operator.do("client", "create", CLIENT, *about(host))
        proof.evidence = f"{CLIENT} on {host}, {len(created['minted'])} secrets minted"
    with story.proof("the manifest is valid") as proof:
        valid = operator.do("manifest", "validate")
        proof.evidence = f"{valid['hosts']} host, {valid['clients']} client"
    _tell_refusal(story, operator)


def about(host: str) -> tuple[str, ...]:
    """The options of the demo's client."""
    return (
        *("--company", "ACME SAS", "--email", f"it@{DOMAIN}"),
        *("--host", host, "--domain", DOMAIN, "--tls", "self-signed"),
    )


def _tell_refusal(story: Story, operator: Operator) -> None:
    with story.proof("a wrong manifest is refused whole") as proof:
        wrong = operator.home / "wrong"
        shutil.copytree(operator.fleet, wrong)
        document = json.loads((wrong / MANIFEST).read_text(encoding="utf-8"))
        document["clients"][CLIENT] |= {"domain": "acme", "host": "nowhere", "email": "nobody"}
        (wrong / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
        refused = operator.run("manifest", "validate", extra={"OTOBOTCTL_FLEET": str(wrong)})
        require(refused["exit"] == EXIT_MANIFEST, f"exit code {refused['exit']}")
        findings = refused["error"]["details"]
        told = "\n".join(findings)
        require(all(f"clients.{CLIENT}.{key}" in told for key in ("domain", "host", "email")), f"it said only: {told}")
        proof.evidence = f"exit 10, {len(findings)} findings with paths"


def tell_rendering(story: Story, operator: Operator, directory: Path) -> Rendered:
    """Render the client twice, compare, and prove what is in it."""
    story.chapter("Secrets and renderings")
    first, second = Rendered(directory / "release"), Rendered(directory / "again")
    with story.proof("a second render is byte-equal") as proof:
        digests = {
            operator.do("client", "render", CLIENT, "--out", str(one.directory))["digest"] for one in (first, second)
        }
        files = _contents(first.directory)
        require(files == _contents(second.directory), "the two renderings differ")
        require(len(digests) == 1, "the two digests differ")
        shutil.rmtree(second.directory)
        proof.evidence = f"{len(files)} files, digest {digests.pop()[:12]}"
    values = _secrets(first)
    with story.proof("secrets stand sealed, and open with age") as proof:
        opener, plain = _open_sealed(operator)
        require(all(value in plain for value in values), "the sealed store lacks a value that was rendered")
        shown = [
            path for path, (data, _) in _contents(operator.fleet).items() if any(v.encode() in data for v in values)
        ]
        require(not shown, f"plain values in {', '.join(shown)}")
        proof.evidence = f"{len(values)} values, none in clear; opened by {opener}"
    with story.proof("rendered secrets are 0600 from birth") as proof:
        held = {path: mode for path, (data, mode) in files.items() if any(value.encode() in data for value in values)}
        require(set(held.values()) == {0o600}, f"modes {held}")
        proof.evidence = f"{len(held)} of {len(files)} files hold any"
    _tell_ports(story, first)
    return first


def _tell_ports(story: Story, rendered: Rendered) -> None:
    import yaml

    with story.proof("no port of the client is public") as proof:
        compose = yaml.safe_load((rendered.directory / "compose.yaml").read_text(encoding="utf-8"))
        ports = [str(port) for service in compose["services"].values() for port in service.get("ports", ())]
        require(ports and all(port.startswith("127.0.0.1:") for port in ports), f"published: {ports}")
        proof.evidence = f"published: {', '.join(ports)}"


def _secrets(rendered: Rendered) -> list[str]:
    names = ("POSTGRES_PASSWORD", "VAULT_OWNER_PASSWORD", "VAULT_RUNTIME_PASSWORD", "ENCRYPTION_MASTER_KEY")
    holders = ("postgres-init", "vault-migrate", "vault-api")
    found = {name: value for holder in holders for name, value in rendered.environment(holder).items()}
    own = ("N8N_INTERNAL_TOKEN", "N8N_NODE_TOKEN", "API_JWT_SECRET", "AUDIT_HMAC_KEY", "VAULT_OPERATOR_TOKEN")
    return [found[name] for name in (*names, *own)]


def _open_sealed(operator: Operator) -> tuple[str, str]:
    """What is inside secrets.age: by the stock tool where it is installed, else by the library."""
    sealed = operator.fleet / "clients" / CLIENT / "secrets.age"
    identity = next((operator.home / ".config" / "otobotctl").glob("*"))
    if shutil.which("age"):
        argv = ("age", "--decrypt", "--identity", str(identity), str(sealed))
        return "age -d", subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    import pyrage

    key = next(line for line in identity.read_text(encoding="ascii").splitlines() if line.startswith("AGE-SECRET-KEY-"))
    opened: bytes = pyrage.decrypt(sealed.read_bytes(), [pyrage.x25519.Identity.from_str(key)])
    return "pyrage", opened.decode()


def _contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and mode, by its path."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in found}
