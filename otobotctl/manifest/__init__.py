"""`clients-config.json` to frozen models. Importing this stays cheap: explaining a wrong manifest loads more."""

from otobotctl.manifest.load import decode, findings, load
from otobotctl.manifest.models import Backup, Client, Defaults, Environment, Host, Manifest, User
from otobotctl.manifest.resolve import ResolvedBackup, ResolvedClient, ResolvedHost, ResolvedManifest, resolve
from otobotctl.manifest.shape import ServiceShape, SettingShape

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
    "decode",
    "findings",
    "load",
    "resolve",
]
