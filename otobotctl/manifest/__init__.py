"""`clients-config.json` to frozen models. Importing this stays cheap: editing and explaining are loaded when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.manifest.load import decode, findings, load
from otobotctl.manifest.models import Backup, Client, Defaults, Environment, Host, Manifest, User
from otobotctl.manifest.resolve import ResolvedBackup, ResolvedClient, ResolvedHost, ResolvedManifest, resolve
from otobotctl.manifest.shape import ServiceShape, SettingShape

if TYPE_CHECKING:
    from otobotctl.manifest.edit import add_client, add_host, add_recipient, remove_client, remove_host, set_host
    from otobotctl.manifest.schema import json_schema

__all__ = [
    "Backup",
    "Client",
    "Defaults",
    "Environment",
    "Host",
    "Manifest",
    "ResolvedBackup",
    "ResolvedClient",
    "ResolvedHost",
    "ResolvedManifest",
    "ServiceShape",
    "SettingShape",
    "User",
    "add_client",
    "add_host",
    "add_recipient",
    "decode",
    "findings",
    "json_schema",
    "load",
    "remove_client",
    "remove_host",
    "resolve",
    "set_host",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{'schema' if name == 'json_schema' else 'edit'}"), name)
