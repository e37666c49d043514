"""One compose.yaml out of what service.yaml says and the services' own fragments."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render.document import parse_yaml

if TYPE_CHECKING:
    from otobotctl.render.release import RenderedFile
    from otobotctl.render.service import ServiceTemplate

Tree = dict[str, Any]

INTERNAL = "data"
TUNNEL = "tunnel"
DRAIN, DIGEST = "otobot.drain", "otobot.digest"


def container(service: ServiceTemplate, image: str, settings: Mapping[str, Any], offset: int) -> Tree:
    """Return what every service's own container has, before its fragment is laid over it."""
    tree: Tree = {"image": image, **hardening(), "restart": "unless-stopped"}
    if service.build:
        tree["pull_policy"] = "never"  # nobody else may offer an image of this name
    if service.depends:
        tree["depends_on"] = {name: {"condition": condition} for name, condition in service.depends.items()}
    ports = published(service, settings, offset)
    if ports:
        tree["ports"] = [f"127.0.0.1:{ports[name]}:{service.ports[name].container}" for name in ports]
    if service.volumes:
        tree["volumes"] = [f"{v.name}:{v.path}{':ro' if v.read_only else ''}" for v in service.volumes]
    if service.health:
        health = service.health
        tree["healthcheck"] = {
            "test": ["CMD", *health.test],
            "interval": f"{health.interval_s}s",
            "timeout": f"{health.timeout_s}s",
            "retries": health.retries,
            "start_period": f"{health.start_period_s}s",
            # Engine 25 and newer.
            "start_interval": f"{health.start_interval_s}s",
        }
    if "memory" in settings:
        tree["mem_limit"] = settings["memory"]
    tree["pids_limit"] = service.limits.pids
    if service.stateless:
        tree["labels"] = {DRAIN: str(service.drain_s)}
    return tree


def published(service: ServiceTemplate, settings: Mapping[str, Any], offset: int) -> dict[str, int]:
    """Return the service's ports on the host's 127.0.0.1, by the names that service.yaml gives them."""
    if not settings.get("published", True):
        return {}
    return {name: port.base + offset for name, port in service.ports.items() if port.base is not None}


def networks(service: ServiceTemplate, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the networks of a service: those of service.yaml, and one to publish through where those are internal."""
    through = TUNNEL if set(service.networks) <= {INTERNAL} and published(service, settings, 0) else ""
    return (*service.networks, *([through] if through else []))


def declared(names: Iterable[str]) -> Tree:
    """Return what a project says of its networks. Databases reach nothing outside, and nothing outside reaches them."""
    said: Mapping[str, Tree] = {
        INTERNAL: {"internal": True},
        # Docker publishes no port of an internal network. Without masquerading nothing finds its way out of this one.
        TUNNEL: {"driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"}},
    }
    return {name: said.get(name, {}) for name in names}


def hardening() -> Tree:
    """Return what every container has, a fragment's helpers too."""
    return {
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": ["ALL"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
    }


def merge(below: Any, above: Any) -> Any:
    """Lay `above` over `below`: mappings merge key by key, lists are joined, anything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            merged[key] = merge(merged[key], value) if key in merged else value
        return merged
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    return above


def label(services: Mapping[str, Tree], files: Mapping[str, RenderedFile]) -> None:
    """Label each container with the digest of the files it reads: Compose then recreates just those that changed.

    It does not look into mounted files by itself. A stateless one also has the digest of all that is said of it, so
    that a deploy can tell whether it has to change. Raises ManifestError for a file that is not part of the release.
    """
    for name, tree in services.items():
        total = hashlib.sha256()
        for path in _own_files(tree):
            if path not in files:
                raise ManifestError(
                    f"the container {name} mounts ./{path}, which is no file of its release",
                    hint="mount single files that a template renders; a folder would go when its release is pruned",
                )
            total.update(f"{path}\0{files[path].mode:o}\0{len(files[path].content)}\0".encode())
            total.update(files[path].content)
        tree["labels"] = {**tree.get("labels", {}), "otobot.config": total.hexdigest()[:32]}
    for name, tree in services.items():
        if DRAIN in tree["labels"]:
            # Compose replaces a container, too, when one that it waits for is replaced.
            all_of_it = {each: services[each] for each in sorted(_waited_for(name, services))}
            said = json.dumps(all_of_it, sort_keys=True, default=str).encode()
            tree["labels"][DIGEST] = hashlib.sha256(said).hexdigest()[:32]


def _waited_for(name: str, services: Mapping[str, Tree]) -> set[str]:
    """A service and all that it waits for, directly or not."""
    known: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in known and one in services:
            known.add(one)
            waiting += services[one].get("depends_on", {})
    return known


def _own_files(tree: Tree) -> list[str]:
    sources = [mount.split(":")[0] for mount in tree.get("volumes", ()) if mount.startswith("./")]
    return sorted(posixpath.normpath(path) for path in {*sources, *tree.get("env_file", ())})


def check(services: Mapping[str, Tree], public: Callable[[str], bool]) -> None:
    """Refuse containers that listen in public, run with privileges or without a pinned image. Raises ManifestError."""
    for name, tree in services.items():
        wrong = [f"publishes {port}" for port in tree.get("ports", ()) if not public(name) and not _loopback(port)]
        wrong += [f"sets {key}" for key in ("privileged", "pid", "ipc", "cgroup_parent") if key in tree]
        wrong += ["is on the host's network"] if tree.get("network_mode") == "host" else []
        tag = str(tree.get("image", "")).rpartition(":")[2]
        wrong += ["has no pinned image"] if not tag or "/" in tag or tag == "latest" else []
        if wrong:
            raise ManifestError(f"the container {name} {' and '.join(wrong)}", hint="correct its template")


def _loopback(port: Any) -> bool:
    return isinstance(port, str) and port.startswith("127.0.0.1:")


def dump(project: Tree) -> bytes:
    """Return the project as YAML with its keys in their order. `$` is doubled: Compose substitutes nothing."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, _data: object) -> bool:
            return True

    text: str = yaml.dump(
        _escape(project), Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return ("# Written by otobotctl; a deploy writes it anew.\n" + text).encode()


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escape(inner) for inner in value]
    return value


def parse(text: str, name: str) -> Tree:
    """Return a rendered fragment. Raises ManifestError naming the template `name`."""
    where = f"templates/services/{name}"
    tree = parse_yaml(text, where)
    unknown = [] if not isinstance(tree, dict) else sorted(tree.keys() - {"services", "networks", "volumes"})
    if not isinstance(tree, dict) or unknown:
        raise ManifestError(
            f"templates/services/{name}: may hold services, networks and volumes; found {unknown or tree}"
        )
    return tree
