"""`clients-config.json` to frozen models. Importing this stays cheap: editing and explaining are loaded when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl import lazy
from otobotctl.manifest.load import decode, findings, load
from otobotctl.manifest.models import Backup, Client, Defaults, Environment, Host, Manifest, User
from otobotctl.manifest.resolve import resolve
from otobotctl.manifest.resolved import ResolvedBackup, ResolvedClient, ResolvedHost, ResolvedManifest
from otobotctl.manifest.shape import ServiceShape, SettingShape

if TYPE_CHECKING:
    from otobotctl.manifest.edit import (
        add_client,
        add_host,
        add_recipient,
        move_client,
        remove_client,
        remove_host,
        remove_recipient,
        set_host,
        set_versions,
    )
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
    "move_client",
    "remove_client",
    "remove_host",
    "remove_recipient",
    "resolve",
    "set_host",
    "set_versions",
]

_EDITING = (
    "add_client",
    "add_host",
    "add_recipient",
    "move_client",
    "remove_client",
    "remove_host",
    "remove_recipient",
    "set_host",
    "set_versions",
)
__getattr__ = lazy.names(__name__, {**dict.fromkeys(_EDITING, "edit"), "json_schema": "schema"})
