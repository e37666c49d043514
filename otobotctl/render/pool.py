"""Several GPU hosts behind one name: what their proxies have to know of each other. Pure.

Each is a front: it looks at keys and hands the request to one of them, perhaps itself. They speak TLS, and each shows
a certificate that it signed for itself; the others trust exactly those of the hosts of their name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.render import engine
from otobotctl.render.settings import chosen
from otobotctl.secrets import certificate

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import Peer, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.secrets import Secret

PROXY = "ia-proxy"
TEMPLATE = f"{PROXY}/_pool.caddy.j2"
CHALLENGE = f"{PROXY}/_challenge.caddy.j2"
CREATED = 1755734400  # of what is listed: nobody asks when a model was made


@dataclass(frozen=True)
class PoolFile:
    """A file of /etc/otobot/ia-proxy."""

    name: str
    content: str
    secret: bool = False


def server_name(domain: str) -> str:
    """The name that the hosts of a domain call each other by; no address is behind it."""
    return f"peers.{domain}"


def files(host: ResolvedHost, seeds: Mapping[str, Secret], catalog: Catalog) -> tuple[PoolFile, ...]:
    """Return the files of a host, by the secrets of all hosts of its pool; the last one names the others' digest."""
    if host.gpu is None:
        raise ValueError(f"{host.name} is no GPU host")
    dns = server_name(host.gpu.domain)
    own = {name: certificate.self_signed(bytes.fromhex(seed.reveal()), name, dns) for name, seed in seeds.items()}
    service = catalog.service(PROXY)
    settings = chosen(service, (host.gpu.settings.get(PROXY, {}),), f"hosts.{host.name}.gpu.settings")
    others = [f"{_address(peer)}:80" for peer in host.pool if peer.name != host.name]
    said = {"gpu": host.gpu, "settings": settings, "name": dns, "others": others}
    variables = {**said, "parts": parts(host.pool, host.name)}
    made = (
        PoolFile("pool.caddy", engine.render(catalog, TEMPLATE, variables)),
        PoolFile("challenge.caddy", engine.render(catalog, CHALLENGE, variables)),
        PoolFile("trust.caddy", "".join(f"trusted_ca_cert {_body(own[peer.name])}\n" for peer in host.pool)),
        PoolFile("peers.pem", "".join(own[peer.name] for peer in host.pool)),
        PoolFile("peer.pem", own[host.name]),
        PoolFile("peer.key", certificate.key(bytes.fromhex(seeds[host.name].reveal())), secret=True),
    )
    return (*made, PoolFile("digest.caddy", f'respond /pool "{digest(made)}"\n'))


def _body(pem: str) -> str:
    """A certificate as Caddy has one in its configuration; of a file it would read the first one alone."""
    return "".join(pem.splitlines()[1:-1])


def digest(made: Iterable[PoolFile]) -> str:
    """What the proxy answers to whom asks which files it has read."""
    total = hashlib.sha256()
    for each in made:
        total.update(f"{each.name}\0{len(each.content)}\0{each.content}".encode())
    return total.hexdigest()


def parts(pool: Sequence[Peer], own: str) -> list[dict[str, Any]]:
    """Which hosts answer what, seen from `own`: below /api those with Ollama, else by the model that is asked for."""
    ollama = [peer for peer in pool if peer.engine == "ollama"]
    rest = _part("", pool, own)
    return [rest] if len(ollama) in (0, len(pool)) else [_part("/api/*", ollama, own), rest]


def _part(path: str, hosts: Sequence[Peer], own: str) -> dict[str, Any]:
    models = list(dict.fromkeys(model for peer in hosts for model in peer.models))
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        groups.setdefault(tuple(peer.name for peer in hosts if model in peer.models), []).append(model)
    differ = any(set(peer.models) != set(models) for peer in hosts)
    return {
        "path": path,
        "hosts": [_described(peer, own) for peer in hosts],
        # Where every host has every model, the pattern only has the request read: then another host can be tried.
        "choices": [
            {"pattern": pattern(of), "hosts": [_described(peer, own) for peer in hosts if peer.name in names]}
            for names, of in groups.items()
        ],
        "listed": _listed(models) if differ and not path else "",
    }


def pattern(models: Iterable[str]) -> str:
    """What is in a request for one of these models, in Go's regular expressions: its `model`, not one in a question.

    A quotation mark inside of a text of JSON has a backslash before it, so it is none of these; a slash may have one.
    """
    names = "|".join(re.escape(model).replace("\\-", "-").replace("/", r"\\?/") for model in models)
    return rf'"model"\s*:\s*"({names})"'


def _described(peer: Peer, own: str) -> dict[str, str]:
    """Where a host is: itself beside its proxy, since the way from a container by the host's address may be shut."""
    address = "127.0.0.1" if peer.name == own else _address(peer)
    return {"name": peer.name, "at": f"{address}:443"}


def _address(peer: Peer) -> str:
    return f"[{peer.address}]" if ":" in peer.address else peer.address


def _listed(models: Iterable[str]) -> str:
    rows = [{"id": model, "object": "model", "created": CREATED, "owned_by": "library"} for model in models]
    return json.dumps({"object": "list", "data": rows})
