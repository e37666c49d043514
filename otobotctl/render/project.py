"""One Compose project out of the folders of its services: every template rendered, every container checked."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render import compose, engine, layout, package, patience, provision
from otobotctl.render.release import RenderedFile, RenderedRelease, release

if TYPE_CHECKING:
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.engine import SecretView
    from otobotctl.render.service import ServiceTemplate

FRAGMENT = "compose.yaml.j2"
EACH = "each-client"


@dataclass(frozen=True)
class Part:
    """One service of a project. `variables` are what its templates see; `each`, what differs in each client's files."""

    service: ServiceTemplate
    image: str
    offset: int
    secrets: SecretView
    variables: Mapping[str, Any]
    each: Mapping[str, Mapping[str, Any]]


def render_project(client: str, parts: Sequence[Part], catalog: Catalog) -> RenderedRelease:
    """Render every part and merge the fragments into one compose.yaml. Raises ManifestError."""
    files: dict[str, RenderedFile] = {}
    project: compose.Tree = {"name": layout.project(client), "services": {}}
    public: set[str] = set()
    for part in parts:
        files.update({file.path: file for file in (*_files(part, catalog), *_plain(part.service, catalog))})
        fragment = _fragment(part, catalog)
        public.update(fragment["services"] if part.service.public else ())
        project = compose.merge(project, fragment)
    services: dict[str, compose.Tree] = project["services"]
    for name, tree in services.items():
        if f"env/{name}.env" in files:
            tree["env_file"] = [f"./env/{name}.env"]
        _check_dependencies(name, tree, services)
    compose.check(services, lambda name: name in public)
    compose.label(services, files)
    _declare(project, parts)
    files["compose.yaml"] = RenderedFile("compose.yaml", compose.dump(project))
    images = {name: str(tree.get("image", "")) for name, tree in services.items()}
    stateful = [part.service.name for part in parts if part.service.engine or part.service.databases]
    smoke = [
        {"service": part.service.name, "argv": list(test.argv), "timeout_s": test.timeout_s}
        for part in parts
        for test in part.service.smoke
    ]
    made = release(client, project["name"], files.values(), images, stateful, patience.wait_s(services), smoke)
    said = [(part, part.service.provision) for part in parts]
    provisions = [provision.rendered(part, each, catalog) for part, each in said if each]
    # A program that would be asked about nothing is not started.
    return replace(made, provisions=tuple(each for each in provisions if each.items))


def _fragment(part: Part, catalog: Catalog) -> compose.Tree:
    """Return the part's containers: its own by service.yaml, with its fragment over it, and the fragment's helpers."""
    service = part.service
    own = compose.container(service, part.image, part.variables["settings"], part.offset)
    if service.networks:
        own["networks"] = {
            name: {"aliases": [part.variables["alias"]]} if name == "edge" else {} for name in _networks(part)
        }
    name = f"{service.name}/{FRAGMENT}"
    fragment: compose.Tree = {"services": {}}
    if name in catalog.sources:
        fragment |= compose.parse(engine.render(catalog, name, {**part.variables, "secrets": _none(part)}), name)
    below = {
        key: own if key == service.name else compose.hardening() for key in {service.name: None, **fragment["services"]}
    }
    return {**fragment, "services": compose.merge(below, fragment["services"])}


def _files(part: Part, catalog: Catalog) -> Iterator[RenderedFile]:
    service = part.service.name
    apart = {FRAGMENT, part.service.provision.items if part.service.provision else "", part.service.guide}
    for name in catalog.sources:
        folder, _, inside = name.partition("/")
        if folder != service or inside in apart or posixpath.basename(inside).startswith("_"):
            continue
        path = inside.removesuffix(".j2")
        if path.endswith(".env"):
            text = engine.render(catalog, name, {**part.variables, "secrets": part.secrets})
            if text.strip():
                yield RenderedFile(f"env/{path}", text.encode(), 0o600, secret=True)
        elif EACH in path:
            for slug, variables in part.each.items():
                text = engine.render(catalog, name, {**part.variables, **variables, "secrets": _none(part)})
                yield RenderedFile(f"{service}/{path.replace(EACH, slug)}", text.encode())
        else:
            text = engine.render(catalog, name, {**part.variables, "secrets": _none(part)})
            yield RenderedFile(f"{service}/{path}", text.encode(), 0o755 if path.endswith(".sh") else 0o644)


def _networks(part: Part) -> tuple[str, ...]:
    return compose.networks(part.service, part.variables["settings"])


def _plain(service: ServiceTemplate, catalog: Catalog) -> Iterator[RenderedFile]:
    """The service's files that are no templates, as they are, and each package as one tar."""
    apart = (*service.packages, *(each.choices_from for each in service.settings.values() if each.choices_from))
    for path, content in catalog.plain_files(service.name).items():
        if not path.startswith(tuple(f"{folder}/" for folder in apart)):
            yield RenderedFile(f"{service.name}/{path}", content)
    for folder in service.packages:
        content = package.pack(catalog.plain_files(f"{service.name}/{folder}"))
        yield RenderedFile(f"{service.name}/{folder}.tar", content)


def _none(part: Part) -> SecretView:
    return engine.NoSecrets(part.service.name)


def _check_dependencies(name: str, tree: compose.Tree, services: Mapping[str, compose.Tree]) -> None:
    for other in tree.get("depends_on", {}):
        if other not in services:
            raise ManifestError(
                f"{name} waits for {other}, which is not among the services: {', '.join(services)}",
                hint=f"add the service of {other}, or leave out {name}",
            )


def _declare(project: compose.Tree, parts: Sequence[Part]) -> None:
    """Declare the networks and volumes that service.yaml files name; a fragment may have said more about them."""
    networks = dict.fromkeys(network for part in parts for network in _networks(part))
    volumes = dict.fromkeys(volume.name for part in parts for volume in part.service.volumes)
    said = {
        "networks": compose.declared(networks),
        "volumes": {name: {} for name in volumes},
    }
    for key, tree in said.items():
        merged = compose.merge(tree, project.pop(key, {}))
        if merged:
            project[key] = merged
