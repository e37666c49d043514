"""What a service's settings are: the manifest's words over the environment's over the defaults, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient
    from otobotctl.render.service import ServiceTemplate, Setting, Stack

_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list, tuple),
}


def settings_for(service: ServiceTemplate, client: ResolvedClient, stack: Stack) -> dict[str, Any]:
    """Return every setting of `service` for `client`. Raises ManifestError for a value that it cannot have."""
    environment = stack.environments.get(client.environment)
    layers = (environment.settings.get(service.name, {}) if environment else {}, client.settings.get(service.name, {}))
    return chosen(service, layers, f"clients.{client.slug}.settings")


def chosen(service: ServiceTemplate, layers: Iterable[Mapping[str, Any]], path: str) -> dict[str, Any]:
    """Return every setting of `service`: a later layer wins. Raises ManifestError, with `path` before its name."""
    found: dict[str, Any] = {}
    for layer in ({name: setting.default for name, setting in service.settings.items()}, *layers):
        for name, value in layer.items():
            where = f"{path}.{service.name}.{name}"
            if name not in service.settings:
                known = ", ".join(sorted(service.settings))
                raise ManifestError(f"{where}: {service.name} has no such setting", hint=f"it has: {known}")
            _check(where, value, service.settings[name])
            found[name] = value
    return found


def shared_settings(service: ServiceTemplate, per_client: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that `service` has once a host. Raises ManifestError when clients disagree."""
    chosen = {}
    for name, setting in service.settings.items():
        if not setting.shared:
            continue
        said = {slug: settings[name] for slug, settings in per_client.items()}
        if len({repr(value) for value in said.values()}) > 1:
            raise ManifestError(
                f"clients of one host disagree about the setting {service.name}.{name}, which they share",
                hint=f"say it once, under defaults.settings.{service.name}",
                details=[f"clients.{slug}: {value}" for slug, value in said.items()],
            )
        chosen[name] = next(iter(said.values()), setting.default)
    return chosen


def _check(where: str, value: Any, setting: Setting) -> None:
    if not isinstance(value, _TYPES[setting.type]) or (isinstance(value, bool) and setting.type != "boolean"):
        raise ManifestError(f"{where}: {value!r} is not of the type {setting.type}")
    if isinstance(value, list | tuple):
        unknown = [item for item in value if setting.choices and item not in setting.choices]
        if unknown:
            raise ManifestError(f"{where}: {unknown[0]!r} is not a choice", hint=f"from: {', '.join(setting.choices)}")
        return
    if setting.choices and value not in setting.choices:
        raise ManifestError(f"{where}: {value!r} is not a choice", hint=f"one of: {', '.join(setting.choices)}")
    if setting.pattern and not re.fullmatch(setting.pattern, str(value)):
        raise ManifestError(
            f"{where}: {value!r} has the wrong form", hint=f"the default is {setting.default}: {setting.description}"
        )
