"""Roles and permissions, as data. An API key's scopes are the same codes, and `admin` for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ROLES: Final = ("admin", "user")

# What a person may do. Every user has the first group for what is his own; the second has to be granted.
OWN: Final = {
    "connections.read": "see one's own connections",
    "connections.write": "connect and disconnect services",
    "curation.read": "see one's own curation sources",
    "curation.write": "add and remove curation sources",
    "workflows.read": "see the client's workflows",
    "workflows.trigger": "start the client's workflows",
}
GRANTED: Final = {
    "client.read": "see the client's own data",
    "client.write": "change the client's own data and policy",
    "users.read": "see the client's users and their permissions",
    "users.write": "create, change, unlock and deactivate users",
    "connections.read_all": "see everybody's connections",
    "connections.write_all": "connect and disconnect services for everybody",
    "permissions.write": "grant and revoke permissions",
    "apps.read": "see OAuth applications and services",
    "apps.write": "manage OAuth applications",
    "keys.read": "see API keys",
    "keys.write": "create and revoke API keys",
    "workflows.write": "add and remove workflows",
    "audit.read": "read the audit",
    "privacy.write": "export and erase a person",
}
PERMISSIONS: Final = OWN | GRANTED
SCOPES: Final = frozenset({"admin", *GRANTED})


def held(role: str, granted: Iterable[str]) -> frozenset[str]:
    """Return the permissions of a person: an admin has all, a user the own ones and what was granted."""
    if role == "admin":
        return frozenset(PERMISSIONS)
    return frozenset(OWN) | (frozenset(granted) & frozenset(PERMISSIONS))
