"""What a manifest says of IA Interne: the host's stack, names of models, and who may ask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from otobotctl.manifest import words
from otobotctl.manifest.document import objects, texts
from otobotctl.manifest.findings import Finding, Path

STACK = "gpu"
# A library's name, or a registry's before it, and a tag: mistral:7b, hf.co/someone/model:Q4_K_M.
MODEL = r"[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}:[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
# One of Hugging Face's, as vLLM names it, and perhaps a revision: a branch, a tag or a commit.
REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}(@[A-Za-z0-9][A-Za-z0-9._-]{0,79})?"
PURPOSE = r"[a-z][a-z0-9]{0,19}"

Objects = Mapping[str, Mapping[str, Any]]


def name_of(domain: str) -> str:
    """A domain in the one way that it is written here: lower case, without the dot of the root."""
    return domain.rstrip(".").lower()


def served(engine: str, models: Iterable[str]) -> tuple[str, ...]:
    """The names that callers ask for: a model of vLLM's without its revision."""
    return tuple(model.partition("@")[0] if engine == "vllm" else model for model in models)


def check(hosts: Objects, clients: Objects, tls: object) -> Iterator[Finding]:
    """Yield what is wrong with the GPU hosts among `hosts`; their settings are judged where they are rendered.

    `tls` is where certificates come from for hosts that do not say so.
    """
    domains: dict[str, str] = {}
    for slug, client in clients.items():
        domains[name_of(str(client.get("domain", "")))] = f"clients.{slug}"
    for name, host in hosts.items():
        gpu = host.get("gpu")
        if host.get("stack") == STACK and gpu is None:
            yield Finding(("hosts", name, "gpu"), "is missing", f"otobotctl gpu setup {name} --domain ... --email ...")
        if not isinstance(gpu, dict):
            continue
        path: Path = ("hosts", name, "gpu")
        if host.get("stack", "client-vps") != STACK:
            yield Finding(("hosts", name, "stack"), "is not gpu, yet it has a `gpu`", f'write "stack": "{STACK}"')
        yield from _words(path, gpu)
        yield from _models(path, gpu) if gpu.get("engine") != "vllm" else _model(path, gpu)
        yield from _callers(path, objects(gpu, "callers"), clients)
        domain = name_of(str(gpu.get("domain", "")))
        first = domains.setdefault(domain, f"hosts.{name}.gpu")
        if first.startswith("clients."):
            yield Finding((*path, "domain"), f"{domain} is {first}'s", "give it a name of its own")
    yield from _pools(hosts, tls)


def _pools(hosts: Objects, tls: object) -> Iterator[Finding]:
    """Hosts of one domain answer for each other: the same certificates, and each is to be reached by the others."""
    first: dict[str, str] = {}
    reached: dict[tuple[str, str], str] = {}
    pools: dict[str, list[str]] = {}
    for name, host in hosts.items():
        if isinstance(host.get("gpu"), dict):
            pools.setdefault(name_of(str(host["gpu"].get("domain", ""))), []).append(name)
    for domain, names in pools.items():
        for name in names if len(names) > 1 else ():
            gpu, path = hosts[name]["gpu"], ("hosts", name, "gpu")
            other = first.setdefault(domain, name)
            if (gpu.get("tls") or tls) != (hosts[other]["gpu"].get("tls") or tls):
                problem = f"is not what hosts.{other} has, which answers at {domain} too"
                yield Finding((*path, "tls"), problem, "write the same for both")
            address = str(gpu.get("peer_address") or hosts[name].get("address", ""))
            wrong = words.address(address)
            if wrong or address == "local":
                problem = f'"{address}" is no address that the other hosts of {domain} reach it at'
                yield Finding((*path, "peer_address"), problem, "write one, such as 10.0.0.2")
            elif reached.setdefault((domain, words.same_address(address)), name) != name:
                problem = f"{address} is hosts.{reached[domain, words.same_address(address)]}'s"
                yield Finding((*path, "peer_address"), problem, "write where the others reach this host")


def _words(path: Path, gpu: Mapping[str, Any]) -> Iterator[Finding]:
    for key, look in (("domain", words.domain), ("email", words.email)):
        wrong = look(gpu[key]) if isinstance(gpu.get(key), str) else None
        if wrong:
            yield Finding((*path, key), *wrong)


def _models(path: Path, gpu: Mapping[str, Any]) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, model in texts(gpu.get("models")):
        here: Path = (*path, "models", place)
        if not re.fullmatch(MODEL, model):
            # Without a tag it would be whatever is the latest on the day.
            yield Finding(here, f'"{model}" is not a model with its tag', "write it like mistral:7b")
        elif model in seen:
            yield Finding(here, f'"{model}" is there twice', "keep one")
        seen.add(model)


def _model(path: Path, gpu: Mapping[str, Any]) -> Iterator[Finding]:
    """What vLLM wants: one model, which it has from the moment it starts, and a card."""
    models = list(texts(gpu.get("models")))
    if gpu.get("cpu") is True:
        yield Finding((*path, "engine"), "vllm needs a card, and `cpu` says there is none", 'write "engine": "ollama"')
    if len(models) != 1:
        problem = f"vllm serves one model, and here are {len(models)}"
        yield Finding((*path, "models"), problem, "name one, such as mistralai/Mistral-7B-Instruct-v0.3")
    for place, model in models:
        if not re.fullmatch(REPOSITORY, model):
            problem = f'"{model}" is no model of Hugging Face\'s, which vllm wants'
            yield Finding((*path, "models", place), problem, "write it like mistralai/Mistral-7B-Instruct-v0.3")


def _callers(path: Path, callers: Objects, clients: Objects) -> Iterator[Finding]:
    for slug, caller in callers.items():
        here: Path = (*path, "callers", slug)
        if slug not in clients:
            yield Finding(here, f'there is no client "{slug}"', words.suggest(slug, clients))
        for place, purpose in texts(caller.get("purposes")):
            if not re.fullmatch(PURPOSE, purpose):
                yield Finding((*here, "purposes", place), f'"{purpose}" is not a purpose', "use a-z and 0-9: librechat")
