"""Every service and stack that this installation can run, read once from `templates/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from otobotctl import shapes
from otobotctl.data import data_dir
from otobotctl.errors import ManifestError
from otobotctl.manifest.models import ENVIRONMENTS, Backup
from otobotctl.manifest.shape import ServiceShape, SettingShape
from otobotctl.render import backups, ia_keys
from otobotctl.render.document import parse_yaml
from otobotctl.render.image import BuiltImage, read_context
from otobotctl.render.service import ServiceTemplate, Setting, Stack
from otobotctl.render.versions import KnownBad
from otobotctl.secrets import SecretSpec

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient

PORT_STRIDE = 100  # from one client of a host to the next; wide enough that no two services' ports ever meet
# Every service with an image has these, so that no service.yaml repeats them.
_SIZE = r"[1-9][0-9]{0,5}[mg]"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"

T = TypeVar("T")


@dataclass(frozen=True)
class Catalog:
    """Services and stacks by name. `sources` are the Jinja templates, by their path under `templates/services`.

    `plain` are the other files of the services' folders, by theirs: a release holds them as they are.
    """

    services: Mapping[str, ServiceTemplate]
    stacks: Mapping[str, Stack]
    sources: Mapping[str, str] = field(repr=False)
    images: Mapping[str, BuiltImage] = field(repr=False, default_factory=dict)
    known_bad: Mapping[str, tuple[KnownBad, ...]] = field(repr=False, default_factory=dict)
    plain: Mapping[str, bytes] = field(repr=False, default_factory=dict)

    def service(self, name: str) -> ServiceTemplate:
        """Return the service. Raises ManifestError naming those that exist."""
        if name in self.services:
            return self.services[name]
        raise ManifestError(f"no service {name}", hint=f"the services are: {', '.join(sorted(self.services))}")

    def stack(self, name: str) -> Stack:
        """Return the stack. Raises ManifestError naming those that exist."""
        if name in self.stacks:
            return self.stacks[name]
        raise ManifestError(f"no stack {name}", hint=f"the stacks are: {', '.join(sorted(self.stacks))}")

    def service_shapes(self) -> dict[str, ServiceShape]:
        """Return what the manifest may say, for `manifest.load`."""
        return {
            name: ServiceShape(
                name=name,
                description=service.description,
                settings={key: _shape(setting) for key, setting in service.settings.items()},
                subdomains=tuple(dict.fromkeys(route.subdomain for route in service.routes if route.subdomain)),
            )
            for name, service in self.services.items()
            if service.offered
        }

    def archives(self) -> dict[str, dict[str, Backup]]:
        """Return what each stack says of backups in each environment, for `manifest.resolve`."""
        return {
            name: {key: each.backup for key, each in stack.environments.items() if each.backup}
            for name, stack in self.stacks.items()
        }

    def secret_specs(self, services: Iterable[str]) -> tuple[SecretSpec, ...]:
        """Return every secret that a client with these services owns, in the order of the services."""
        return tuple(
            SecretSpec(
                name=secret,
                kind=need.kind,
                service=name,
                rotate_days=need.rotate_days,
                given=need.kind == "given",
                description=need.description,
                rotation=need.rotation.how,
                hold_s=need.rotation.hold_s or 0,
                because=need.rotation.because,
            )
            for name in services
            for secret, need in self.service(name).secrets.items()
        )

    def specs_of(self, client: ResolvedClient) -> tuple[SecretSpec, ...]:
        """Return every secret that a client owns: of its services, of its backups, and to ask IA Interne with."""
        own = (*self.secret_specs(client.services), *backups.specs(client))
        named = {spec.name for spec in own}
        return (*own, *(spec for spec in ia_keys.specs(client) if spec.name not in named))

    def plain_files(self, folder: str) -> dict[str, bytes]:
        """Return the plain files below `folder`, by their path in it."""
        return {
            name.removeprefix(f"{folder}/"): content
            for name, content in self.plain.items()
            if name.startswith(f"{folder}/")
        }

    def image(self, service: ServiceTemplate, version: str) -> str:
        """Return the image to run: the pinned tag of an upstream one, or the digest of what is built."""
        if service.build:
            return self.images[service.build].reference
        return f"{service.image}:{version}"

    def built_images(self, services: Iterable[str]) -> tuple[BuiltImage, ...]:
        """Return the images that hosts of these services must build, each once."""
        wanted = dict.fromkeys(self.service(name).build for name in services)
        return tuple(self.images[build] for build in wanted if build)


def load_catalog(templates: Path | None = None, contexts: Path | None = None) -> Catalog:
    """Read `templates/` (default: the installation's) and the build contexts beside this package.

    Raises:
        ManifestError: a file of the catalogue is wrong; it names the file and the key.
    """
    root = templates or data_dir("templates")
    services = {path.parent.name: _service(path) for path in sorted((root / "services").glob("*/service.yaml"))}
    stacks = {path.stem: _stack(path) for path in sorted((root / "stacks").glob("*.yaml"))}
    sources = {
        path.relative_to(root / "services").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / "services").rglob("*.j2"))
    }
    builds = sorted({service.build for service in services.values() if service.build})
    package = contexts or Path(__file__).resolve().parent.parent
    images = {build: read_context(package, build) for build in builds}
    known_bad = _read(root / "known-bad.yaml", dict[str, tuple[KnownBad, ...]])
    catalog = Catalog(services, stacks, sources, images, known_bad, _plain(root / "services"))
    check(catalog)
    return catalog


def check(catalog: Catalog) -> None:
    """Refuse a catalogue whose parts do not fit together. Raises ManifestError with every reason."""
    wrong = [*_unknown(catalog), *_shared_names(catalog), *_clashing_ports(catalog)]
    if wrong:
        raise ManifestError("the service catalogue does not fit together", hint="correct templates/", details=wrong)


def _plain(root: Path) -> dict[str, bytes]:
    names = (path for path in sorted(root.glob("*/**/*")) if path.is_file() and path.suffix != ".j2")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in names
        if path.name != "service.yaml" and not path.name.startswith(".")
    }


def _unknown(catalog: Catalog) -> list[str]:
    wrong = []
    owned = {secret for service in catalog.services.values() for secret in service.secrets}
    for service in catalog.services.values():
        missing = [name for name in service.requires if name not in catalog.services]
        wrong += [f"{service.name}: requires {name}, which is no service" for name in missing]
        roles = [role for database in service.databases for role in (database.owner, *database.roles)]
        needed = (*service.uses, *(role.secret for role in roles))
        wrong += [f"{service.name}: needs secret {name}, which no service owns" for name in needed if name not in owned]
        if bool(service.image) == bool(service.build):
            wrong.append(f"{service.name}: needs either image or build")
        folders = [name for name in service.packages if not catalog.plain_files(f"{service.name}/{name}")]
        wrong += [f"{service.name}: packages {name}, which is no folder with files" for name in folders]
        for named, what in (
            (service.provision.items if service.provision else "", "provision"),
            (service.guide, "guide"),
        ):
            if named and f"{service.name}/{named}" not in catalog.sources:
                wrong.append(f"{service.name}: {what} needs {named}, which is no template of it")
    for stack in catalog.stacks.values():
        names = (*stack.services, *stack.host_services, *(n for e in stack.environments.values() for n in e.settings))
        wrong += [f"stack {stack.name}: {name} is no service" for name in names if name not in catalog.services]
        wrong += [f"stack {stack.name}: {n} is no environment" for n in stack.environments if n not in ENVIRONMENTS]
    for name in catalog.known_bad:
        if name not in catalog.services or "version" not in catalog.services[name].settings:
            wrong.append(f"known-bad.yaml: {name} is no service with a version")
    return wrong


def _shared_names(catalog: Catalog) -> list[str]:
    """One secret, database, role or path has one owner: two would silently share it."""
    owners: dict[tuple[str, str], str] = {}
    wrong = []
    for service in catalog.services.values():
        names = [("secret", name) for name in service.secrets]
        names += [("database", database.name) for database in service.databases]
        names += [("path", service.below.path)] if service.below.path else []
        names += [("role", role.name) for each in service.databases for role in (each.owner, *each.roles)]
        for name in names:
            other = owners.setdefault(name, service.name)
            if other != service.name:
                wrong.append(f"{service.name}: {name[0]} {name[1]} belongs to {other} already")
    return wrong


def _clashing_ports(catalog: Catalog) -> list[str]:
    """Ports base + n x stride of two services meet for some pair of clients exactly when the bases are congruent."""
    bases = [
        (port.base, f"{service.name}.{name}")
        for service in catalog.services.values()
        for name, port in service.ports.items()
        if port.base is not None
    ]
    return [
        f"ports {one} ({base}) and {two} ({other}) clash for some clients of one host"
        for (base, one), (other, two) in combinations(bases, 2)
        if (base - other) % PORT_STRIDE == 0
    ]


def _service(path: Path) -> ServiceTemplate:
    service = _read(path, ServiceTemplate)
    if service.name not in ("", path.parent.name):
        raise ManifestError(f"{_where(path)}: name: {service.name} is not the name of its folder")
    settings: dict[str, Setting] = dict(service.settings)
    for name, pattern in (("version", _VERSION), ("memory", _SIZE)):
        if name in settings:
            settings[name] = msgspec.structs.replace(settings[name], pattern=settings[name].pattern or pattern)
    for name, setting in settings.items():
        if setting.choices_from:
            found = sorted(each.stem for each in (path.parent / setting.choices_from).glob("*.json"))
            settings[name] = msgspec.structs.replace(setting, choices=(*setting.choices, *found))
    return msgspec.structs.replace(service, name=path.parent.name, settings=settings)


def _stack(path: Path) -> Stack:
    return msgspec.structs.replace(_read(path, Stack), name=path.stem)


def _read(path: Path, shape: type[T]) -> T:
    data = parse_yaml(path.read_bytes(), _where(path))
    try:
        return shapes.convert(data, shape)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{_where(path)}: {error}", hint="see otobotctl/render/service.py for the keys") from error


def _where(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _shape(setting: Setting) -> SettingShape:
    return SettingShape(
        type=setting.type, description=setting.description, choices=setting.choices, pattern=setting.pattern
    )
