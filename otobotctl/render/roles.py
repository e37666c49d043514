"""What each host is told of its operators' roles: those of `templates/roles.yaml`, and the manifest's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import shapes
from otobotctl.data import data_dir
from otobotctl.errors import ManifestError
from otobotctl.manifest.models import CommandRole
from otobotctl.render.document import parse_yaml

if TYPE_CHECKING:
    from otobotctl.manifest import ResolvedManifest


def built_in() -> dict[str, CommandRole]:
    """Return the roles that come with this installation. Raises ManifestError."""
    path = data_dir("templates") / "roles.yaml"
    document = parse_yaml(path.read_bytes(), "templates/roles.yaml")
    try:
        return shapes.convert(_flat(document), dict[str, CommandRole])
    except msgspec.ValidationError as error:
        raise ManifestError(f"{path}: {error}", hint="pip install --force-reinstall otobotctl") from error


def check(manifest: ResolvedManifest) -> None:
    """Raise ManifestError for an operator with a role that neither the manifest nor this installation has."""
    wanted = {name: each.role for name, each in manifest.operators.items() if each.role is not None}
    if not wanted:
        return
    known = {**built_in(), **manifest.roles}
    for name, role in wanted.items():
        if role not in known:
            message = f'clients-config.json: operators.{name}.role: there is no role "{role}"'
            raise ManifestError(message, hint=f"the roles are: {', '.join(sorted(known))}; `roles` adds others")


def policy(manifest: ResolvedManifest, host: str) -> str:
    """Return the host's policy, as agent/policy.py reads it: the roles of its operators' accounts."""
    accounts = {each.name: each.role for each in manifest.operators_of(host) if each.role is not None}
    known: Mapping[str, CommandRole] = {**built_in(), **manifest.roles} if accounts else {}
    roles = {role: msgspec.to_builtins(known[role]) for role in sorted(set(accounts.values()))}
    return json.dumps({"accounts": accounts, "roles": roles}, indent=1) + "\n"


def _flat(document: Any) -> Any:
    """YAML lists may hold lists of others, so that a role can have all that another has."""
    if isinstance(document, dict):
        return {name: _flat(value) for name, value in document.items()}
    if isinstance(document, list):
        return [line for each in document for line in (each if isinstance(each, list) else [each])]
    return document
